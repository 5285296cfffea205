package resource

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"polestar/naming"
)

// drawn is a world in the making.
type drawn struct {
	services  []naming.Service
	instances []naming.Instance
}

func (d drawn) world(t tester) naming.World { return publish(t, d.services, d.instances) }

// anyWorld draws services whose names are made to collide, with settings that
// may be wrong, and instances that may not go together.
func anyWorld(r *rapid.T) drawn {
	part := rapid.StringMatching(`[aAb./:_-]{1,4}`)
	keys := rapid.SliceOfNDistinct(rapid.Custom(func(r *rapid.T) naming.ServiceKey {
		return naming.ServiceKey{Namespace: part.Draw(r, "namespace"), Name: part.Draw(r, "service")}
	}), 1, 6, func(k naming.ServiceKey) naming.ServiceKey { return k }).Draw(r, "services")
	var d drawn
	for _, key := range keys {
		d.services = append(d.services, naming.Service{Key: key, Revision: 1, Metadata: naming.NewMetadata(anySettings(r))})
	}
	for n := range rapid.IntRange(0, 14).Draw(r, "n") {
		d.instances = append(d.instances, anyInstance(r, n, rapid.SampledFrom(keys).Draw(r, "service")))
	}
	return d
}

func anyInstance(r *rapid.T, n int, service naming.ServiceKey) naming.Instance {
	i := naming.Instance{
		ID: fmt.Sprintf("%02d", n), Service: service, Revision: 1,
		Host: rapid.SampledFrom([]string{
			"10.0.0.1", "10.0.0.2", "::1", "0:0::1", "::ffff:10.0.0.1", "name.example", "fe80::1%lo", "", "10.0.0.3",
		}).Draw(r, "host"),
		Port:    rapid.SampledFrom([]uint32{0, 1, 2, 65535, 65536}).Draw(r, "port"),
		Weight:  rapid.SampledFrom([]uint32{0, 1, 100, 65535, 1 << 31, 1<<32 - 1}).Draw(r, "weight"),
		Healthy: rapid.Bool().Draw(r, "healthy"), Isolated: rapid.Bool().Draw(r, "isolated"),
		Version: rapid.SampledFrom([]string{"", "v1", "\xff"}).Draw(r, "version"), Protocol: rapid.SampledFrom([]string{"", "grpc"}).Draw(r, "protocol"),
		Metadata: naming.NewMetadata(rapid.MapOfN(
			rapid.SampledFrom([]string{"hash_key", "version", "protocol", "a", "i", "z", "ж", "", naming.KeyAdditionalAddresses, mutualKey}),
			rapid.SampledFrom([]string{"", "x", strings.Repeat("y", 200), "\xfe", "10.0.0.1", "::1,10.0.0.4:5", "::2", "10.0.0.2:2,[::2]:1", "strict"}), 0, 4,
		).Draw(r, "metadata")),
	}
	place := rapid.SampledFrom([]string{"", "c", "c~w1", "c~w1~", "~w100", "~w1"})
	i.Location = naming.Location{Region: place.Draw(r, "region"), Zone: place.Draw(r, "zone"), Campus: place.Draw(r, "campus")}
	return i
}

// anySettings draws metadata of a service, mostly with right values.
func anySettings(r *rapid.T) map[string]string {
	out := map[string]string{"team": "x"}
	values := rapid.SampledFrom([]string{
		"round_robin", "least_request", "ring_hash", "maglev", "random", "weighted_round_robin", "x-user", "1s", "0", "1", "50", "100", "101",
		"off", "weighted", "zone_aware", "5xx", "unavailable,connect-failure", "1.9", "tls", "mtls", "a.example", "spiffe://a/b", "/f", "version;a,z",
		"none", "region", "zone", "campus", "",
	})
	fitting := map[string][]string{
		"lb-policy": {"least_request", "ring_hash", "maglev", "weighted_round_robin"}, "hash-header": {"x-user"}, "tls": {"tls", "mtls"},
		"tls-ca": {"/ca"}, "tls-cert": {"/cert"}, "tls-key": {"/key"}, "tls-ca-provider": {"default"}, "tls-cert-provider": {"default"},
		"nearby": {"region", "zone", "campus"}, "nearby-limit": {"region", "zone"}, "nearby-overflow": {"1", "50", "100"},
		"panic-threshold": {"0", "1", "50", "100"}, "retries": {"1", "2"}, "subset-keys": {"version", "a;a,z"},
	}
	for _, key := range rapid.SliceOfN(rapid.SampledFrom(naming.SettingKeys()), 0, 8).Draw(r, "settings") {
		name := strings.TrimPrefix(key, naming.SettingPrefix)
		if good := fitting[name]; good != nil && rapid.IntRange(0, 3).Draw(r, "fits") > 0 {
			out[key] = rapid.SampledFrom(good).Draw(r, "good")
			continue
		}
		out[key] = values.Draw(r, "value")
	}
	return out
}

// anyLocation draws where a client is.
func anyLocation(r *rapid.T) naming.Location {
	place := rapid.SampledFrom([]string{"", "c", "c~w1"})
	return naming.Location{Region: place.Draw(r, "region"), Zone: place.Draw(r, "zone"), Campus: place.Draw(r, "campus")}
}

// Whatever is registered, what comes out is what the strictest client accepts,
// and the same for the same content.
func acceptable(r *rapid.T) {
	d := anyWorld(r)
	w := d.world(r)
	d.instances = rapid.Permutation(d.instances).Draw(r, "shuffled")
	again := d.world(r)
	names := Names(w, Cluster, Scope{})
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		r.Fatalf("two services share a cluster: %q", names)
	}
	for st := range w.Services("") {
		for _, client := range []Client{Envoy, GRPC} {
			key := Key{Cluster, Scope{Client: client}, ClusterName(st.Service.Key)}
			c, ok := same(r, w, again, key).(*clusterv3.Cluster)
			if !ok {
				r.Fatalf("%s has no cluster %q", st.Service.Key, key.Name)
			}
			strictCluster(r, c, client)
			key = Key{Endpoints, Scope{Client: client, Location: anyLocation(r)}, key.Name}
			cla := same(r, w, again, key).(*endpointv3.ClusterLoadAssignment)
			set, _ := naming.StoredSettings(st.Service.Metadata)
			strict(r, cla, &set, client)
			accounted(r, w, key, cla, st)
		}
	}
	for _, ns := range []string{"a", "A", "b.a"} {
		routable(r, w, again, Key{Route, Scope{Namespace: ns}, EgressRoutes}, ClusterName)
		routable(r, w, again, Key{Route, Scope{Kind: Sidecar, Namespace: ns}, outboundRoutes}, OutboundName)
	}
	for _, key := range everyKey(w) {
		same(r, w, again, key)
	}
	for st := range w.Services("") {
		for _, ref := range Affected(st.Service.Key, true) {
			if ref.Type == Listener && !ref.ByNameOnly() {
				l, ok := same(r, w, again, Key{Listener, Scope{Client: GRPC}, ref.Name}).(*listenerv3.Listener)
				if !ok || l.GetName() != ref.Name {
					r.Fatalf("%q: %v", ref.Name, l)
				}
				strictListener(r, l)
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
	set, _ := naming.StoredSettings(st.Service.Metadata)
	lost := map[string]bool{}
	for _, p := range problems {
		if !strings.Contains(p.Reason, "additional") {
			lost[p.Instance] = true
		}
	}
	served := map[string]bool{}
	a, _ := arrangementOf(st, key.Scope)
	for _, l := range a.localities {
		for _, e := range l.endpoints {
			served[e.ID] = true
		}
	}
	for _, i := range st.Instances {
		idle := i.Isolated || i.Weight == 0
		far := naming.NearnessOf(key.Scope.Location, i.Location) < set.NearbyLimit && key.Scope.Location.Region != ""
		if told := idle || far || lost[i.ID] || set.TLS.Broken && lost[""]; served[i.ID] == told {
			r.Fatalf("%s: served %t; %v", i.ID, served[i.ID], problems)
		}
	}
	if want := reference(key.Name, a, key.Scope.Client); !proto.Equal(want, cla) {
		r.Fatalf("written\n%v\nwant\n%v", cla, want)
	}
}

// routable checks that no domain occurs twice, and that every service has one
// of its own or is reported.
func routable(r *rapid.T, w, again naming.World, key Key, clusterOf func(naming.ServiceKey) string) {
	m := same(r, w, again, key).(*routev3.RouteConfiguration)
	_, problems, _ := Build(w, key)
	reported := map[string]bool{}
	for _, p := range problems {
		reported[p.Service] = true
	}
	domains, hosts := map[string]bool{}, map[string][]string{}
	for _, v := range m.GetVirtualHosts() {
		for _, d := range v.GetDomains() {
			if domains[strings.ToLower(d)] || strings.ContainsAny(d, "/*") && d != "*" {
				r.Fatalf("domain %q in %v", d, m)
			}
			domains[strings.ToLower(d)] = true
		}
		to := v.GetRoutes()[0].GetRoute().GetCluster()
		if to != v.GetName() && to != passthrough || hosts[v.GetName()] != nil {
			r.Fatalf("%v", v)
		}
		strictRoute(r, v.GetRoutes()[0], Envoy)
		hosts[v.GetName()] = v.GetDomains()
	}
	for st := range w.Services("") {
		want := 1
		if key.Scope.Kind != Plain {
			want = 4
		}
		if st.Service.Key.Namespace == key.Scope.Namespace {
			want++
		}
		if has := hosts[clusterOf(st.Service.Key)]; len(has) < want && !reported[st.Service.Key.String()] {
			r.Fatalf("%v has the domains %q, and nobody is told", st.Service.Key, has)
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
		d := anyWorld(r)
		victim := rapid.SampledFrom(d.services).Draw(r, "victim").Key
		var rest drawn
		membership := false
		switch rapid.SampledFrom([]string{"deleted", "settings", "instance", "all instances"}).Draw(r, "change") {
		case "deleted":
			membership = true
			for _, s := range d.services {
				if s.Key != victim {
					rest.services = append(rest.services, s)
				}
			}
			rest.instances = slices.DeleteFunc(slices.Clone(d.instances), func(i naming.Instance) bool { return i.Service == victim })
		case "settings":
			membership = true
			rest = drawn{slices.Clone(d.services), d.instances}
			for n := range rest.services {
				if rest.services[n].Key == victim {
					rest.services[n].Metadata = naming.NewMetadata(anySettings(r))
				}
			}
		case "instance":
			rest = drawn{d.services, slices.Clone(d.instances)}
			if at := slices.IndexFunc(rest.instances, func(i naming.Instance) bool { return i.Service == victim }); at >= 0 {
				rest.instances[at] = anyInstance(r, 99, victim)
			}
		case "all instances":
			rest = drawn{d.services, slices.DeleteFunc(slices.Clone(d.instances), func(i naming.Instance) bool { return i.Service == victim })}
		}
		before, after := d.world(r), rest.world(r)
		affected := map[Ref]bool{}
		for _, ref := range Affected(victim, membership) {
			affected[ref] = true
		}
		for _, key := range everyKey(before) {
			a, _, _ := Build(before, key)
			b, _, _ := Build(after, key)
			differs := (a == nil) != (b == nil) || a != nil && a.Version != b.Version
			told := affected[Ref{key.Type, key.Name}] || membership && key.Type == Listener && standsFor(key.Name, victim)
			if differs && !told {
				r.Fatalf("%s %q changed with %v, and nobody is told", key.Type, key.Name, victim)
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
			s.Location = naming.Location{Region: "c", Zone: "c", Campus: "c"}
			out = append(out, Key{Endpoints, s, name})
		}
		sidecar := Scope{
			Kind: Sidecar, Namespace: k.Namespace, Service: k.Name,
			EgressAddress: "0.0.0.0", EgressPort: OutboundPort, IngressAddress: "0.0.0.0", IngressPort: InboundPort,
		}
		for _, ref := range Affected(k, true) {
			for _, s := range []Scope{sidecar, {Kind: Gateway, Namespace: "a", EgressAddress: "0.0.0.0", EgressPort: OutboundPort}} {
				out = append(out, Key{ref.Type, s.Of(ref.Type, ref.Name), ref.Name})
			}
		}
		for _, target := range []string{name, k.String(), k.Name + "." + k.Namespace} {
			out = append(out, Key{Listener, Scope{Client: GRPC}, target}, Key{Listener, Scope{Client: GRPC}, target + ":80"})
		}
	}
	return out
}
