package resource

import (
	"fmt"
	"slices"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"pgregory.net/rapid"

	"polestar/naming"
)

// sidecarOf is the scope of a sidecar as its bootstrap makes it.
func sidecarOf(namespace, service string) Scope {
	return Scope{
		Kind: Sidecar, Namespace: namespace, Service: service,
		EgressAddress: "0.0.0.0", EgressPort: OutboundPort, IngressAddress: "0.0.0.0", IngressPort: InboundPort,
	}
}

// TestOwnResourcesStayApart: what one node has of its own must not be shared
// with others through the wildcard, and the two together are what exists.
func TestOwnResourcesStayApart(t *testing.T) {
	w := world(t, inst("default/cart", 1), inst("shop/pay", 2))
	gateway := Scope{Kind: Gateway, Namespace: "default", Service: "cart", EgressAddress: "0.0.0.0", EgressPort: OutboundPort}
	for _, s := range []Scope{sidecarOf("default", "cart"), sidecarOf("default", ""), gateway} {
		for _, typ := range Types() {
			for _, name := range s.Own(typ) {
				if !typ.Wildcard() || !new(SharingOf(w, typ, name)).alone || slices.Contains(members(w, typ, s), name) {
					t.Errorf("%s %q is also a member of a shared wildcard", typ, name)
				}
				if s.Of(typ, name) == s.For(typ) {
					t.Errorf("%s %q has the scope of the wildcard", typ, name)
				}
				if m, _ := build(t, w, Key{typ, s.For(typ), name}); m != nil {
					t.Errorf("%s %q exists in the shared scope", typ, name)
				}
				if m, _ := build(t, w, Key{typ, s.Of(typ, name), name}); m == nil {
					t.Errorf("%s %q does not exist", typ, name)
				}
			}
			names := members(w, typ, s)
			if typ.Wildcard() && len(names) == 0 || !slices.IsSorted(names) {
				t.Errorf("%s: %q", typ, names)
			}
			for _, name := range names {
				if new(SharingOf(w, typ, name)).alone || s.Of(typ, name) != s.For(typ) {
					t.Errorf("%s %q is not shared", typ, name)
				}
				if m, _ := build(t, w, Key{typ, s.For(typ), name}); m == nil {
					t.Errorf("%s %q is a member and does not exist", typ, name)
				}
			}
		}
	}
	if n := len(sidecarOf("default", "cart").Own(Cluster)) + len(gateway.Own(Cluster)) + len((Scope{}).Own(Cluster)); n != 1 {
		t.Errorf("%d own clusters, want the sidecar's one", n)
	}
}

// TestEnvoysShareEndpoints: a sidecar's clusters ask for the very resource
// that other Envoys have.
func TestEnvoysShareEndpoints(t *testing.T) {
	s := sidecarOf("default", "cart")
	for cluster, want := range map[string]string{
		"OUTBOUND|shop|pay": "shop/pay", "OUTBOUND|team/a|b": "team%2Fa/b", "INBOUND|default|cart": "INBOUND|default|cart", "shop/pay": "shop/pay",
		"OUTBOUND|x": "OUTBOUND|x", "PassthroughCluster": "PassthroughCluster",
	} {
		if got := AssignmentOf(cluster); got != want {
			t.Errorf("cluster %q asks for %q, want %q", cluster, got, want)
		}
	}
	w := world(t, inst("shop/pay", 1))
	if got := (Key{Endpoints, s.Of(Endpoints, "shop/pay"), "shop/pay"}).Form(w); got != (Form{Type: Endpoints, Name: "shop/pay"}) {
		t.Errorf("endpoints of a service in the form %+v, want that of all Envoys", got)
	}
}

// TestManyInboundPorts: what is above the bound passes untouched, and somebody
// is told.
func TestManyInboundPorts(t *testing.T) {
	var all []naming.Instance
	for n := range MaxInboundPorts + 1 {
		all = append(all, inst("d/s", 0, func(i *naming.Instance) { i.ID, i.Port = fmt.Sprint(n), uint32(1000+n) }))
	}
	s := sidecarOf("d", "s")
	name := "s.d_INBOUND_15006"
	m, problems := build(t, world(t, all...), Key{Listener, s.Of(Listener, name), name})
	if n := len(m.(*listenerv3.Listener).GetFilterChains()); n != MaxInboundPorts+1 { // and that of the sidecar itself
		t.Errorf("%d filter chains", n)
	}
	if len(problems) != 1 || problems[0].Service != "d/s" {
		t.Errorf("problems %v", problems)
	}
}

// TestPolarisNamesAreUnique: no two services share a name, whatever they are
// called.
func TestPolarisNamesAreUnique(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		part := rapid.StringMatching(`[aAb./:_-]{1,4}`)
		key := naming.ServiceKey{Namespace: part.Draw(r, "namespace"), Name: part.Draw(r, "service")}
		for name, prefix := range map[string]string{OutboundName(key): outboundPrefix, InboundName(key): inboundPrefix} {
			if got, ok := pipedKey(name, prefix); !ok || got != key {
				r.Fatalf("%q is read as %q, %t", name, got, ok)
			}
		}
		port := rapid.Uint16Range(1, 65535).Draw(r, "port")
		if got := inboundRoutePort(key, inboundRouteName(key, port)); got != port {
			r.Fatalf("the routes of port %d are read as those of %d", port, got)
		}
	})
}

func TestServiceOfACluster(t *testing.T) {
	key := naming.ServiceKey{Namespace: "a/b", Name: "c/d"}
	for _, name := range []string{ClusterName(key), OutboundName(key)} {
		if got, ok := ServiceOf(name); !ok || got != key {
			t.Errorf("%s is of %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{InboundName(key), passthrough, "", "a", "OUTBOUND|a/b"} {
		if got, ok := ServiceOf(name); ok {
			t.Errorf("%q is of %v", name, got)
		}
	}
}
