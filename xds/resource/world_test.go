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
	namespaces []naming.Namespace
	services   []naming.Service
	instances  []naming.Instance
}

func (d drawn) world(t tester) naming.World {
	return publish(t, d.services, d.instances, d.namespaces...)
}

// clone may be changed without changing d.
func (d drawn) clone() drawn {
	return drawn{slices.Clone(d.namespaces), slices.Clone(d.services), slices.Clone(d.instances)}
}

// viewers are the namespaces that clients are drawn from; services are in some
// of them.
var viewers = []string{"a", "A", "b.a"}

// anyExports draws whom something is shown to; mostly everybody.
func anyExports(r *rapid.T) []string {
	return rapid.SampledFrom([][]string{nil, nil, nil, {"a"}, {"A", "b.a"}, {"nobody"}, {"*"}, {"*", "a"}}).Draw(r, "exports")
}

// anyWorld draws services whose names are made to collide, with settings that
// may be wrong, and instances that may not go together.
func anyWorld(r *rapid.T) drawn {
	part := rapid.StringMatching(`[aAb./:_-]{1,4}`)
	keys := rapid.SliceOfNDistinct(rapid.Custom(func(r *rapid.T) naming.ServiceKey {
		return naming.ServiceKey{Namespace: part.Draw(r, "namespace"), Name: part.Draw(r, "service")}
	}), 1, 6, func(k naming.ServiceKey) naming.ServiceKey { return k }).Draw(r, "services")
	var d drawn
	var owners []naming.ServiceKey
	for n, key := range keys {
		d.services = append(d.services, anyService(r, key, n > 0, keys))
		if !d.services[n].IsAlias() {
			owners = append(owners, key)
		}
		if rapid.IntRange(0, 3).Draw(r, "namespace exports") == 0 {
			d.namespaces = append(d.namespaces, naming.Namespace{Name: key.Namespace, ServiceExportTo: anyExports(r)})
		}
	}
	for n := range rapid.IntRange(0, 14).Draw(r, "n") {
		d.instances = append(d.instances, anyInstance(r, n, rapid.SampledFrom(owners).Draw(r, "service")))
	}
	return d
}

// anyService draws a service, or an alias of one, which need not exist.
func anyService(r *rapid.T, key naming.ServiceKey, mayBeAlias bool, others []naming.ServiceKey) naming.Service {
	s := naming.Service{Key: key, Revision: 1, ExportTo: anyExports(r), Created: naming.Micros(rapid.IntRange(0, 2).Draw(r, "created"))}
	if mayBeAlias && rapid.IntRange(0, 3).Draw(r, "alias") == 0 {
		s.AliasFor = rapid.SampledFrom(append(others, naming.ServiceKey{Namespace: "gone", Name: "gone"})).Draw(r, "alias for")
	} else {
		s.Metadata = naming.NewMetadata(anySettings(r))
	}
	return s
}

func anyInstance(r *rapid.T, n int, service naming.ServiceKey) naming.Instance {
	i := naming.Instance{
		ID: fmt.Sprintf("%02d", n), Service: service, Revision: 1,
		Host: rapid.SampledFrom([]string{
			"10.0.0.1", "10.0.0.2", "::1", "0:0::1", "::ffff:10.0.0.1", "name.example", "Name.Example.", "fe80::1%lo", "", "10.0.0.3",
		}).Draw(r, "host"),
		Created: naming.Micros(rapid.IntRange(0, 3).Draw(r, "created")),
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
	for st := range w.Services("") {
		if st.Service.IsAlias() {
			continue
		}
		for _, client := range []Client{Envoy, GRPC} {
			own := Scope{Client: client, Namespace: st.Service.Key.Namespace}
			key := Key{Cluster, own, ClusterName(st.Service.Key)}
			c, ok := same(r, w, again, key).(*clusterv3.Cluster)
			if !ok {
				r.Fatalf("%s has no cluster %q", st.Service.Key, key.Name)
			}
			strictCluster(r, c, client)
			if ByName(st) {
				accountedNames(r, w, key, c, st)
			}
			own.Location, own.Draining = anyLocation(r), client == Envoy && rapid.Bool().Draw(r, "draining")
			key = Key{Endpoints, own, key.Name}
			cla := same(r, w, again, key).(*endpointv3.ClusterLoadAssignment)
			set, _ := naming.StoredSettings(st.Service.Metadata)
			strict(r, cla, &set, client)
			accounted(r, w, key, cla, st)
		}
	}
	for _, ns := range viewers {
		routable(r, w, again, Key{Route, Scope{Namespace: ns}, EgressRoutes}, ClusterName)
		routable(r, w, again, Key{Route, Scope{Kind: Sidecar, Namespace: ns}, outboundRoutes}, OutboundName)
		complete(r, w, Scope{Namespace: ns}, ClusterName)
		complete(r, w, Scope{Kind: Gateway, Namespace: ns}, OutboundName)
	}
	for _, key := range everyKey(w) {
		same(r, w, again, key)
	}
	for st := range w.Services("") {
		for _, ref := range Affected(st.Service.Key, true) {
			if ref.Type != Listener || strings.HasSuffix(ref.Name, inboundSuffix) || served(naming.Resolve(w, st.Service.Key)) == nil {
				continue
			}
			for _, ns := range viewers {
				l, ok := same(r, w, again, Key{Listener, Scope{Client: GRPC, Namespace: ns}, ref.Name}).(*listenerv3.Listener)
				if seen := visible(w, st.Service, ns); ok && l.GetName() != ref.Name || !ok && seen {
					r.Fatalf("%q: %v", ref.Name, l)
				}
				if ok {
					strictListener(r, l)
				}
			}
			if !slices.Contains(Targets(st.Service.Key), ref.Name) {
				r.Fatalf("%q does not depend on %v", ref.Name, st.Service.Key)
			}
		}
	}
}

// visible says it in the words of naming; an alias shows no more than what it
// stands for.
func visible(w naming.World, s *naming.Service, namespace string) bool {
	to := naming.Resolve(w, s.Key)
	return naming.Visible(w, s, namespace) && (to == nil || naming.Visible(w, to.Service, namespace))
}

// complete checks that a wildcard has what its clients may see, each once, and
// in the form that they see.
func complete(r *rapid.T, w naming.World, scope Scope, clusterOf func(naming.ServiceKey) string) {
	var want []string
	for st := range w.Services("") {
		if !st.Service.IsAlias() && naming.Visible(w, st.Service, scope.Namespace) {
			want = append(want, clusterOf(st.Service.Key))
		}
	}
	if scope.Kind != Plain {
		want = append(want, passthrough, inboundPassthrough)
	}
	slices.Sort(want)
	if got := members(w, Cluster, scope); !slices.Equal(got, want) {
		r.Fatalf("%+v has the clusters %q, want %q", scope, got, want)
	}
	for _, name := range want {
		key := Key{Cluster, scope.Of(Cluster, name), name}
		found := 0
		for _, part := range scope.For(Cluster).Parts() {
			if v, member := new(SharingOf(w, Cluster, name)).Member(part); member {
				if found++; v != key.Form(w).Variant {
					r.Fatalf("%q is in the wildcard as %+v, and seen as %+v", name, v, key.Form(w).Variant)
				}
			}
		}
		if m, _, _ := Build(w, key.Form(w)); m == nil || found != 1 {
			r.Fatalf("%q is in %d parts, as %v", name, found, m)
		}
	}
}

func TestAnyWorldIsAcceptable(t *testing.T) { rapid.Check(t, acceptable) }

func FuzzWorld(f *testing.F) { f.Fuzz(rapid.MakeFuzz(acceptable)) }

// same builds a resource in two worlds of equal content.
func same(r *rapid.T, w, again naming.World, key Key) proto.Message {
	a, problems, err := Build(w, key.Form(w))
	b, problemsToo, errToo := Build(again, key.Form(again))
	if err != nil || errToo != nil {
		r.Fatalf("%s %q: %v, %v", key.Type, key.Name, err, errToo)
	}
	if a == nil {
		return nil
	}
	if b == nil || a.Version != b.Version || string(a.Delta) != string(b.Delta) || !slices.Equal(problems, problemsToo) {
		r.Fatalf("%s %q: the same content looks different", key.Type, key.Name)
	}
	if key.Type == LbEndpoint {
		checkCollection(r, w, key, a, b)
		return nil
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
	_, problems, _ := Build(w, key.Form(w))
	set, _ := naming.StoredSettings(st.Service.Metadata)
	lost := map[string]bool{}
	for _, p := range problems {
		if !strings.Contains(p.Reason, "additional") {
			lost[p.Instance] = true
		}
	}
	served := map[string]bool{}
	a, _ := arrangementOf(st, key.Form(w).Variant.Scope)
	for _, l := range a.localities {
		for _, e := range l.endpoints {
			served[e.ID] = true
		}
	}
	for _, i := range st.Instances {
		idle := i.Isolated && !served[i.ID] || i.Weight == 0
		if i.Isolated && served[i.ID] && (!key.Scope.Draining || !drains(&set)) {
			r.Fatalf("%s is isolated", i.ID)
		}
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
	_, problems, _ := Build(w, key.Form(w))
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
		if hosts[v.GetName()] != nil || to != passthrough && !reachable(w, key.Scope.Namespace, v.GetName(), to, clusterOf) {
			r.Fatalf("%v", v)
		}
		strictRoute(r, v.GetRoutes()[0], Envoy)
		hosts[v.GetName()] = v.GetDomains()
	}
	for st := range w.Services("") {
		if !visible(w, st.Service, key.Scope.Namespace) {
			if hosts[clusterOf(st.Service.Key)] != nil || reported[st.Service.Key.String()] {
				r.Fatalf("%v is not for %s", st.Service.Key, key.Scope.Namespace)
			}
			continue
		}
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

// reachable reports whether a host leads to the cluster of its service, which
// its clients may see.
func reachable(w naming.World, namespace, host, cluster string, clusterOf func(naming.ServiceKey) string) bool {
	for st := range w.Services("") {
		if clusterOf(st.Service.Key) == host {
			to := naming.Resolve(w, st.Service.Key)
			return to != nil && clusterOf(to.Service.Key) == cluster && visible(w, st.Service, namespace)
		}
	}
	return false
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
