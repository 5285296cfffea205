package ads

import (
	"slices"
	"strings"
	"testing"
	"time"

	"polestar/naming"
	reg "polestar/naming/registry"
	"polestar/xds/cache"
	"polestar/xds/resource"
)

// builder builds from a registry, as the pipeline does.
type builder struct{ *reg.Registry }

func (b builder) Build(f resource.Form) *resource.Resource {
	r, _, err := resource.Build(b.World(), f)
	if err != nil {
		panic(err)
	}
	return r
}

func (b builder) Sharing(t resource.Type, name string) resource.Sharing {
	return resource.SharingOf(b.World(), t, name)
}

func (b builder) Names(t resource.Type, s resource.Scope) []string {
	return resource.Names(b.World(), t, s)
}

// add registers a service with an instance and refreshes the cache.
func (b builder) add(t *testing.T, c *cache.Cache, name string, port uint32) {
	t.Helper()
	key := naming.ServiceKey{Namespace: "default", Name: name}
	revision := b.World().Revision() + 1
	err := b.Apply(naming.Commit{Revision: revision, Changes: []naming.Change{
		{After: &naming.Service{Key: key, Revision: revision}},
		{After: &naming.Instance{ID: name, Service: key, Host: "10.0.0.1", Port: port, Weight: 100, Healthy: true, Revision: revision}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.Refresh(resource.Affected(key, true))
}

func sidecarScope(service string) resource.Scope {
	return resource.Scope{
		Kind: resource.Sidecar, Namespace: "default", Service: service,
		EgressAddress: "0.0.0.0", EgressPort: 15001, IngressAddress: "0.0.0.0", IngressPort: 15006,
	}
}

// TestSourceJoinsSharedAndOwn: the wildcard of a sidecar is what all sidecars
// share and what only this one has, however names and wildcards come and go.
func TestSourceJoinsSharedAndOwn(t *testing.T) {
	b := builder{reg.New()}
	c := cache.New(b)
	b.add(t, c, "cart", 80)
	b.add(t, c, "pay", 81)
	w := c.NewWatcher()
	defer w.Close()
	s := newSource(w, c, func() uint64 { return 0 }, sidecarScope("cart"))
	want := func(typ resource.Type, names ...string) {
		t.Helper()
		var got []string
		for _, r := range s.All(typ) {
			got = append(got, r.Name)
		}
		if !slices.Equal(got, names) {
			t.Errorf("%s: %q, want %q", typ, got, names)
		}
	}
	clusters := []string{
		"INBOUND|default|cart", "InboundPassthroughCluster", "OUTBOUND|default|cart", "OUTBOUND|default|pay", "PassthroughCluster",
	}
	s.SubscribeAll(resource.Cluster)
	s.SubscribeAll(resource.Listener)
	want(resource.Cluster, clusters...)
	want(resource.Listener, "OUTBOUND_15001", "cart.default_INBOUND_15006")

	other := c.NewWatcher()
	defer other.Close()
	pay := newSource(other, c, func() uint64 { return 0 }, sidecarScope("pay"))
	if own := pay.SubscribeAll(resource.Cluster)[0].Name; own != "INBOUND|default|pay" {
		t.Errorf("another sidecar's first cluster is %q", own)
	}
	want(resource.Cluster, clusters...)

	t.Log("a change of the ports behind the sidecar wakes it, and nobody else")
	w.Take()
	other.Take()
	b.add(t, c, "cart", 82)
	if d := w.Take(); !slices.Equal(d[resource.Listener], []string{"cart.default_INBOUND_15006"}) || len(d[resource.Cluster]) > 0 {
		t.Errorf("told of %q", d)
	}
	if d := other.Take(); !d.Empty() {
		t.Errorf("the other sidecar was told of %q", d)
	}

	t.Log("a name given up stays while the wildcard is there, and the other way round")
	const own = "INBOUND|default|cart"
	s.Subscribe(resource.Cluster, own)
	s.Unsubscribe(resource.Cluster, own)
	want(resource.Cluster, clusters...)
	s.Subscribe(resource.Cluster, own)
	s.UnsubscribeAll(resource.Cluster)
	if s.Get(resource.Cluster, own) == nil {
		t.Errorf("%s is named, and gone with the wildcard", own)
	}
	s.Unsubscribe(resource.Cluster, own)
	s.UnsubscribeAll(resource.Listener)
	if s.Get(resource.Cluster, own) != nil || s.Get(resource.Listener, "cart.default_INBOUND_15006") != nil {
		t.Error("watched although nobody wants it")
	}
	other.Close()
	if n := c.Len(); n != 0 {
		t.Errorf("%d resources are left in the cache", n)
	}
}

// TestForcedEndpointsOfPolarisClusters: the endpoints of a changed cluster
// follow it although they have another name.
func TestForcedEndpointsOfPolarisClusters(t *testing.T) {
	for name, delta := range map[string]bool{"delta": true, "SotW": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			const cluster, endpoints = "OUTBOUND|default|cart", "default/cart"
			w.put(resource.Cluster, cluster, "1")
			w.put(resource.Endpoints, endpoints, "1")
			m := NewSotW(w, true)
			if delta {
				m = NewDelta(w, true)
			}
			ask := func(typ resource.Type, nonce string, names ...string) {
				t.Helper()
				if delta && nonce != "" {
					names = nil // subscribed already
				}
				if _, err := m.Request(time.Time{}, Request{URL: typ.URL(), Nonce: nonce, Subscribe: names}); err != nil {
					t.Fatal(err)
				}
			}
			next := func() (string, *Response) {
				r := m.Next(time.Time{})
				if r == nil {
					return "", nil
				}
				return strings.Join(forms(r.Resources), " "), r
			}
			ask(resource.Cluster, "")
			_, c := next()
			ask(resource.Endpoints, "", endpoints)
			_, e := next()
			ask(resource.Endpoints, e.Nonce, endpoints)
			ask(resource.Cluster, c.Nonce)
			w.put(resource.Cluster, cluster, "2")
			m.Changed(w.take())
			if got, _ := next(); got != cluster+"=2" {
				t.Fatalf("sent %q, want the changed cluster", got)
			}
			if got, _ := next(); got != endpoints+"=1" {
				t.Errorf("sent %q after the cluster, want its endpoints", got)
			}
		})
	}
}
