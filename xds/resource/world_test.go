package resource

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"polestar/naming"
)

// anyWorld draws instances of services whose names are made to collide.
func anyWorld(r *rapid.T) []naming.Instance {
	part := rapid.StringMatching(`[aAb./:_-]{1,4}`)
	names := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) naming.ServiceKey {
		return naming.ServiceKey{Namespace: part.Draw(r, "namespace"), Name: part.Draw(r, "service")}
	}), 1, 6).Draw(r, "services")
	var all []naming.Instance
	for n := range rapid.IntRange(0, 14).Draw(r, "n") {
		i := naming.Instance{
			ID: fmt.Sprintf("%02d", n), Service: rapid.SampledFrom(names).Draw(r, "service"), Revision: 1,
			Host: rapid.SampledFrom([]string{
				"10.0.0.1", "10.0.0.2", "::1", "0:0::1", "::ffff:10.0.0.1", "name.example", "fe80::1%lo", "", "10.0.0.3",
			}).Draw(r, "host"),
			Port:    rapid.SampledFrom([]uint32{0, 1, 2, 65535, 65536}).Draw(r, "port"),
			Weight:  rapid.SampledFrom([]uint32{0, 1, 100, 65535, 1 << 31, 1<<32 - 1}).Draw(r, "weight"),
			Healthy: rapid.Bool().Draw(r, "healthy"), Isolated: rapid.Bool().Draw(r, "isolated"),
			Version: rapid.SampledFrom([]string{"", "v1", "\xff"}).Draw(r, "version"), Protocol: rapid.SampledFrom([]string{"", "grpc"}).Draw(r, "protocol"),
			Metadata: naming.NewMetadata(rapid.MapOfN(
				rapid.SampledFrom([]string{"hash_key", "version", "protocol", "a", "i", "z", "ж", ""}),
				rapid.SampledFrom([]string{"", "x", strings.Repeat("y", 200), "\xfe"}), 0, 4,
			).Draw(r, "metadata")),
		}
		place := rapid.SampledFrom([]string{"", "c", "c~w1", "c~w1~", "~w100", "~w1"})
		i.Location = naming.Location{Region: place.Draw(r, "region"), Zone: place.Draw(r, "zone"), Campus: place.Draw(r, "campus")}
		all = append(all, i)
	}
	return all
}

// Whatever is registered, what comes out is what the strictest client accepts,
// and the same for the same content.
func acceptable(r *rapid.T) {
	all := anyWorld(r)
	w := worldOf(r, all)
	shuffled := rapid.Permutation(all).Draw(r, "shuffled")
	again := worldOf(r, shuffled)
	names := Names(w, Cluster, Scope{})
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		r.Fatalf("two services share a cluster: %q", names)
	}
	for st := range w.Services("") {
		for _, client := range []Client{Envoy, GRPC} {
			cluster := Key{Cluster, Scope{Client: client}, ClusterName(st.Service.Key)}
			if same(r, w, again, cluster) == nil {
				r.Fatalf("%s has no cluster %q", st.Service.Key, cluster.Name)
			}
			key := Key{Endpoints, Scope{Client: client}, cluster.Name}
			cla := same(r, w, again, key).(*endpointv3.ClusterLoadAssignment)
			strict(r, cla, client)
			accounted(r, w, key, cla, st)
		}
	}
	for _, ns := range []string{"a", "A", "b.a"} {
		routable(r, w, again, ns)
	}
	for st := range w.Services("") {
		for _, ref := range Affected(st.Service.Key, true) {
			if ref.Type == Listener {
				if l := same(r, w, again, Key{Listener, Scope{Client: GRPC}, ref.Name}); l == nil || l.(*listenerv3.Listener).GetName() != ref.Name {
					r.Fatalf("%q: %v", ref.Name, l)
				}
				if !slices.Contains(Targets(st.Service.Key), ref.Name) {
					r.Fatalf("%q does not depend on %v", ref.Name, st.Service.Key)
				}
			}
		}
	}
}

func TestAnyWorldIsAcceptable(t *testing.T) { rapid.Check(t, acceptable) }

func FuzzWorld(f *testing.F) { f.Fuzz(rapid.MakeFuzz(acceptable)) }

// same builds a resource in two worlds of equal content.
func same(r *rapid.T, w, again naming.World, key Key) proto.Message {
	a, problems, err := Build(w, key)
	b, problemsToo, errToo := Build(again, key)
	if err != nil || errToo != nil {
		r.Fatalf("%s %q: %v, %v", key.Type, key.Name, err, errToo)
	}
	if a == nil {
		return nil
	}
	if b == nil || a.Version != b.Version || string(a.Delta) != string(b.Delta) || !slices.Equal(problems, problemsToo) {
		r.Fatalf("%s %q: the same content looks different", key.Type, key.Name)
	}
	m, err := unpack(a)
	if err != nil {
		r.Fatalf("%v", err)
	}
	checkShared(r, key, a, m)
	return m
}

// accounted checks that every instance is served, reported, or takes no
// traffic by wish; and that the encoder wrote what the objects say.
func accounted(r *rapid.T, w naming.World, key Key, cla *endpointv3.ClusterLoadAssignment, st *naming.ServiceState) {
	_, problems, _ := Build(w, key)
	served, idle := 0, 0
	for _, l := range cla.GetEndpoints() {
		served += len(l.GetLbEndpoints())
	}
	for _, i := range st.Instances {
		if i.Isolated || i.Weight == 0 {
			idle++
		}
	}
	if served+idle+len(problems) != len(st.Instances) {
		r.Fatalf("%d served, %d idle and %d reported of %d: %v", served, idle, len(problems), len(st.Instances), problems)
	}
	localities, _ := localitiesOf(st, key.Scope.Client)
	if want := reference(key.Name, localities, key.Scope.Client); !proto.Equal(want, cla) {
		r.Fatalf("written\n%v\nwant\n%v", cla, want)
	}
}

// routable checks that no domain occurs twice, and that every service has one
// of its own or is reported.
func routable(r *rapid.T, w, again naming.World, own string) {
	key := Key{Route, Scope{Namespace: own}, EgressRoutes}
	m := same(r, w, again, key).(*routev3.RouteConfiguration)
	_, problems, _ := Build(w, key)
	reported := map[string]bool{}
	for _, p := range problems {
		reported[p.Service] = true
	}
	domains, hosts := map[string]bool{}, map[string][]string{}
	for _, v := range m.GetVirtualHosts() {
		for _, d := range v.GetDomains() {
			if domains[strings.ToLower(d)] || strings.ContainsAny(d, "/*") {
				r.Fatalf("domain %q in %v", d, m)
			}
			domains[strings.ToLower(d)] = true
		}
		if v.GetRoutes()[0].GetRoute().GetCluster() != v.GetName() || hosts[v.GetName()] != nil {
			r.Fatalf("%v", v)
		}
		hosts[v.GetName()] = v.GetDomains()
	}
	for st := range w.Services("") {
		want := 1
		if st.Service.Key.Namespace == own {
			want = 2
		}
		if len(hosts[ClusterName(st.Service.Key)]) < want && !reported[st.Service.Key.String()] {
			r.Fatalf("%v has the domains %q, and nobody is told", st.Service.Key, hosts[ClusterName(st.Service.Key)])
		}
	}
}

// standsFor reports whether a listener's name can mean a service.
func standsFor(name string, key naming.ServiceKey) bool {
	return slices.Contains(Targets(key), name) || slices.Contains(Targets(key), WithoutPort(name))
}

// FuzzNames holds the parsers of names that clients send to their bounds.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "/", ".", ":", "a/b", "a.b:80", "x%2Fy/z", "a.b:99999", "a%2F/b", "%2F/", "a/b/c.d.e:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		keys := slices.Concat(meanings(name)...)
		if len(keys) > 4*(naming.MaxNamespace+1)+2 {
			t.Fatalf("%q: %d services", name, len(keys))
		}
		for _, k := range keys {
			if k.Namespace == "" || k.Name == "" {
				t.Fatalf("%q: %q", name, k)
			}
			if !strings.Contains(k.String(), "%") && !standsFor(name, k) { // no service has one
				t.Fatalf("%q means %q, whose targets are %q", name, k, Targets(k))
			}
		}
		if key, ok := clusterKey(name); ok && !strings.Contains(key.Namespace, "%") && strings.Count(name, "%") == strings.Count(name, "%2F") &&
			!strings.Contains(key.Name, "%") && ClusterName(key) != name {
			t.Fatalf("%q is parsed as %q, whose name is %q", name, key, ClusterName(key))
		}
	})
}

// TestAffectedIsEverything: what differs between two worlds is what the change
// is said to affect.
func TestAffectedIsEverything(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		all := anyWorld(r)
		if len(all) == 0 {
			return
		}
		victim := rapid.SampledFrom(all).Draw(r, "victim")
		membership := rapid.Bool().Draw(r, "membership")
		var rest []naming.Instance
		for _, i := range all {
			switch {
			case i.Service != victim.Service:
				rest = append(rest, i)
			case !membership && i.ID != victim.ID:
				rest = append(rest, i)
			case !membership:
				i.Host = nobody
				rest = append(rest, i)
			}
		}
		before, after := worldOf(r, all), worldOf(r, rest)
		affected := map[Ref]bool{}
		for _, ref := range Affected(victim.Service, membership) {
			affected[ref] = true
		}
		for _, key := range everyKey(before) {
			a, _, _ := Build(before, key)
			b, _, _ := Build(after, key)
			differs := (a == nil) != (b == nil) || a != nil && a.Version != b.Version
			told := affected[Ref{key.Type, key.Name}] ||
				membership && key.Type == Listener && standsFor(key.Name, victim.Service)
			if differs && !told {
				r.Fatalf("%s %q changed with %v, and nobody is told", key.Type, key.Name, victim.Service)
			}
		}
	})
}

func everyKey(w naming.World) []Key {
	envoy := Scope{Namespace: "a", EgressAddress: "127.0.0.1", EgressPort: 1}
	out := []Key{{Listener, envoy.For(Listener), EgressListener}, {Route, envoy.For(Route), EgressRoutes}}
	for st := range w.Services("") {
		name, k := ClusterName(st.Service.Key), st.Service.Key
		for _, s := range []Scope{{Client: Envoy}, {Client: GRPC}} {
			out = append(out, Key{Cluster, s, name}, Key{Endpoints, s, name})
		}
		for _, target := range []string{name, k.String(), k.Name + "." + k.Namespace} {
			out = append(out, Key{Listener, Scope{Client: GRPC}, target}, Key{Listener, Scope{Client: GRPC}, target + ":80"})
		}
	}
	return out
}
