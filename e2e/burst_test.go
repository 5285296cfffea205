package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// TestBurstEndsRight makes 1,000 changes of all kinds at 200 a second. Two real
// Envoys end with exactly the endpoints, weights and health of the last state
// of each instance, and no request to a service that stays up is lost
// meanwhile.
func TestBurstEndsRight(t *testing.T) {
	const workers, changes, seed = 8, 1000, 1
	s := harness.StartServer(t)
	r := harness.Connect(t, s.Polaris)
	a, b := harness.StartBackend(t, "a"), harness.StartBackend(t, "b")
	for _, x := range []*harness.Backend{a, b} {
		if err := r.Put(harness.Instance("cart", x.Addr)); err != nil {
			t.Fatal(err)
		}
	}
	envoys := map[string]*harness.Envoy{"SotW": harness.StartEnvoy(t, s, false), "delta": harness.StartEnvoy(t, s, true)}
	loops := map[string]*loop{}
	for name, e := range envoys {
		call := func(n int) harness.Counts { return e.Get("cart", n) }
		onlyFrom(t, call, "a", "b")
		loops[name] = startLoop(t, call)
	}

	want := make([]map[string]map[string]harness.Host, workers)
	var wait sync.WaitGroup
	for w := range workers {
		burst := &burst{reg: r, worker: w, rand: rand.New(rand.NewPCG(seed, uint64(w))), hosts: map[string]map[string]harness.Host{}} //nolint:gosec // a test
		want[w] = burst.hosts
		wait.Go(func() {
			tick := time.NewTicker(workers * time.Second / 200)
			defer tick.Stop()
			for range changes / workers {
				<-tick.C
				if err := burst.change(); err != nil {
					t.Errorf("a change: %v", err)
				}
			}
		})
	}
	wait.Wait()

	all := map[string]map[string]harness.Host{"default/cart": {a.Addr: {Weight: 100, Healthy: true}, b.Addr: {Weight: 100, Healthy: true}}}
	for _, hosts := range want {
		for cluster, h := range hosts {
			if all[cluster] == nil {
				all[cluster] = map[string]harness.Host{}
			}
			maps.Copy(all[cluster], h)
		}
	}
	for name, e := range envoys {
		harness.Wait(t, soon, func() error { return hasHosts(e, all) })
		loops[name].stop()
		if answered, failed, last := loops[name].counts(); failed > 0 || answered == 0 {
			t.Errorf("%s: %d of %d requests failed: %s", name, failed, answered+failed, last)
		}
	}
	nothingRefused(t, s, len(envoys))
}

// burst is one of several writers; each has instances of its own in services
// that all share.
type burst struct {
	reg    *harness.Registrar
	worker int
	rand   *rand.Rand
	hosts  map[string]map[string]harness.Host // what an Envoy has to have
}

// change registers, changes or deregisters one of ten instances in one of ten
// services.
func (b *burst) change() error {
	service, addr := fmt.Sprint("burst", b.rand.IntN(10)), fmt.Sprintf("10.2.%d.%d:80", b.worker, b.rand.IntN(10)+1)
	cluster := "default/" + service
	if b.hosts[cluster] == nil {
		b.hosts[cluster] = map[string]harness.Host{}
	}
	if b.rand.IntN(4) == 0 {
		delete(b.hosts[cluster], addr)
		return b.reg.Remove(harness.Instance(service, addr))
	}
	h := harness.Host{Weight: b.rand.Uint32N(5) * 50, Healthy: b.rand.IntN(4) > 0}
	isolated := b.rand.IntN(4) == 0
	if b.hosts[cluster][addr] = h; isolated || h.Weight == 0 {
		delete(b.hosts[cluster], addr)
	}
	return b.reg.Put(harness.Instance(service, addr, harness.Weight(h.Weight), harness.Healthy(h.Healthy), harness.Isolated(isolated)))
}

// hasHosts compares what an Envoy has with what it has to have.
func hasHosts(e *harness.Envoy, want map[string]map[string]harness.Host) error {
	got, err := e.Hosts()
	if err != nil {
		return err
	}
	for cluster, hosts := range want {
		if !maps.Equal(got[cluster], hosts) {
			return fmt.Errorf("%s has %v, want %v", cluster, got[cluster], hosts)
		}
	}
	return nil
}
