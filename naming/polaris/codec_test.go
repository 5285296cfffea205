package polaris

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// An answer put together by hand is what the protocol's own code reads.
func TestAnswersAreEncodedAsTheProtocolSays(t *testing.T) {
	type service = service_manage.Service
	part := func(s *service, rest *service_manage.DiscoverResponse) data {
		t.Helper()
		fields, err := proto.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		all, err := proto.MarshalOptions{}.MarshalAppend(fields, rest)
		if err != nil {
			t.Fatal(err)
		}
		return data{fields: all, service: len(fields)}
	}
	many := &service_manage.DiscoverResponse{AliasFor: &service{Name: wrapperspb.String("real")}}
	for range 300 {
		many.Instances = append(many.Instances, &service_manage.Instance{Host: wrapperspb.String("h")})
	}
	for name, c := range map[string]struct {
		a       answer
		service *service // beside names and revision
		rest    *service_manage.DiscoverResponse
	}{
		"nothing":              {a: answer{code: codeOK}},
		"names and revision":   {a: answer{code: codeNoChange, info: "x", namespace: "n", name: "ä", revision: "r", typ: 1}},
		"long texts":           {a: answer{code: 1 << 31, info: strings.Repeat("i", 70000), namespace: strings.Repeat("n", 200), name: strings.Repeat("m", 127)}},
		"a type of tomorrow":   {a: answer{code: codeBadDiscover, typ: 4711, direction: 1}},
		"a negative type":      {a: answer{code: codeBadDiscover, typ: -1, direction: -7}},
		"data":                 {a: answer{code: codeOK, typ: 1, name: "a"}, rest: many},
		"data of the service":  {a: answer{code: codeOK, typ: 1, name: "a", revision: "r"}, service: &service{Metadata: map[string]string{"k": strings.Repeat("v", 300)}}, rest: many},
		"nothing but metadata": {a: answer{code: codeOK}, service: &service{Metadata: map[string]string{"k": "v"}}},
	} {
		t.Run(name, func(t *testing.T) {
			want := proto.CloneOf(c.rest)
			if want == nil {
				want = &service_manage.DiscoverResponse{}
			}
			if c.service != nil || c.rest != nil {
				c.a.data = part(c.service, c.rest)
			}
			want.Code, want.Info = wrapperspb.UInt32(c.a.code), wrapperspb.String(c.a.info)
			want.Type, want.Direction = service_manage.DiscoverResponse_DiscoverResponseType(c.a.typ), c.a.direction
			if want.Service = proto.CloneOf(c.service); want.Service == nil {
				want.Service = &service{}
			}
			want.Service.Name, want.Service.Namespace = wrapperspb.String(c.a.name), wrapperspb.String(c.a.namespace)
			if c.a.revision != "" {
				want.Service.Revision = wrapperspb.String(c.a.revision)
			}
			b, err := codec{encoding.GetCodecV2("proto")}.Marshal(&c.a)
			if err != nil {
				t.Fatal(err)
			}
			var got service_manage.DiscoverResponse
			if err := proto.Unmarshal(b.Materialize(), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := testing.AllocsPerRun(10, func() { c.a.encode() }); n > 4 {
				t.Errorf("%v allocations for the part of one request", n)
			}
		})
	}
}
