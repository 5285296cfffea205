package registry_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"polestar/naming"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a store and the registry that follows it commit by commit.
type pair struct {
	store *memory.Store
	reg   *registry.Registry
}

func newPair() *pair {
	return &pair{memory.New(store.DefaultLogBounds()), registry.New()}
}

// do commits a group and publishes it.
func (p *pair) do(t testing.TB, writes ...naming.Write) naming.Commit {
	t.Helper()
	commit, results, err := p.store.Apply(t.Context(), writes)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if err := p.reg.Apply(commit); err != nil {
		t.Fatal(err)
	}
	return commit
}

// reload loads the store into a fresh registry.
func (p *pair) reload(t testing.TB) *registry.Registry {
	t.Helper()
	fresh := registry.New()
	l := fresh.Load()
	head, err := p.store.Load(t.Context(), l.Add, l.Touched)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(head); err != nil {
		t.Fatal(err)
	}
	return fresh
}

func key(ns, name string) naming.ServiceKey { return naming.ServiceKey{Namespace: ns, Name: name} }

// put registers instance id of a service, with a weight.
func put(k naming.ServiceKey, id string, weight uint32) *naming.Register {
	return &naming.Register{
		Instance:   naming.Instance{ID: id, Service: k, Host: "h-" + id, Port: 80, Weight: weight},
		AutoCreate: true,
	}
}

func ids(st *naming.ServiceState) []string {
	if st == nil {
		return nil
	}
	out := []string{}
	for _, i := range st.Instances {
		out = append(out, i.ID)
	}
	return out
}

// sum adds the digests of a service's instances afresh.
func sum(st *naming.ServiceState) naming.Digest {
	var d naming.Digest
	for _, i := range st.Instances {
		d = d.Add(i.Digest())
	}
	return d
}

// names lists the services of a walk.
func names(w naming.World, namespace string) []string {
	var out []string
	for st := range w.Services(namespace) {
		out = append(out, fmt.Sprintf("%s|%s", st.Service.Key.Namespace, st.Service.Key.Name))
	}
	return out
}
