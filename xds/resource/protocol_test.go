package resource

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"polestar/naming"
)

// shop is a world of three services in two namespaces.
func shop(t testing.TB) naming.World {
	t.Helper()
	return world(t, inst("default/cart", 1), inst("default/cart", 2), inst("default/pay", 3), inst("ops/log", 4))
}

// keys are what an Envoy, a sidecar of Polaris and a gRPC client hold of the
// shop.
func keys(w naming.World) []Key {
	envoy, grpc := Scope{Namespace: "default", EgressAddress: "127.0.0.1", EgressPort: 15001}, Scope{Client: GRPC}
	out := []Key{{Listener, envoy.For(Listener), EgressListener}, {Route, envoy.For(Route), EgressRoutes}}
	for st := range w.Services("") {
		name := ClusterName(st.Service.Key)
		for _, s := range []Scope{envoy, grpc} {
			out = append(out, Key{Cluster, s.For(Cluster), name}, Key{Endpoints, s.For(Endpoints), name})
		}
		out = append(out, Key{Listener, grpc.For(Listener), name})
		out = append(out, Key{Cluster, sidecarOf("default", "cart").For(Cluster), OutboundName(st.Service.Key)})
	}
	for _, ref := range []Ref{
		{Cluster, "INBOUND|default|cart"},
		{Endpoints, "INBOUND|default|cart"},
		{Listener, outboundListener},
		{Listener, "cart.default_INBOUND_15006"},
		{Route, "polaris-inbound-cluster|cart.default"},
		{Route, outboundRoutes},
	} {
		out = append(out, Key{ref.Type, sidecarOf("default", "cart").Of(ref.Type, ref.Name), ref.Name})
	}
	return out
}

func made(t *testing.T, w naming.World, key Key) *Resource {
	t.Helper()
	r, _, err := Build(w, key.Form(w))
	if err != nil || r == nil {
		t.Fatalf("%s %q: %v, %v", key.Type, key.Name, r, err)
	}
	return r
}

func TestD05VersionIsAHashOfTheContent(t *testing.T) {
	w, again := shop(t), world(t, inst("default/cart", 2, func(i *naming.Instance) { i.Revision = 7 }),
		inst("default/cart", 1), inst("default/pay", 3), inst("ops/log", 4))
	versions := map[string]Key{}
	for _, key := range keys(w) {
		r, same := made(t, w, key), made(t, again, key)
		if r.Version != same.Version || string(r.Delta) != string(same.Delta) {
			t.Errorf("%s %q: %s and %s for the same content", key.Type, key.Name, r.Version, same.Version)
		}
		if other, twice := versions[r.Version]; twice && string(made(t, w, other).Any) != string(r.Any) {
			t.Errorf("%v and %v have one version", key, other)
		}
		versions[r.Version] = key
	}
	cart := Key{Endpoints, Scope{}, "default/cart"}
	changed := world(t, inst("default/cart", 1), inst("default/cart", 2, weight(99)))
	if made(t, w, cart).Version == made(t, changed, cart).Version {
		t.Error("another weight has the same version")
	}
}

func TestD07DrainedServiceHasAnEmptyAssignment(t *testing.T) {
	for _, w := range []naming.World{world(t, inst("d/s", 1, isolated), inst("d/s", 2, weight(0))), world(t, inst("d/s", 0, host(nobody)))} {
		for _, client := range []Client{Envoy, GRPC} {
			m, _ := build(t, w, Key{Endpoints, Scope{Client: client}, "d/s"})
			if cla := m.(*endpointv3.ClusterLoadAssignment); cla == nil || cla.GetClusterName() != "d/s" || len(cla.GetEndpoints()) != 0 {
				t.Errorf("a service without usable instances: %v", m)
			}
		}
	}
}

func TestW04ClustersDoNotChangeWithTheirInstances(t *testing.T) {
	tagged := func(i *naming.Instance) {
		i.Metadata, i.Version, i.Protocol = naming.NewMetadata(map[string]string{"a": "b"}), "v2", "grpc"
	}
	w := shop(t)
	after := world(t, inst("default/cart", 1, sick, weight(7), in("c"), tagged), inst("default/pay", 3, isolated), inst("ops/log", 4, host("10.9.9.9")))
	for _, key := range keys(w) {
		if key.Type == Cluster && made(t, w, key).Version != made(t, after, key).Version {
			t.Errorf("%s %q changed with its instances", key.Type, key.Name)
		}
	}
	cart := naming.ServiceKey{Namespace: "default", Name: "cart"}
	for _, ref := range Affected(cart, false) {
		// The inbound side of its own sidecars follows the ports that it registers.
		inbound := ref.Type != Cluster && sidecarOf("default", "cart").isInbound(ref.Type, ref.Name)
		if ref.Type != Endpoints && ref.Type != LbEndpoint && !inbound {
			t.Errorf("a change of instances rebuilds %s %q", ref.Type, ref.Name)
		}
	}
}

func TestW06ListenersDoNotChangeWithTheWorld(t *testing.T) {
	w := shop(t)
	after := world(t, inst("default/other", 1), inst("default/cart", 9, weight(1)), inst("ops/log", 4, sick), inst("default/pay", 1))
	for _, key := range keys(w) {
		if key.Type != Listener {
			continue
		}
		if a, b := made(t, w, key), made(t, after, key); a.Version != b.Version || string(a.Any) != string(b.Any) {
			t.Errorf("listener %q changed with what is registered", key.Name)
		}
	}
}

// messages walks everything in a message, also what is packed into an Any.
func messages(t *testing.T, m protoreflect.Message, visit func(proto.Message)) {
	t.Helper()
	visit(m.Interface())
	if packed, ok := m.Interface().(*anypb.Any); ok {
		inner, err := packed.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		messages(t, inner.ProtoReflect(), visit)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				messages(t, v.Message(), visit)
				return true
			})
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				messages(t, v.List().Get(i).Message(), visit)
			}
		case !f.IsMap() && !f.IsList() && f.Message() != nil:
			messages(t, v.Message(), visit)
		}
		return true
	})
}

func TestW07NoConfigSourceWaitsForEver(t *testing.T) {
	w, sources := shop(t), 0
	for _, key := range keys(w) {
		messages(t, decode(t, made(t, w, key)).ProtoReflect(), func(m proto.Message) {
			s, ok := m.(*corev3.ConfigSource)
			if !ok {
				return
			}
			sources++
			// Unset means 15 s; the stream answers every name before that.
			if s.GetAds() == nil || s.GetInitialFetchTimeout() != nil {
				t.Errorf("%s %q: config source %v", key.Type, key.Name, s)
			}
		})
	}
	// Of each cluster, and the routes of each listener: one of Envoy, and of a
	// sidecar the outbound one, its application's port, and its own port.
	if want := 3*3 + 1 + 1 + 3; sources != want {
		t.Errorf("%d config sources, want %d", sources, want)
	}
}

func TestW15EndpointsHaveTheNameThatTheirClusterGives(t *testing.T) {
	w := shop(t)
	for _, key := range keys(w) {
		if key.Type != Cluster {
			continue
		}
		c := decode(t, made(t, w, key)).(*clusterv3.Cluster)
		name := c.GetEdsClusterConfig().GetServiceName()
		if name == "" {
			name = c.GetName()
		}
		scope := key.Scope
		if scope.Kind != Plain {
			scope = sidecarOf("default", "cart").Of(Endpoints, name)
		}
		cla := decode(t, made(t, w, Key{Endpoints, scope, name})).(*endpointv3.ClusterLoadAssignment)
		if c.GetName() != key.Name || cla.GetClusterName() != name || AssignmentOf(key.Name) != name {
			t.Errorf("cluster %q asks for %q and gets %q", key.Name, name, cla.GetClusterName())
		}
	}
}

func TestN04NothingHasATTL(t *testing.T) {
	w := shop(t)
	for _, key := range keys(w) {
		var r discoveryv3.Resource
		if err := proto.Unmarshal(made(t, w, key).Delta, &r); err != nil {
			t.Fatal(err)
		}
		if r.GetTtl() != nil {
			t.Errorf("%s %q lives for %v", key.Type, key.Name, r.GetTtl())
		}
		if cla, ok := decode(t, made(t, w, key)).(*endpointv3.ClusterLoadAssignment); ok && cla.GetPolicy().GetEndpointStaleAfter() != nil {
			t.Errorf("%q goes stale", key.Name)
		}
	}
}

// routed lists the clusters that the routes of a namespace lead to.
func routed(t *testing.T, w naming.World, namespace string) []string {
	t.Helper()
	var out []string
	m, _ := build(t, w, Key{Route, Scope{Namespace: namespace}, EgressRoutes})
	for _, host := range m.(*routev3.RouteConfiguration).GetVirtualHosts() {
		for _, r := range host.GetRoutes() {
			out = append(out, r.GetRoute().GetCluster())
		}
	}
	slices.Sort(out)
	return out
}

func TestReferenceDefect02OneChangeLeavesTheOtherRoutes(t *testing.T) {
	want := []string{"default/cart", "default/pay", "ops/log"}
	for _, w := range []naming.World{
		shop(t),
		world(t, inst("default/cart", 1, weight(9), sick), inst("default/pay", 3), inst("ops/log", 4)),
		world(t, inst("default/cart", 0, host(nobody)), inst("default/pay", 3), inst("ops/log", 4)),
	} {
		for _, namespace := range []string{"default", "ops"} {
			if got := routed(t, w, namespace); !slices.Equal(got, want) {
				t.Errorf("routes in %s: %v", namespace, got)
			}
		}
	}
}

func TestReferenceDefect05AServiceThatGoesLeavesTheRest(t *testing.T) {
	w, after := shop(t), world(t, inst("default/cart", 1), inst("ops/log", 4))
	if got := routed(t, after, "default"); !slices.Equal(got, []string{"default/cart", "ops/log"}) {
		t.Errorf("routes: %v", got)
	}
	for _, key := range keys(w) {
		r, _, err := Build(after, key.Form(after))
		if gone := strings.Contains(key.Name, "pay"); err != nil || (r == nil) != gone {
			t.Errorf("%s %q: %v, %v; gone is %v", key.Type, key.Name, r, err, gone)
		}
	}
}

func TestReferenceDefect07OneBadRegistrationPoisonsNothing(t *testing.T) {
	w := world(t,
		inst("default/good", 1),
		inst("default/named", 1, host("db.internal")), inst("default/named", 2),
		inst("default/twice", 1), inst("default/twice", 2, host("10.0.0.1")), inst("default/twice", 3),
		inst("default/Foo", 1), inst("default/foo", 2),
		inst("default/a.default", 1), inst("default/a", 2),
	)
	if got := routed(t, w, "default"); !slices.Contains(got, "default/good") || !slices.Contains(got, "default/a.default") || !slices.Contains(got, "default/a") {
		t.Errorf("routes: %v", got)
	}
	for name, want := range map[string]int{"good": 1, "named": 1, "twice": 2, "Foo": 1, "foo": 1, "a.default": 1, "a": 1} {
		for _, client := range []Client{Envoy, GRPC} {
			m, _ := build(t, w, Key{Endpoints, Scope{Client: client}, "default/" + name})
			cla := m.(*endpointv3.ClusterLoadAssignment)
			strict(t, cla, new(naming.DefaultSettings()), client)
			if got := len(held(cla)); got != want {
				t.Errorf("%s: %d endpoints, want %d", name, got, want)
			}
		}
	}
}

func TestReferenceDefect09CallsCrossNamespacesAndKeepTheirProtocol(t *testing.T) {
	w := shop(t)
	if got, want := members(w, Cluster, Scope{Namespace: "default"}), []string{"default/cart", "default/pay", "ops/log"}; !slices.Equal(got, want) {
		t.Errorf("clusters of a node in default: %v", got)
	}
	m, _ := build(t, w, Key{Cluster, Scope{}, "ops/log"})
	options := fmt.Sprint(m.(*clusterv3.Cluster).GetTypedExtensionProtocolOptions()["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"])
	if !strings.Contains(options, "use_downstream_protocol_config") || !strings.Contains(options, "http2_protocol_options") {
		t.Errorf("HTTP/2 does not stay HTTP/2: %s", options)
	}
}
