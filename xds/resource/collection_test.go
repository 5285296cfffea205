package resource

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"pgregory.net/rapid"

	"polestar/naming"
	"polestar/naming/registry"
)

// checkCollection holds the endpoints of a service one by one to those of its
// load assignment, however the assignment comes.
func checkCollection(t tester, w naming.World, key Key, a, b *Resource) {
	if len(a.Any)+len(a.Delta) > 0 || len(a.Members) != len(b.Members) {
		t.Fatalf("%q: %d members, %d in an equal world; %d bytes of its own", key.Name, len(a.Members), len(b.Members), len(a.Delta))
	}
	listed, named := lists(t, w, key, 0), lists(t, w, key, 1)
	for i, m := range a.Members {
		if string(m.Delta) != string(b.Members[i].Delta) || i > 0 && a.Members[i-1].Name >= m.Name {
			t.Fatalf("%q: member %q differs or is out of order", key.Name, m.Name)
		}
		var packed anypb.Any
		e := &endpointv3.LbEndpoint{}
		if err := proto.Unmarshal(m.Any, &packed); err != nil {
			t.Fatalf("%v", err)
		}
		if err := packed.UnmarshalTo(e); err != nil {
			t.Fatalf("%v", err)
		}
		checkShared(t, Key{Type: LbEndpoint, Name: m.Name}, m, e)
		star := m.Name[:strings.LastIndexByte(m.Name, '/')+1] + "*"
		assignment, prefix, ok := CollectionOf(star)
		if !ok || assignment != key.Name || !strings.HasPrefix(m.Name, prefix) {
			t.Fatalf("member %q: its collection is read as %q, %q, %t", m.Name, assignment, prefix, ok)
		}
		at := e.GetEndpoint().GetAddress().String()
		if want := listed[at]; want == nil || !proto.Equal(want.endpoint, e) || len(named) > 0 && named[star] == nil {
			t.Fatalf("member %q is %v, in the list %v; collections %v", m.Name, e, want, named)
		}
		if place := listed[at].group.GetLocality(); len(named) > 0 && !proto.Equal(named[star].group.GetLocality(), place) {
			t.Fatalf("member %q is in %v, in the list in %v", m.Name, named[star].group.GetLocality(), place)
		}
		delete(listed, at)
	}
	if len(listed) > 0 {
		t.Fatalf("%q: %v are in the list only", key.Name, listed)
	}
}

type placed struct {
	group    *endpointv3.LocalityLbEndpoints
	endpoint *endpointv3.LbEndpoint
}

// lists reads an assignment: endpoints by address, and collections by name.
func lists(t tester, w naming.World, key Key, threshold uint32) map[string]*placed {
	scope := key.Scope
	scope.Collected = threshold
	r, _, err := Build(w, Key{Endpoints, scope, key.Name}.Form(w))
	if err != nil || r == nil {
		t.Fatalf("%v, %v", r, err)
	}
	m, err := unpack(r)
	if err != nil {
		t.Fatalf("%v", err)
	}
	out := map[string]*placed{}
	for _, l := range m.(*endpointv3.ClusterLoadAssignment).GetEndpoints() {
		if name := l.GetLedsClusterLocalityConfig().GetLedsCollectionName(); name != "" {
			out[name] = &placed{group: l}
		}
		for _, e := range l.GetLbEndpoints() {
			out[e.GetEndpoint().GetAddress().String()] = &placed{l, e}
		}
	}
	return out
}

// big is a service of n instances, one change at a time.
type big struct {
	*registry.Registry
	service naming.ServiceKey
}

func newBig(t testing.TB, n int) *big {
	t.Helper()
	b := &big{registry.New(), naming.ServiceKey{Namespace: "d", Name: "s"}}
	first := []naming.Change{{After: &naming.Service{Key: b.service, Revision: 1}}}
	for k := range n {
		first = append(first, naming.Change{After: b.instance(k, 1, func(*naming.Instance) {})})
	}
	b.commit(t, first...)
	return b
}

func (b *big) instance(k int, revision naming.Revision, set func(*naming.Instance)) *naming.Instance {
	i := &naming.Instance{
		ID: fmt.Sprintf("%040d", k), Service: b.service, Host: fmt.Sprintf("10.1.%d.%d", k/250, k%250), Port: 80, Weight: 100, Healthy: true,
		Location: naming.Location{Region: "r", Zone: "z1"}, Revision: revision,
		Metadata: naming.NewMetadata(map[string]string{"env": "prod", "zone": "z1", "team": "checkout", "build": "20260101", "canary": "no"}),
	}
	set(i)
	return i
}

func (b *big) commit(t testing.TB, changes ...naming.Change) {
	t.Helper()
	if err := b.Apply(naming.Commit{Revision: b.World().Revision() + 1, Changes: changes}); err != nil {
		t.Fatal(err)
	}
}

func (b *big) change(t testing.TB, k int, set func(*naming.Instance)) {
	t.Helper()
	before := b.World().Instance(fmt.Sprintf("%040d", k))
	b.commit(t, naming.Change{Before: before, After: b.instance(k, b.World().Revision()+1, set)})
}

func (b *big) remove(t testing.TB, k int) {
	t.Helper()
	b.commit(t, naming.Change{Before: b.World().Instance(fmt.Sprintf("%040d", k))})
}

func (b *big) build(key Key, before *Resource) (*Resource, []Problem, error) {
	return Rebuild(b.World(), key.Form(b.World()), before)
}

var collectionKey = Key{LbEndpoint, Scope{}, "d/s"}

// TestOneChangeMakesOneMember: what did not change is the very same resource,
// and what did is what a build from nothing makes.
func TestOneChangeMakesOneMember(t *testing.T) {
	b := newBig(t, 1000)
	before, _, err := b.build(collectionKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, step := range map[string]func(){
		"weight": func() { b.change(t, 7, func(i *naming.Instance) { i.Weight = 300 }) },
		"health": func() { b.change(t, 8, func(i *naming.Instance) { i.Healthy = false }) },
		"gone":   func() { b.remove(t, 9) },
		"new":    func() { b.commit(t, naming.Change{After: b.instance(2000, 9, func(*naming.Instance) {})}) },
		"moved":  func() { b.change(t, 10, func(i *naming.Instance) { i.Location.Zone = "z2" }) },
	} {
		step()
		after, _, err := b.build(collectionKey, before)
		if err != nil {
			t.Fatal(err)
		}
		anew, _, err := b.build(collectionKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		made := 0
		for _, m := range after.Members {
			if !slices.Contains(before.Members, m) {
				made++
			}
		}
		if want := map[string]int{"gone": 0}[name]; name != "gone" && made != 1 || name == "gone" && made != want {
			t.Errorf("%s: %d members were made anew", name, made)
		}
		if after.Version == before.Version || after.Version != anew.Version || len(after.Members) != len(anew.Members) {
			t.Errorf("%s: version %s after %s, built anew %s", name, after.Version, before.Version, anew.Version)
		}
		before = after
	}
}

// TestScaledWeightsAreMadeAnew: a weight that depends on the others is not
// taken from before.
func TestScaledWeightsAreMadeAnew(t *testing.T) {
	b := newBig(t, 2)
	before, _, _ := b.build(collectionKey, nil)
	b.change(t, 1, func(i *naming.Instance) { i.Weight = 1<<32 - 1 })
	after, _, _ := b.build(collectionKey, before)
	anew, _, _ := b.build(collectionKey, nil)
	if after.Version != anew.Version {
		t.Errorf("rebuilt %s, built %s", after.Version, anew.Version)
	}
}

// TestAssignmentKeepsItsForm: a service that hovers at the threshold does not
// change between list and collections all the time, and its assignment does
// not change with its endpoints.
func TestAssignmentKeepsItsForm(t *testing.T) {
	b := newBig(t, 100)
	key := Key{Endpoints, Scope{Collected: 101}, "d/s"}
	form := func(before *Resource) *Resource {
		t.Helper()
		r, _, err := b.build(key, before)
		if err != nil {
			t.Fatal(err)
		}
		cla := decode(t, r).(*endpointv3.ClusterLoadAssignment)
		if r.collected != (cla.GetEndpoints()[0].GetLedsClusterLocalityConfig() != nil) {
			t.Fatalf("collected %t, but it says %v", r.collected, cla)
		}
		return r
	}
	r := form(nil)
	if r.collected {
		t.Error("100 endpoints, below 101, are collected")
	}
	b.commit(t, naming.Change{After: b.instance(100, 2, func(*naming.Instance) {})})
	r = form(r)
	if !r.collected {
		t.Error("101 endpoints are not collected")
	}
	version := r.Version
	for k := range 25 { // 76 are left: three quarters of 101, rounded up
		b.remove(t, k)
		if r = form(r); !r.collected || r.Version != version {
			t.Fatalf("collected %t in version %s, before %s", r.collected, r.Version, version)
		}
	}
	b.change(t, 50, func(i *naming.Instance) { i.Weight = 7 })
	if r = form(r); r.Version != version {
		t.Error("a weight changed the assignment")
	}
	if form(nil).collected {
		t.Error("76 endpoints are collected by one who did not know them before")
	}
	b.remove(t, 25)
	if r = form(r); r.collected {
		t.Error("75 endpoints are still collected")
	}
}

// TestWeightedLocalitiesHaveWeights: where an Envoy reads them.
func TestWeightedLocalitiesHaveWeights(t *testing.T) {
	b := newBig(t, 3)
	service := &naming.Service{Key: b.service, Revision: 2, Metadata: naming.NewMetadata(map[string]string{"polestar/locality-lb": "weighted"})}
	b.commit(t, naming.Change{Before: b.World().Service(b.service).Service, After: service})
	m, problems := build(t, b.World(), Key{Endpoints, Scope{Collected: 1}, "d/s"})
	l := m.(*endpointv3.ClusterLoadAssignment).GetEndpoints()[0]
	if l.GetLoadBalancingWeight().GetValue() != 300 || len(problems) > 0 {
		t.Errorf("%v, %v", l, problems)
	}
}

// TestCollectionNames: no two locations share a name, and Envoy can cut each at
// its slashes.
func TestCollectionNames(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringMatching(`[a~,=%/:* ж\.]{0,4}`)
		key := naming.ServiceKey{Namespace: "n" + text.Draw(r, "namespace"), Name: "s" + text.Draw(r, "service")}
		place := func(name string) naming.Location {
			return naming.Location{Region: text.Draw(r, name), Zone: text.Draw(r, name), Campus: text.Draw(r, name)}
		}
		a, b := place("a"), place("b")
		name := collectionName(key, a)
		if (name == collectionName(key, b)) != (a == b) {
			r.Fatalf("%v and %v have the name %q", a, b, name)
		}
		assignment, prefix, ok := CollectionOf(name)
		if !ok || assignment != ClusterName(key) || prefix+"*" != name {
			r.Fatalf("%q is read as %q, %q, %t", name, assignment, prefix, ok)
		}
		if rest := strings.TrimPrefix(name, collectionPrefix); strings.Count(rest, "/") != 3 || strings.ContainsAny(rest, "%:?#[]~ ") {
			r.Fatalf("%q", name)
		}
		if got, ok := plainSegment(segment(key.Name)); !ok || got != key.Name {
			r.Fatalf("%q", key.Name)
		}
	})
	for _, name := range []string{
		"", "*", "d/s", collectionPrefix, collectionPrefix + "d/s/*", collectionPrefix + "d/s/,,/x", collectionPrefix + "d/s=/,,/*",
		collectionPrefix + "d/=2/,,/*", collectionPrefix + "d/=61/,,/*", collectionPrefix + "/s/,,/*", collectionPrefix + "d/s/,,/*/*",
	} {
		if assignment, _, ok := CollectionOf(name); ok {
			t.Errorf("%q is read as a collection of %q", name, assignment)
		}
	}
}

// TestLongNamesAreNotCollected: such a service goes on as a list.
func TestLongNamesAreNotCollected(t *testing.T) {
	b := newBig(t, 1)
	b.commit(t, naming.Change{After: b.instance(1, 2, func(i *naming.Instance) { i.ID = strings.Repeat("x", 400) })})
	r, _, err := b.build(Key{Endpoints, Scope{Collected: 1}, "d/s"}, nil)
	if err != nil || r.collected {
		t.Errorf("collected: %t, %v", r.collected, err)
	}
}

func BenchmarkCollection(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		s := newBig(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			before, _, _ := s.build(collectionKey, nil)
			for k := 0; b.Loop(); k++ {
				b.StopTimer()
				s.change(b, k%n, func(i *naming.Instance) { i.Weight = uint32(1 + k%100) })
				b.StartTimer()
				before, _, _ = s.build(collectionKey, before)
			}
		})
	}
}
