package resource

import (
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"polestar/naming"
)

// shows lists the services that a resource tells its reader of.
func shows(t tester, key Key, f Form, m proto.Message) []naming.ServiceKey {
	named := func(cluster string) []naming.ServiceKey {
		if k, ok := pipedKey(cluster, outboundPrefix); ok {
			return []naming.ServiceKey{k}
		}
		if k, ok := clusterKey(cluster); ok && !strings.HasPrefix(cluster, inboundPrefix) {
			return []naming.ServiceKey{k}
		}
		return nil // of the node itself, or of no service
	}
	switch m := m.(type) {
	case *clusterv3.Cluster:
		return named(m.GetName())
	case *endpointv3.ClusterLoadAssignment:
		return named(m.GetClusterName())
	case *listenerv3.Listener:
		if key.Scope.Client == Envoy {
			return nil
		}
		routes := inner(t, m.GetApiListener().GetApiListener()).(*hcmv3.HttpConnectionManager).GetRouteConfig()
		return append(named(routes.GetVirtualHosts()[0].GetRoutes()[0].GetRoute().GetCluster()), f.Variant.Target)
	case *routev3.RouteConfiguration:
		var out []naming.ServiceKey
		for _, v := range m.GetVirtualHosts() {
			out = append(append(out, named(v.GetName())...), named(v.GetRoutes()[0].GetRoute().GetCluster())...)
		}
		return out
	default:
		t.Fatalf("%T", m)
		return nil
	}
}

// TestNothingIsShownToWhoMayNotSeeIt: whatever a client asks for, in whatever
// world its view was made, and whatever the world is when the resource is
// built: what comes out names only services that the client's namespace may
// see in that world. Since resources are shared by their form, this is also
// why no two namespaces share one that only one of them may see.
func TestNothingIsShownToWhoMayNotSeeIt(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := anyWorld(r)
		viewed := d.world(r)
		later := d.clone()
		for n := range later.services {
			later.services[n].ExportTo = anyExports(r)
		}
		later.namespaces = append(later.namespaces, naming.Namespace{Name: rapid.SampledFrom(viewers).Draw(r, "changed"), ServiceExportTo: anyExports(r)})
		for _, built := range []naming.World{viewed, later.world(r)} {
			for _, key := range everyKey(viewed) {
				f := key.Form(viewed)
				res, _, err := Build(built, f)
				if err != nil {
					r.Fatalf("%v", err)
				}
				if res == nil {
					continue
				}
				var m proto.Message
				var shown []naming.ServiceKey
				if key.Type == LbEndpoint {
					k, _ := clusterKey(key.Name)
					shown = []naming.ServiceKey{k}
				} else if m, err = unpack(res); err != nil {
					r.Fatalf("%v", err)
				} else {
					shown = shows(r, key, f, m)
				}
				for _, k := range shown {
					if st := built.Service(k); st == nil || !visible(built, st.Service, key.Scope.Namespace) {
						r.Fatalf("%s %q shows %v to %+v: %v", key.Type, key.Name, k, key.Scope, m)
					}
				}
			}
		}
	})
}

// An alias looks as its service does: whoever follows changes must look at it,
// too.
func TestAliasFollowsItsService(t *testing.T) {
	cart := naming.Service{Key: naming.ServiceKey{Namespace: "shop", Name: "cart"}}
	alias := naming.Service{Key: naming.ServiceKey{Namespace: "default", Name: "basket"}, AliasFor: cart.Key}
	before := publish(t, []naming.Service{cart, alias}, nil)
	cart.Metadata = naming.NewMetadata(map[string]string{"polestar/request-timeout": "3s"})
	after := publish(t, []naming.Service{cart, alias}, nil)
	key := Key{Listener, Scope{Client: GRPC, Namespace: "x"}, "basket.default:80"}
	a, _ := build(t, before, key)
	b, _ := build(t, after, key)
	if a == nil || b == nil || proto.Equal(a, b) {
		t.Errorf("the alias is %v, then %v", a, b)
	}
	changed := WithAliases(after, map[naming.ServiceKey]bool{cart.Key: true})
	if len(changed) != 2 || !changed[alias.Key] {
		t.Errorf("changed are %v", changed)
	}
	if only := WithAliases(after, map[naming.ServiceKey]bool{cart.Key: false}); len(only) != 1 {
		t.Errorf("a change of instances changes %v", only)
	}
}

// A resource that a client sees since its namespace changed is as new as that:
// versions that a client is sent do not stand still.
func TestNewlyVisibleIsNew(t *testing.T) {
	cart := naming.Service{Key: naming.ServiceKey{Namespace: "shop", Name: "cart"}, Revision: 1}
	w := publish(t, []naming.Service{cart}, nil, naming.Namespace{Name: "shop", Revision: 7, ServiceExportTo: []string{"b"}})
	for _, key := range []Key{
		{Cluster, Scope{Namespace: "b"}, "shop/cart"},
		{Cluster, Scope{Kind: Sidecar, Namespace: "b"}, "OUTBOUND|shop|cart"},
		{Listener, Scope{Client: GRPC, Namespace: "b"}, "cart.shop"},
	} {
		if r, _, err := Build(w, key.Form(w)); err != nil || r == nil || r.Revision != 7 {
			t.Errorf("%s %q: %+v, %v", key.Type, key.Name, r, err)
		}
	}
}

// TestJavaSharesWhatItCan: gRPC in Java gets a cluster of its own only where
// outlier detection would be in it.
func TestJavaSharesWhatItCan(t *testing.T) {
	d := drawn{services: []naming.Service{
		{Key: naming.ServiceKey{Namespace: "default", Name: "plain"}},
		{Key: naming.ServiceKey{Namespace: "default", Name: "errors"}, Metadata: naming.NewMetadata(map[string]string{"polestar/outlier-consecutive-5xx": "5"})},
		{Key: naming.ServiceKey{Namespace: "default", Name: "rates"}, Metadata: naming.NewMetadata(map[string]string{"polestar/outlier-success-rate": "1.9"})},
	}}
	w := d.world(t)
	java, other := Scope{Client: GRPC, Namespace: "default", Java: true}, Scope{Client: GRPC, Namespace: "default"}
	for name, shared := range map[string]bool{"default/plain": true, "default/errors": true, "default/rates": false} {
		for _, typ := range []Type{Cluster, Endpoints} {
			a, b := Key{typ, java.For(typ), name}.Form(w), Key{typ, other.For(typ), name}.Form(w)
			if want := shared || typ == Endpoints; (a == b) != want {
				t.Errorf("%s %s: %+v and %+v, want them equal: %v", typ, name, a, b, want)
			}
		}
	}
}
