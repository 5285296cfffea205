package polaris_test

import (
	"fmt"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/naming/polaris"
)

// populated is a door with a service of size instances and a hundred others.
func populated(b *testing.B, size int) *polaris.Server {
	b.Helper()
	s, _ := handler(b)
	add := func(in *service_manage.Instance) {
		if res, err := s.RegisterInstance(b.Context(), in); err != nil || res.GetCode().GetValue() != 200000 {
			b.Fatal(res, err)
		}
	}
	for n := range size {
		in := checked(message("n", "a", uint32(n%65535+1)), 5)
		in.Host, in.Version, in.Protocol, in.Location = str(fmt.Sprintf("10.0.%d.%d", n>>8, n&255)), str("1.2.3"), str("grpc"), location("r", "z", "c")
		in.Metadata = map[string]string{"env": "prod", "owner": "shop", "build": "4711", "stage": "blue", "team": "cart"}
		add(in)
	}
	for n := range 100 {
		add(message("n", fmt.Sprint("other-", n), 1))
	}
	return s
}

// BenchmarkAnswer is what one poll costs the door, up to the bytes for gRPC:
// full is sent to who has another revision, unchanged to who has this one.
func BenchmarkAnswer(b *testing.B) {
	for _, size := range []int{30, 1000} {
		s := populated(b, size)
		for name, typ := range map[string]reqType{"instances": typeInstance, "services": typeServices} {
			revision := polaris.Answer(b.Context(), s, query(typ, "n", "a", "")).GetService().GetRevision().GetValue()
			for kind, has := range map[string]string{"full": "", "unchanged": revision} {
				b.Run(fmt.Sprintf("%s/%s/of=%d", name, kind, size), func(b *testing.B) {
					req := query(typ, "n", "a", has)
					b.ReportAllocs()
					for b.Loop() {
						polaris.Encode(b.Context(), s, req)
					}
				})
			}
		}
	}
}

// BenchmarkAnswerAfterAChange is the first poll after one instance changed.
func BenchmarkAnswerAfterAChange(b *testing.B) {
	for _, size := range []int{30, 1000} {
		b.Run(fmt.Sprint("of=", size), func(b *testing.B) {
			s := populated(b, size)
			in := message("n", "a", 7)
			req := query(typeInstance, "n", "a", "")
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				in.Weight = num(uint32(n % 60000))
				if res, err := s.RegisterInstance(b.Context(), in); err != nil || res.GetCode().GetValue() != 200000 {
					b.Fatal(res, err)
				}
				b.StartTimer()
				polaris.Encode(b.Context(), s, req)
			}
		})
	}
}

// BenchmarkDiscover is a poll over gRPC by a client that decodes the answer;
// client and server share the machine.
func BenchmarkDiscover(b *testing.B) {
	for kind, full := range map[string]bool{"full": true, "unchanged": false} {
		b.Run(kind, func(b *testing.B) {
			d := open(b)
			for n := range 30 {
				d.register(b, message("n", "a", uint32(n+1)))
			}
			stream := d.discover(b)
			revision := ""
			if !full {
				revision = stream.instances(b, "n", "a", "").GetService().GetRevision().GetValue()
			}
			b.ReportAllocs()
			for b.Loop() {
				if got := len(stream.instances(b, "n", "a", revision).GetInstances()); (got == 30) != full {
					b.Fatal(got)
				}
			}
		})
	}
}
