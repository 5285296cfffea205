package xds

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
	"polestar/xds/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRefreshedIsNeverAheadOfTheCache asks after every commit: a revision that
// is said to be refreshed must be in the cache, and in the end all are.
func TestRefreshedIsNeverAheadOfTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg, data := registry.New(), memory.New(store.DefaultLogBounds())
		p, err := New(Deps{Registry: reg, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Refreshed(); got != 0 {
			t.Errorf("before it runs: %d", got)
		}
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- p.Run(ctx) }()

		key := resource.Key{Type: resource.Endpoints, Name: "n/s"}
		w := p.Cache().NewWatcher()
		defer w.Close()
		w.Subscribe(key)
		var head uint64
		for n := range uint32(500) {
			commit, results, err := data.Apply(t.Context(), []naming.Write{&naming.Register{AutoCreate: true, Instance: naming.Instance{
				ID: "1", Service: naming.ServiceKey{Namespace: "n", Name: "s"}, Host: "10.0.0.1", Port: 80, Weight: n + 1, Healthy: true,
			}}})
			if err != nil || results[0].Err != nil {
				t.Fatal(err, results)
			}
			if err := reg.Apply(commit); err != nil {
				t.Fatal(err)
			}
			head = uint64(commit.Revision)
			done := p.Refreshed()
			if r := p.Cache().Get(key); done > 0 && (r == nil || uint64(r.Revision) < done) {
				t.Fatalf("revision %d is said to be in the cache, which has %+v", done, r)
			}
			if n%50 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if got := p.Refreshed(); got != head {
			t.Errorf("at rest %d, want %d", got, head)
		}
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}
