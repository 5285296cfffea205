package ads

import (
	"fmt"
	"runtime"
	"testing"

	"polestar/xds/cache"
	"polestar/xds/resource"
)

// held makes a machine with names subscribed, sent and accepted.
func held(b *testing.B, c *cache.Cache, delta bool, names []string) (*Machine, *cache.Watcher) {
	b.Helper()
	w := c.NewWatcher()
	src := &source{watcher: w, cache: c, revision: func() uint64 { return 1 }}
	m := NewSotW(src, false)
	if delta {
		m = NewDelta(src, false)
	}
	request(b, m, Request{URL: resource.Endpoints.URL(), Subscribe: names})
	for r := m.Next(zero); r != nil; r = m.Next(zero) {
		answer := Request{URL: r.URL, Nonce: r.Nonce}
		if !delta {
			answer.Subscribe = names
		}
		request(b, m, answer)
	}
	return m, w
}

func request(b *testing.B, m *Machine, r Request) {
	b.Helper()
	if _, err := m.Request(zero, r); err != nil {
		b.Fatal(err)
	}
}

// endpoints fills a registry and lists its names.
func endpoints(n int) (*registry, []string) {
	reg := &registry{resources: map[resource.Ref]*resource.Resource{}}
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("default/service-%d", i))
		reg.put(resource.Endpoints, names[i], fmt.Sprintf("%016x", i))
	}
	return reg, names
}

// BenchmarkPush is what one change costs one stream: its machine, the encoding
// and the answer, without gRPC.
func BenchmarkPush(b *testing.B) {
	for _, delta := range []bool{false, true} {
		b.Run(fmt.Sprintf("delta=%v,S=200,1000 endpoints", delta), func(b *testing.B) {
			reg, names := endpoints(200)
			c := cache.New(reg)
			m, w := held(b, c, delta, names)
			codec := Codec()
			ref := resource.Ref{Type: resource.Endpoints, Name: names[7]}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				reg.put(ref.Type, ref.Name, fmt.Sprintf("%016x", 1000+i))
				reg.resources[ref].Any = make([]byte, 28_600)
				reg.resources[ref].Delta = make([]byte, 28_700)
				c.Refresh([]resource.Ref{ref})
				b.StartTimer()
				m.Changed(w.Take())
				r := m.Next(zero)
				if r == nil || len(r.Resources) != 1 {
					b.Fatalf("sent %s", describe(r))
				}
				if _, err := codec.Marshal(&packet{Response: r, identifier: "polestar-1"}); err != nil {
					b.Fatal(err)
				}
				answer := Request{URL: r.URL, Nonce: r.Nonce}
				if !delta {
					answer.Subscribe = names
				}
				request(b, m, answer)
			}
		})
	}
}

// BenchmarkStream reports the memory of one idle stream's machine and watcher.
func BenchmarkStream(b *testing.B) {
	const streams = 500
	for _, delta := range []bool{false, true} {
		for _, n := range []int{1, 200, 2000} {
			b.Run(fmt.Sprintf("delta=%v,S=%d", delta, n), func(b *testing.B) {
				reg, names := endpoints(n)
				var used, rounds uint64
				for b.Loop() {
					c := cache.New(reg)
					before := heap()
					kept := make([]*Machine, streams)
					for i := range kept {
						own := make([]string, n) // as decoded from its message
						for j, name := range names {
							own[j] = string([]byte(name))
						}
						kept[i], _ = held(b, c, delta, own)
					}
					used += heap() - before
					rounds++
					runtime.KeepAlive(kept)
				}
				b.ReportMetric(float64(used/rounds)/streams, "B/stream")
			})
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
