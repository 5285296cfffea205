package xds

import (
	"context"
	"slices"
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

// flow is a pipeline that runs in a bubble of fake time, behind a store.
type flow struct {
	*Pipeline
	t    *testing.T
	data *memory.Store
}

func run(t *testing.T, test func(*testing.T, *flow)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &flow{t: t, data: memory.New(store.DefaultLogBounds())}
		var err error
		f.Pipeline, err = New(Deps{Registry: registry.New(), Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- f.Run(ctx) }()
		test(t, f)
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

// register commits an instance of n/s and publishes it.
func (f *flow) register(weight uint32) uint64 {
	f.t.Helper()
	commit, results, err := f.data.Apply(f.t.Context(), []naming.Write{&naming.Register{AutoCreate: true, Instance: naming.Instance{
		ID: "1", Service: naming.ServiceKey{Namespace: "n", Name: "s"}, Host: "10.0.0.1", Port: 80, Weight: weight, Healthy: true,
	}}})
	if err != nil || results[0].Err != nil {
		f.t.Fatal(err, results)
	}
	if err := f.Registry.Apply(commit); err != nil {
		f.t.Fatal(err)
	}
	return uint64(commit.Revision)
}

// TestRefreshedIsNeverAheadOfTheCache asks after every commit: a revision that
// is said to be refreshed must be in the cache, and in the end all are.
func TestRefreshedIsNeverAheadOfTheCache(t *testing.T) {
	run(t, func(t *testing.T, f *flow) {
		if got := f.Refreshed(); got != 0 {
			t.Errorf("before the first commit: %d", got)
		}
		key := resource.Key{Type: resource.Endpoints, Name: "n/s"}
		w := f.Cache().NewWatcher()
		defer w.Close()
		w.Subscribe(key)
		var head uint64
		for n := range uint32(500) {
			head = f.register(n + 1)
			done := f.Refreshed()
			if r := f.Cache().Get(key); done > 0 && (r == nil || uint64(r.Revision) < done) {
				t.Fatalf("revision %d is said to be in the cache, which has %+v", done, r)
			}
			if n%50 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if got := f.Refreshed(); got != head {
			t.Errorf("at rest %d, want %d", got, head)
		}
	})
}

// A channel that was opened before its service existed gets it under the very
// name that it asked for.
func TestN05TargetsOfAServiceThatComesLater(t *testing.T) {
	run(t, func(t *testing.T, f *flow) {
		w := f.Cache().NewWatcher()
		defer w.Close()
		targets := []string{"s.n", "n/s", "s.n:8080", "n/s:1"}
		for _, name := range append(targets, "s.n:http", "t.n:80") {
			w.Subscribe(resource.Key{Type: resource.Listener, Scope: resource.Scope{Client: resource.GRPC}, Name: name})
		}
		synctest.Wait()
		w.Take()
		f.register(1)
		synctest.Wait()
		got := w.Take()[resource.Listener]
		slices.Sort(got)
		slices.Sort(targets)
		if !slices.Equal(got, targets) {
			t.Errorf("changed: %v, want %v", got, targets)
		}
	})
}
