package cache

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
	"polestar/naming/registry"
	"polestar/xds/resource"
)

// registered is a Builder over a registry, as the pipeline is one.
type registered struct {
	*registry.Registry
	mu     sync.Mutex
	builds []resource.Form
	during func() // called by Build before it reads
}

func newRegistered() *registered { return &registered{Registry: registry.New()} }

func (b *registered) Build(f resource.Form) *resource.Resource {
	if b.during != nil {
		b.during()
	}
	b.mu.Lock()
	b.builds = append(b.builds, f)
	b.mu.Unlock()
	r, _, err := resource.Build(b.World(), f)
	if err != nil {
		panic(err)
	}
	return r
}

func (b *registered) Sharing(t resource.Type, name string) resource.Sharing {
	return resource.SharingOf(b.World(), t, name)
}

func (b *registered) Names(t resource.Type, part resource.Scope) []string {
	return resource.Names(b.World(), t, part)
}

// built returns the builds since the last call.
func (b *registered) built() []resource.Form {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.builds
	b.builds = nil
	return out
}

// put commits a service of namespace shop with one instance, and returns what
// a Refresh has to look at.
func (b *registered) put(name string, change func(*naming.Service)) []resource.Ref {
	key, revision := naming.ServiceKey{Namespace: "shop", Name: name}, b.World().Revision()+1
	s := naming.Service{Key: key, Revision: revision}
	if change != nil {
		change(&s)
	}
	b.commit(&s, &naming.Instance{
		ID: name, Service: key, Host: "10.0.0.1", Port: 80, Weight: 100, Healthy: true, Revision: revision,
		Location: naming.Location{Region: "r", Zone: "z1"},
	})
	return resource.Affected(key, true)
}

func (b *registered) commit(all ...naming.Object) {
	c := naming.Commit{Revision: b.World().Revision() + 1}
	for _, o := range all {
		c.Changes = append(c.Changes, naming.Change{After: o})
	}
	if err := b.Apply(c); err != nil {
		panic(err)
	}
}

func exportTo(namespaces ...string) func(*naming.Service) {
	return func(s *naming.Service) { s.ExportTo = namespaces }
}

func nearby(s *naming.Service) {
	s.Metadata = naming.NewMetadata(map[string]string{"polestar/nearby": "zone"})
}

func keyOf(t resource.Type, s resource.Scope, name string) resource.Key {
	return resource.Key{Type: t, Scope: s.Of(t, name), Name: name}
}

// reader is a stream of a namespace that has the wildcard of clusters and
// names the endpoints of shop/cart.
type reader struct {
	w     *Watcher
	scope resource.Scope
}

func (c *Cache) reader(t *testing.T, s resource.Scope) reader {
	r := reader{c.NewWatcher(), s}
	t.Cleanup(r.w.Close)
	r.w.SubscribeAll(resource.Cluster, s.For(resource.Cluster))
	r.w.Subscribe(keyOf(resource.Endpoints, s, "shop/cart"))
	return r
}

// sees lists the clusters, and whether there are endpoints of shop/cart.
func (r reader) sees() string {
	var out []string
	for _, m := range r.w.cache.All(resource.Cluster, r.scope.For(resource.Cluster)) {
		if got := r.w.Get(resource.Cluster, m.Name); got != m {
			return "the list and " + m.Name + " differ"
		}
		out = append(out, m.Name)
	}
	if r.w.Get(resource.Endpoints, "shop/cart") != nil {
		out = append(out, "+endpoints")
	}
	return strings.Join(out, " ")
}

func TestVisibilityFollowsTheService(t *testing.T) {
	b := newRegistered()
	c := New(b)
	b.put("open", nil)
	b.put("cart", nil)
	readers := map[string]reader{}
	for _, ns := range []string{"shop", "b", "c"} {
		readers[ns] = c.reader(t, resource.Scope{Namespace: ns})
	}
	b.built()
	const whole, part = "shop/cart shop/open +endpoints", "shop/open"
	was := map[string]string{"shop": whole, "b": whole, "c": whole}
	for _, step := range []struct {
		exports []string
		want    map[string]string
	}{
		{[]string{"b"}, map[string]string{"shop": whole, "b": whole, "c": part}},
		{[]string{"b", "c"}, map[string]string{"shop": whole, "b": whole, "c": whole}},
		{[]string{"shop"}, map[string]string{"shop": whole, "b": part, "c": part}},
		{[]string{"c"}, map[string]string{"shop": whole, "b": part, "c": whole}},
		{nil, map[string]string{"shop": whole, "b": whole, "c": whole}},
		{[]string{"shop"}, map[string]string{"shop": whole, "b": part, "c": part}},
		{[]string{"*"}, map[string]string{"shop": whole, "b": whole, "c": whole}},
	} {
		c.Refresh(b.put("cart", exportTo(step.exports...)))
		for ns, r := range readers {
			if got := r.sees(); got != step.want[ns] {
				t.Errorf("exported to %q: %s sees %q, want %q", step.exports, ns, got, step.want[ns])
			}
			if told := taken(r.w); step.want[ns] != was[ns] && !strings.Contains(told, "cds:shop/cart") {
				t.Errorf("exported to %q: %s was told %q", step.exports, ns, told)
			}
			if woken(r.w) == (step.want[ns] == was[ns]) && step.want[ns] != was[ns] {
				t.Errorf("exported to %q: %s was not woken", step.exports, ns)
			}
		}
		was = step.want
		seen := map[resource.Form]int{}
		for _, f := range b.built() {
			if seen[f]++; f.Variant.Hidden && f.Type == resource.Cluster {
				continue
			}
			if seen[f] > 2 { // once more when it is gone
				t.Errorf("exported to %q: %d builds of %+v", step.exports, seen[f], f)
			}
		}
	}
	for _, r := range readers {
		r.w.Close()
	}
	if c.Len() != 0 || len(c.sets[resource.Cluster]) != 0 {
		t.Errorf("left are %d forms", c.Len())
	}
}

// A namespace that changes what it shows by default changes all its services.
func TestVisibilityFollowsTheNamespace(t *testing.T) {
	b := newRegistered()
	c := New(b)
	refs := b.put("cart", nil)
	r := c.reader(t, resource.Scope{Namespace: "b"})
	for _, step := range []struct {
		exports []string
		want    string
	}{{[]string{"c"}, ""}, {[]string{"b"}, "shop/cart +endpoints"}, {nil, "shop/cart +endpoints"}} {
		b.commit(&naming.Namespace{Name: "shop", ServiceExportTo: step.exports})
		c.Refresh(refs)
		if got := r.sees(); got != step.want {
			t.Errorf("exported to %q: sees %q, want %q", step.exports, got, step.want)
		}
	}
}

// While a service moves from all to some, those who keep it never miss it.
func TestMovingIsMakeBeforeBreak(t *testing.T) {
	b := newRegistered()
	c := New(b)
	b.put("cart", nil)
	keeps := c.reader(t, resource.Scope{Namespace: "b"})
	for _, exports := range [][]string{{"b"}, {"b", "x"}, nil, {"b"}, {"*"}} {
		b.during = func() {
			if got := keeps.sees(); got != "shop/cart +endpoints" {
				t.Errorf("in the middle of a change to %q: sees %q", exports, got)
			}
		}
		c.Refresh(b.put("cart", exportTo(exports...)))
		b.during = nil
	}
}

// Who may no longer see a service loses its routes first and its cluster last.
func TestLosingSightIsInOrder(t *testing.T) {
	b := newRegistered()
	c := New(b)
	refs := b.put("cart", nil)
	loses := c.reader(t, resource.Scope{Namespace: "b"})
	named := c.NewWatcher() // as an Envoy that asks for clusters by name
	defer named.Close()
	named.Subscribe(keyOf(resource.Cluster, loses.scope, "shop/cart"))
	loses.w.Subscribe(keyOf(resource.Route, loses.scope, resource.EgressRoutes))
	routed := func() bool {
		r := loses.w.Get(resource.Route, resource.EgressRoutes)
		return r != nil && bytes.Contains(r.Any, []byte("shop/cart"))
	}
	looks := 0
	b.during = func() {
		if looks++; routed() && (loses.sees() != "shop/cart +endpoints" || named.Get(resource.Cluster, "shop/cart") == nil) {
			t.Errorf("routed, but sees only %q", loses.sees())
		}
	}
	b.put("cart", exportTo("shop"))
	c.Refresh(refs)
	if looks == 0 || routed() || loses.sees() != "" || named.Get(resource.Cluster, "shop/cart") != nil {
		t.Errorf("after %d looks: routed %t, sees %q", looks, routed(), loses.sees())
	}
}

// A cluster that somebody names before its Refresh is in the wildcard at once,
// and those who have that are told, also when the last Refresh woke them.
func TestNamedBeforeItsRefreshIsToldToTheWildcard(t *testing.T) {
	b := newRegistered()
	c := New(b)
	refs := b.put("cart", nil)
	all := c.reader(t, resource.Scope{Namespace: "b"})
	b.put("cart", func(s *naming.Service) {
		s.Metadata = naming.NewMetadata(map[string]string{"polestar/retries": "1", "polestar/max-requests": "5"})
	})
	c.Refresh(refs)
	if !woken(all.w) || !strings.Contains(taken(all.w), "cds:shop/cart") {
		t.Error("a change is not told")
	}
	fresh := c.reader(t, resource.Scope{Namespace: "c"})
	refs = b.put("new", nil)
	named := c.NewWatcher()
	defer named.Close()
	named.Subscribe(keyOf(resource.Cluster, all.scope, "shop/new"))
	for _, r := range []reader{all, fresh} {
		if !woken(r.w) || taken(r.w) != "cds:shop/new" || r.sees() != "shop/cart shop/new +endpoints" {
			t.Errorf("the wildcard has %q", r.sees())
		}
	}
	c.Refresh(refs)
}

// What only some may see is still built once for all of them.
func TestFormsAreSharedAcrossNamespaces(t *testing.T) {
	b := newRegistered()
	c := New(b)
	b.put("cart", exportTo("a", "b"))
	for n := range 100 {
		c.reader(t, resource.Scope{Namespace: []string{"a", "b", "shop", "c"}[n%4]})
	}
	forms := b.built()
	slices.SortFunc(forms, func(a, b resource.Form) int {
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	if got := len(slices.Compact(slices.Clone(forms))); len(forms) != got || got != 3 { // the cluster, its endpoints, and nothing for c
		t.Errorf("%d builds of %d forms: %+v", len(forms), got, forms)
	}
}

// A listener of gRPC is no business of Envoys that have the wildcard of theirs.
func TestWildcardsOnlyBuildWhatBelongsToThem(t *testing.T) {
	b := newRegistered()
	c := New(b)
	w := c.NewWatcher()
	defer w.Close()
	egress := resource.Scope{Namespace: "shop", EgressAddress: "127.0.0.1", EgressPort: 1}
	if got := forms(w.SubscribeAll(resource.Listener, egress.For(resource.Listener))); !strings.HasPrefix(got, "egress=") {
		t.Errorf("listeners: %q", got)
	}
	b.built()
	c.Refresh(b.put("cart", nil))
	if got := b.built(); len(got) > 0 || c.Len() != 1 {
		t.Errorf("built %+v, %d forms are held", got, c.Len())
	}
}

// Ten thousand nodes of one view cost one build, and nearness splits views by
// no more than it reads.
func TestNearnessSplitsViews(t *testing.T) {
	b := newRegistered()
	c := New(b)
	refs := b.put("cart", nil)
	const nodes = 10_000
	for n := range nodes {
		w := c.NewWatcher()
		t.Cleanup(w.Close)
		w.Subscribe(keyOf(resource.Endpoints, resource.Scope{
			Namespace: fmt.Sprint("ns", n%7),
			Location:  naming.Location{Region: "r", Zone: fmt.Sprint("z", n%3), Campus: fmt.Sprint("c", n)},
		}, "shop/cart"))
	}
	if got := len(b.built()); got != 1 {
		t.Errorf("%d builds for %d nodes of one view", got, nodes)
	}
	c.Refresh(refs)
	if got := len(b.built()); got != 1 {
		t.Errorf("%d builds of a change", got)
	}
	c.Refresh(b.put("cart", nearby))
	b.built()
	c.Refresh(refs)
	if got := len(b.built()); got != 3 || c.Len() != 3 {
		t.Errorf("with nearness by zone: %d builds and %d forms for 3 zones", got, c.Len())
	}
	c.Refresh(b.put("cart", nil))
	b.built()
	c.Refresh(refs)
	if got := len(b.built()); got != 1 || c.Len() != 1 {
		t.Errorf("without nearness again: %d builds, %d forms", got, c.Len())
	}
}

// TestNothingIsMissedWhileViewsChange runs streams of several namespaces and
// places against services that change who sees them and how; at rest each has
// what it would be built now.
func TestNothingIsMissedWhileViewsChange(t *testing.T) {
	b := newRegistered()
	b.during = runtime.Gosched
	c := New(b)
	names := []string{"a", "b", "c"}
	stop := make(chan struct{})
	var streams sync.WaitGroup
	for n := range 6 {
		scope := resource.Scope{Namespace: []string{"shop", "x", "y"}[n%3], Location: naming.Location{Region: "r", Zone: fmt.Sprint("z", n%2)}}
		streams.Go(func() {
			for round := 0; ; round++ {
				s := &viewStream{w: c.NewWatcher(), scope: scope, have: map[resource.Ref]string{}}
				ended := s.live(t, b, names, n+round, stop)
				s.w.Close()
				if ended {
					return
				}
			}
		})
	}
	changes := []func(*naming.Service){nil, exportTo("x"), exportTo("y"), nearby, exportTo("*"), exportTo("shop"), func(s *naming.Service) { exportTo("x")(s); nearby(s) }}
	for n := range 1500 {
		c.Refresh(b.put(names[n%len(names)], changes[(n*7/3)%len(changes)]))
	}
	close(stop)
	streams.Wait()
	if c.Len() != 0 {
		t.Errorf("%d forms are left", c.Len())
	}
}

type viewStream struct {
	w     *Watcher
	scope resource.Scope
	have  map[resource.Ref]string
}

func (s *viewStream) take() {
	for t, names := range s.w.Take() {
		for _, name := range names {
			s.have[resource.Ref{Type: resource.Type(t), Name: name}] = version(s.w.Get(resource.Type(t), name))
		}
	}
}

func (s *viewStream) live(t *testing.T, b *registered, names []string, seed int, stop <-chan struct{}) (ended bool) {
	for _, r := range s.w.SubscribeAll(resource.Cluster, s.scope.For(resource.Cluster)) {
		s.have[resource.Ref{Type: resource.Cluster, Name: r.Name}] = r.Version
	}
	for _, name := range names {
		name = "shop/" + name
		s.have[resource.Ref{Type: resource.Endpoints, Name: name}] = version(s.w.Subscribe(keyOf(resource.Endpoints, s.scope, name)))
	}
	for range 1 + seed%40 {
		select {
		case <-s.w.Wake():
			s.take()
		case <-stop: // the world rests now
			s.take()
			want := map[resource.Ref]string{}
			for _, name := range names {
				for _, typ := range []resource.Type{resource.Cluster, resource.Endpoints} {
					key := keyOf(typ, s.scope, "shop/"+name)
					if r, _, _ := resource.Build(b.World(), key.Form(b.World())); r != nil {
						want[resource.Ref{Type: typ, Name: key.Name}] = r.Version
					}
				}
			}
			for ref, v := range s.have {
				if v == "" {
					delete(s.have, ref)
				}
			}
			if d := cmp.Diff(want, s.have); d != "" {
				t.Errorf("%+v: %s", s.scope, d)
			}
			return true
		}
	}
	return false
}
