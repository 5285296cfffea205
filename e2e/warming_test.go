package e2e

import (
	"fmt"
	"testing"

	"polestar/e2e/harness"
)

// An Envoy that got a changed or new cluster keeps it in warming until its
// endpoints come behind it, or for 15 s; meanwhile it accepts no clusters. It
// counts when it had to wait that long.
func TestW01ClustersWarmWithoutATimeout(t *testing.T) {
	for _, delta := range []bool{false, true} {
		t.Run(fmt.Sprintf("delta=%v", delta), func(t *testing.T) {
			s := harness.StartServer(t)
			reg, b := harness.Connect(t, s.Polaris), harness.StartBackend(t, "one")
			if err := reg.Put(harness.Instance("cart", b.Addr)); err != nil {
				t.Fatal(err)
			}
			e := harness.StartEnvoy(t, s, delta)
			call := func(n int) harness.Counts { return e.Get("cart.default", n) }
			onlyFrom(t, call, "one")
			for n := range 5 {
				setting := fmt.Sprintf("polestar/connect-timeout=%ds", n+1)
				if _, err := harness.Run("update", "--server", s.HTTP, "service", "default/cart", "--metadata", setting); err != nil {
					t.Fatal(err)
				}
				if err := reg.Put(harness.Instance(fmt.Sprint("other", n), b.Addr)); err != nil {
					t.Fatal(err)
				}
				harness.Wait(t, soon, func() error {
					got, err := e.Stats("^cluster_manager.(cluster_modified|warming_clusters|active_clusters)$")
					modified, warming, active := got["cluster_manager.cluster_modified"], got["cluster_manager.warming_clusters"], got["cluster_manager.active_clusters"]
					if err == nil && (modified < uint64(n+1) || warming > 0 || active < uint64(n+3)) { // and the one to the server
						err = fmt.Errorf("after change %d: %v", n+1, got)
					}
					return err
				})
				if err := answeredBy(call, "one"); err != nil {
					t.Errorf("after change %d: %v", n+1, err)
				}
			}
			timeouts, err := e.Stats("init_fetch_timeout")
			if err != nil || len(timeouts) == 0 {
				t.Fatalf("stats: %v, %v", timeouts, err)
			}
			for name, n := range timeouts {
				if n > 0 {
					t.Errorf("Envoy waited in vain: %s = %d", name, n)
				}
			}
			e.CheckNothingRefused(t)
		})
	}
}
