package xds

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
	"polestar/xds/cache"
	"polestar/xds/resource"
)

// world is a store, the registry that follows it and the pipeline behind.
type world struct {
	*Pipeline
	store *memory.Store
}

func running(t *testing.T) *world {
	t.Helper()
	p, err := New(Deps{Registry: registry.New(), Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &world{p, memory.New(store.DefaultLogBounds())}
}

// do commits one write and publishes it.
func (w *world) do(t *testing.T, wr naming.Write) uint64 {
	t.Helper()
	commit, results, err := w.store.Apply(t.Context(), []naming.Write{wr})
	if err == nil {
		err = errors.Join(results[0].Err, w.Registry.Apply(commit))
	}
	if err != nil {
		t.Fatal(err)
	}
	return uint64(commit.Revision)
}

func put(service string, weight uint32) naming.Write {
	return &naming.Register{AutoCreate: true, Instance: naming.Instance{
		ID: service, Service: naming.ServiceKey{Namespace: "n", Name: service}, Host: "10.0.0.1", Port: 80, Weight: weight,
	}}
}

func endpoints(service string) resource.Key {
	return resource.Key{Type: resource.Endpoints, Name: "n/" + service}
}

// What is in the cache after Await is as of that revision, and its watchers
// are marked, however the two race.
func TestAfterAwaitTheCacheIsAsOfTheRevision(t *testing.T) {
	w := running(t)
	watcher := w.Cache().NewWatcher()
	defer watcher.Close()
	const services = 7
	for n := range services {
		watcher.Subscribe(endpoints(fmt.Sprint(n)))
	}
	for n := range uint32(500) {
		service := fmt.Sprint(n % services)
		rev := w.do(t, put(service, n+1))
		if err := w.Await(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		if r := w.Cache().Get(endpoints(service)); r == nil || uint64(r.Revision) != rev {
			t.Fatalf("after revision %d the cache has %+v", rev, r)
		}
		if d := watcher.Take(); marked(d, endpoints(service)) != 1 {
			t.Fatalf("after revision %d the watcher is told %v", rev, d)
		}
	}
}

func marked(d cache.Dirty, key resource.Key) int {
	n := 0
	for _, name := range d[key.Type] {
		if name == key.Name {
			n++
		}
	}
	return n
}

func TestAwaitOfARevisionWithoutServices(t *testing.T) {
	w := running(t)
	rev := w.do(t, &naming.PutClient{Client: naming.Client{ID: "c"}})
	if err := w.Await(t.Context(), rev); err != nil {
		t.Error(err)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	w := running(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Await(ctx, 5) }()
	w.do(t, put("a", 1))
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the end of the context", err)
	}
}

func TestTouchedKnowsTheNamesThatAreWatched(t *testing.T) {
	w := running(t)
	w.do(t, put("a", 1))
	watcher := w.Cache().NewWatcher()
	defer watcher.Close()
	for _, name := range []string{"a.n:80", "a.n", "other.n:80"} {
		watcher.Subscribe(resource.Key{Type: resource.Listener, Scope: resource.Scope{Client: resource.GRPC}, Name: name})
	}
	counts := map[resource.Ref]int{}
	for _, ref := range w.Touched(naming.ServiceKey{Namespace: "n", Name: "a"}) {
		counts[ref]++
	}
	for _, want := range []resource.Ref{
		{Type: resource.Cluster, Name: "n/a"},
		{Type: resource.Endpoints, Name: "n/a"},
		{Type: resource.Listener, Name: "a.n"},
		{Type: resource.Listener, Name: "a.n:80"},
		{Type: resource.Route, Name: resource.EgressRoutes},
	} {
		if counts[want] != 1 {
			t.Errorf("%v is listed %d times", want, counts[want])
		}
	}
	if counts[resource.Ref{Type: resource.Listener, Name: "other.n:80"}] > 0 {
		t.Error("the listener of another service is listed")
	}
}
