package cache

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"polestar/xds/resource"
)

// counted is a Builder whose world changes with each build.
type counted struct{ version int }

func (b *counted) Build(key resource.Form) *resource.Resource {
	b.version++
	return &resource.Resource{Name: key.Name, Version: strconv.Itoa(b.version)}
}

func (*counted) Sharing(resource.Type, string) resource.Sharing { return resource.Sharing{} }

func (*counted) Names(resource.Type, resource.Scope) []string { return nil }

func endpoints(i int) resource.Key {
	return resource.Key{Type: resource.Endpoints, Scope: envoy, Name: fmt.Sprintf("default/service-%d", i)}
}

// BenchmarkRefresh changes one resource that all watchers hold among many.
func BenchmarkRefresh(b *testing.B) {
	for _, size := range []struct{ watchers, names int }{{1, 200}, {1000, 200}, {200, 2000}, {10_000, 1}} {
		b.Run(fmt.Sprintf("W=%d,S=%d", size.watchers, size.names), func(b *testing.B) {
			c := New(&counted{})
			watchers := make([]*Watcher, size.watchers)
			for i := range watchers {
				watchers[i] = c.NewWatcher()
				for n := range size.names {
					watchers[i].Subscribe(endpoints(n))
				}
			}
			refs := []resource.Ref{{Type: resource.Endpoints, Name: endpoints(0).Name}}
			b.ReportAllocs()
			for b.Loop() {
				c.Refresh(refs)
				b.StopTimer()
				for _, w := range watchers {
					<-w.Wake()
					w.Take()
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkTake is a stream's part of a change.
func BenchmarkTake(b *testing.B) {
	c := New(&counted{})
	w := c.NewWatcher()
	for n := range 200 {
		w.Subscribe(endpoints(n))
	}
	refs := []resource.Ref{{Type: resource.Endpoints, Name: endpoints(0).Name}}
	b.ReportAllocs()
	for b.Loop() {
		c.Refresh(refs)
		<-w.Wake()
		w.Take()
	}
}

// BenchmarkWatcher reports the memory of one stream's subscriptions.
func BenchmarkWatcher(b *testing.B) {
	const watchers = 500
	for _, names := range []int{1, 200, 2000} {
		b.Run(fmt.Sprintf("S=%d", names), func(b *testing.B) {
			var used, rounds uint64
			for b.Loop() {
				c := New(&counted{})
				before := heap()
				for range watchers {
					w := c.NewWatcher()
					for n := range names {
						w.Subscribe(endpoints(n))
					}
				}
				used += heap() - before
				rounds++
				runtime.KeepAlive(c)
			}
			b.ReportMetric(float64(used/rounds)/watchers, "B/stream")
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
