package resource

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"polestar/naming"
	"polestar/naming/registry"
)

// world publishes instances, in the order given.
func world(t testing.TB, instances ...naming.Instance) naming.World {
	t.Helper()
	seen := map[naming.ServiceKey]bool{}
	var services []naming.Service
	for n := range instances {
		if key := instances[n].Service; !seen[key] {
			seen[key] = true
			services = append(services, naming.Service{Key: key, Created: naming.Micros(len(seen)), Revision: 1})
		}
	}
	return publish(t, services, instances)
}

// nobody as a host: only the service exists.
const nobody = "-"

func publish(t tester, services []naming.Service, instances []naming.Instance, namespaces ...naming.Namespace) naming.World {
	c := naming.Commit{Revision: 1}
	for n := range namespaces {
		c.Changes = append(c.Changes, naming.Change{After: &namespaces[n]})
	}
	for n := range services {
		c.Changes = append(c.Changes, naming.Change{After: &services[n]})
	}
	for n := range instances {
		if i := instances[n]; i.Host != nobody {
			c.Changes = append(c.Changes, naming.Change{After: &i})
		}
	}
	r := registry.New()
	if err := r.Apply(c); err != nil {
		t.Fatalf("%v", err)
	}
	return r.World()
}

func inst(service string, n int, set ...func(*naming.Instance)) naming.Instance {
	ns, name, _ := strings.Cut(service, "/")
	i := naming.Instance{
		Service: naming.ServiceKey{Namespace: ns, Name: name}, Host: fmt.Sprintf("10.0.0.%d", n), Port: 80, Weight: 100, Healthy: true, Revision: 1,
	}
	for _, f := range set {
		f(&i)
	}
	if i.ID == "" {
		i.ID = fmt.Sprintf("%s-%02d", name, n)
	}
	return i
}

func weight(w uint32) func(*naming.Instance) { return func(i *naming.Instance) { i.Weight = w } }
func host(h string) func(*naming.Instance)   { return func(i *naming.Instance) { i.Host = h } }
func sick(i *naming.Instance)                { i.Healthy = false }
func isolated(i *naming.Instance)            { i.Isolated = true }
func in(campus string) func(*naming.Instance) {
	return func(i *naming.Instance) { i.Location.Campus = campus }
}

// decode unpacks what a client would see.
func decode(t testing.TB, r *Resource) proto.Message {
	t.Helper()
	m, err := unpack(r)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func unpack(r *Resource) (proto.Message, error) {
	var a anypb.Any
	if err := proto.Unmarshal(r.Any, &a); err != nil {
		return nil, err
	}
	return a.UnmarshalNew()
}

func build(t testing.TB, w naming.World, key Key) (proto.Message, []Problem) {
	t.Helper()
	r, problems, err := Build(w, key.Form(w))
	if err != nil {
		t.Fatal(err)
	}
	if r == nil {
		return nil, problems
	}
	return decode(t, r), problems
}

// held is an endpoint as a client holds it.
func held(cla *endpointv3.ClusterLoadAssignment) map[string]string {
	out := map[string]string{}
	for _, l := range cla.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			a := e.GetEndpoint().GetAddress().GetSocketAddress()
			out[a.GetAddress()] = fmt.Sprintf("%s w%d of %d %s", l.GetLocality().GetSubZone(), e.GetLoadBalancingWeight().GetValue(),
				l.GetLoadBalancingWeight().GetValue(), e.GetHealthStatus())
		}
	}
	return out
}

func TestEndpoints(t *testing.T) {
	for name, c := range map[string]struct {
		client    Client
		instances []naming.Instance
		want      map[string]string
		problems  int
	}{
		"isolated and weight 0 are left out, unhealthy is marked": {
			Envoy,
			[]naming.Instance{inst("d/s", 1), inst("d/s", 2, sick), inst("d/s", 3, isolated), inst("d/s", 4, weight(0))},
			map[string]string{"10.0.0.1": " w100 of 200 HEALTHY", "10.0.0.2": " w100 of 200 UNHEALTHY"},
			0,
		},
		"a host name is reported, its neighbours are served": {
			Envoy,
			[]naming.Instance{inst("d/s", 1), inst("d/s", 2, host("db.internal"))},
			map[string]string{"10.0.0.1": " w100 of 100 HEALTHY"},
			1,
		},
		"one address twice: the healthy one stays": {
			Envoy,
			[]naming.Instance{inst("d/s", 1, sick), inst("d/s", 2, host("10.0.0.1")), inst("d/s", 3, host("::ffff:10.0.0.1"))},
			map[string]string{"10.0.0.1": " w100 of 100 HEALTHY"},
			2,
		},
		"IPv6": {
			GRPC,
			[]naming.Instance{inst("d/s", 1, host("2001:DB8::0:1"))},
			map[string]string{"2001:db8::1": " w100 of 100 HEALTHY"},
			0,
		},
		"gRPC: a locality for each weight, the common one keeps its name": {
			GRPC,
			[]naming.Instance{inst("d/s", 1, in("c")), inst("d/s", 2, in("c")), inst("d/s", 3, in("c"), weight(300))},
			map[string]string{"10.0.0.1": "c w100 of 200 HEALTHY", "10.0.0.2": "c w100 of 200 HEALTHY", "10.0.0.3": "c~w300 w300 of 300 HEALTHY"},
			0,
		},
		"gRPC: a campus that is called like a weight; a tie goes to the larger weight": {
			GRPC,
			[]naming.Instance{inst("d/s", 1), inst("d/s", 2, weight(5)), inst("d/s", 3, in("~w5"))},
			map[string]string{"10.0.0.1": " w100 of 100 HEALTHY", "10.0.0.2": "~w5~ w5 of 5 HEALTHY", "10.0.0.3": "~w5 w100 of 100 HEALTHY"},
			0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, problems := build(t, world(t, c.instances...), Key{Endpoints, Scope{Client: c.client}, "d/s"})
			if diff := cmp.Diff(c.want, held(m.(*endpointv3.ClusterLoadAssignment))); diff != "" {
				t.Error(diff)
			}
			if len(problems) != c.problems {
				t.Errorf("problems %v, want %d", problems, c.problems)
			}
		})
	}
}

func TestDomains(t *testing.T) {
	w := world(t,
		inst("default/foo", 1), inst("default/Foo", 1), inst("ns1/a", 1), inst("default/a.ns1", 1), inst("ns1/foo", 1), inst("b.c/a", 1), inst("c/a.b", 1),
	)
	m, problems := build(t, w, Key{Route, Scope{Namespace: "default"}, "egress"})
	got := map[string][]string{}
	var all []string
	for _, v := range m.(*routev3.RouteConfiguration).GetVirtualHosts() {
		got[v.GetName()] = v.GetDomains()
		all = append(all, v.GetDomains()...)
	}
	want := map[string][]string{
		"default/foo":   {"foo.default", "foo"},
		"default/a.ns1": {"a.ns1.default"}, // a.ns1 alone is ns1/a's full name
		"ns1/a":         {"a.ns1"},
		"ns1/foo":       {"foo.ns1"},
		"b.c/a":         {"a.b.c"}, // was there before c/a.b
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != len(all) {
		t.Errorf("a domain twice makes Envoy refuse all routes: %v", all)
	}
	if len(problems) != 4 { // Foo twice, a.ns1, a.b.c
		t.Errorf("problems: %v", problems)
	}
}

func TestTargets(t *testing.T) {
	w := world(t, inst("default/cart", 1), inst("team.a/cart.v2", 1), inst("default/with:80", 1), inst("a/b/c", 1))
	for name, want := range map[string]string{
		"cart.default": "default/cart", "default/cart": "default/cart", "cart.default:8080": "default/cart", "default/cart:1": "default/cart",
		"cart.v2.team.a": "team.a/cart.v2", "team.a/cart.v2": "team.a/cart.v2", "with:80.default": "default/with:80", "default/with:80": "default/with:80",
		"a/b/c": "a/b/c", "cart": "", "cart.nowhere": "", "": "", "cart.default:http": "", "/": "", ".": "", "cart.default:": "",
	} {
		m, _ := build(t, w, Key{Listener, Scope{Client: GRPC}, name})
		switch l, _ := m.(*listenerv3.Listener); {
		case want == "" && m != nil:
			t.Errorf("%q names a service", name)
		case want != "" && (l == nil || l.GetName() != name || !strings.Contains(string(l.GetApiListener().GetApiListener().GetValue()), want)):
			t.Errorf("%q: %v, want a listener of that very name to %s", name, m, want)
		}
	}
	if m, _ := build(t, w, Key{Listener, Scope{Client: Envoy}, "cart.default"}); m != nil {
		t.Error("Envoy was given a gRPC listener")
	}
}

func TestWildcardMembersExist(t *testing.T) {
	w := world(t, inst("default/cart", 1), inst("b/x", 1), inst("a.b/y", 1))
	s := Scope{EgressAddress: "127.0.0.1", EgressPort: 1}
	for _, typ := range []Type{Cluster, Listener} {
		names := members(w, typ, s)
		if len(names) == 0 || !slices.IsSorted(names) {
			t.Errorf("%s: %v", typ, names)
		}
		for _, n := range names {
			if m, _ := build(t, w, Key{typ, s.For(typ), n}); m == nil {
				t.Errorf("%s %q is a member and does not exist", typ, n)
			}
		}
	}
	if Names(w, Listener, Scope{}) != nil || Names(w, Cluster, Scope{Client: GRPC}) != nil {
		t.Error("no egress address means no listener, and gRPC has no wildcard")
	}
}

// members lists what a wildcard of a client holds, its own resources aside.
func members(w naming.World, t Type, s Scope) []string {
	var out []string
	for _, part := range s.For(t).Parts() {
		out = append(out, Names(w, t, part)...)
	}
	slices.Sort(out)
	return out
}

func BenchmarkEndpoints(b *testing.B) {
	tags := naming.NewMetadata(map[string]string{"env": "prod", "zone": "z1", "team": "checkout", "build": "20260101", "canary": "no"})
	for _, client := range []Client{Envoy, GRPC} {
		for _, n := range []int{10, 1000, 10_000} {
			var all []naming.Instance
			for k := range n {
				all = append(all, inst("d/s", 0, func(i *naming.Instance) {
					i.ID, i.Host, i.Metadata = fmt.Sprintf("%040d", k), fmt.Sprintf("10.1.%d.%d", k/250, k%250), tags
				}))
			}
			key := Key{Endpoints, Scope{Client: client}, "d/s"}
			w := world(b, all...)
			b.Run(fmt.Sprintf("%s/%d", [...]string{"envoy", "grpc"}[client], n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r, _, err := Build(w, key.Form(w))
					if err != nil {
						b.Fatal(err)
					}
					b.SetBytes(int64(len(r.Any)))
				}
			})
		}
	}
}

func BenchmarkRoutes(b *testing.B) {
	var all []naming.Instance
	for k := range 5000 {
		all = append(all, inst(fmt.Sprintf("d/service-%05d", k), 1))
	}
	w := world(b, all...)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Build(w, Key{Route, Scope{Namespace: "d"}, EgressRoutes}.Form(w)); err != nil {
			b.Fatal(err)
		}
	}
}
