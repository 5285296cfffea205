package registry_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"polestar/naming"
	"polestar/naming/registry"
)

// instance is one of many, as a store hands it over: no two share memory.
func instance(k naming.ServiceKey, n int) *naming.Instance {
	host := fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)
	m := map[string]string{}
	for p := range 5 {
		m[fmt.Sprintf("label-%d", p)] = fmt.Sprintf("value-%d-%d", p, n%100)
	}
	return &naming.Instance{
		ID: naming.InstanceID(k, "", host, 8080), Service: naming.ServiceKey{Namespace: strings.Clone(k.Namespace), Name: strings.Clone(k.Name)},
		Host: host, Port: 8080, Protocol: strings.Clone("grpc"), Version: fmt.Sprint("1.", n%3), Weight: 100, Healthy: true, TTL: 5,
		Location: naming.Location{Region: strings.Clone("region"), Zone: fmt.Sprint("zone-", n%3)}, Metadata: naming.NewMetadata(m),
	}
}

// world loads services of perService instances each, the first one of first.
func world(tb testing.TB, services, perService, first int) *registry.Registry {
	tb.Helper()
	r := registry.New()
	l := r.Load()
	add := func(o naming.Object) {
		if err := l.Add(o); err != nil {
			tb.Fatal(err)
		}
	}
	add(&naming.Namespace{Name: "n"})
	n := 0
	for s := range services {
		k := key("n", fmt.Sprintf("service-%05d", s))
		add(&naming.Service{Key: k})
		size := perService
		if s == 0 {
			size = first
		}
		for range size {
			add(instance(k, n))
			n++
		}
	}
	if err := l.Publish(1); err != nil {
		tb.Fatal(err)
	}
	return r
}

// BenchmarkApply is one change in a service of so many instances, among ten
// thousand services.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("instances=%d", size), func(b *testing.B) {
			r := world(b, 10_000, 3, size)
			k := key("n", "service-00000")
			was := r.World().Service(k).Instances[size/2]
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				now := *was
				now.Weight = uint32(n)
				c := naming.Commit{Revision: naming.Revision(n + 2), Changes: []naming.Change{{Before: was, After: &now}}}
				if err := r.Apply(c); err != nil {
					b.Fatal(err)
				}
				was = &now
			}
		})
	}
}

// BenchmarkApplyGroup is a commit of 512 registrations of as many services.
func BenchmarkApplyGroup(b *testing.B) {
	r := world(b, 10_000, 10, 10)
	var group []*naming.Instance
	for n := range 512 {
		group = append(group, r.World().Service(key("n", fmt.Sprintf("service-%05d", n*19))).Instances[n%10])
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		c := naming.Commit{Revision: naming.Revision(n + 2)}
		for at, was := range group {
			now := *was
			now.Weight = uint32(n)
			c.Changes = append(c.Changes, naming.Change{Before: was, After: &now})
			group[at] = &now
		}
		if err := r.Apply(c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookup is what one Discover asks of the registry.
func BenchmarkLookup(b *testing.B) {
	r := world(b, 10_000, 3, 3)
	k := key("n", "service-05000")
	b.ReportAllocs()
	for b.Loop() {
		if r.World().Service(k).Digest() == (naming.Digest{}) {
			b.Fatal("no digest")
		}
	}
}

// BenchmarkMemory reports the heap that each of 100,000 instances with five
// metadata pairs takes, in 1,000 services.
func BenchmarkMemory(b *testing.B) {
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		before := heap()
		r := world(b, 1_000, 100, 100)
		b.ReportMetric((heap()-before)/100_000, "B/instance")
		runtime.KeepAlive(r)
	}
}
