package cache

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/xds/resource"
)

// world is a Builder over a map, the same in all scopes.
type world struct {
	mu       sync.Mutex
	versions map[resource.Ref]string
	built    []string              // names, in order
	before   func(f resource.Form) // called by Build before it reads
	after    func(f resource.Form) // and after
	building map[resource.Form]bool
	overlaps int // builds of a key while it was being built
}

// newWorld makes a world of clusters, each given as name=version.
func newWorld(clusters ...string) *world {
	w := &world{versions: map[resource.Ref]string{}, building: map[resource.Form]bool{}}
	for _, form := range clusters {
		name, version, _ := strings.Cut(form, "=")
		w.set(resource.Cluster, name, version)
	}
	return w
}

// set changes the world; an empty version removes.
func (w *world) set(t resource.Type, name, version string) resource.Ref {
	w.mu.Lock()
	defer w.mu.Unlock()
	ref := resource.Ref{Type: t, Name: name}
	if version == "" {
		delete(w.versions, ref)
	} else {
		w.versions[ref] = version
	}
	return ref
}

func (w *world) Build(key resource.Form) *resource.Resource {
	if w.before != nil {
		w.before(key)
	}
	w.mu.Lock()
	version := w.versions[resource.Ref{Type: key.Type, Name: key.Name}]
	w.built = append(w.built, key.Name)
	if w.building[key] {
		w.overlaps++
	}
	w.building[key] = true
	w.mu.Unlock()
	if w.after != nil {
		w.after(key)
	}
	w.mu.Lock()
	w.building[key] = false
	w.mu.Unlock()
	if version == "" {
		return nil
	}
	return &resource.Resource{Name: key.Name, Version: version}
}

func (*world) Sharing(resource.Type, string) resource.Sharing { return resource.Sharing{} }

func (w *world) Names(t resource.Type, _ resource.Scope) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for ref := range w.versions {
		if ref.Type == t {
			out = append(out, ref.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) builds() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.built)
}

var (
	envoy = resource.Scope{Client: resource.Envoy}
	grpc  = resource.Scope{Client: resource.GRPC}
)

func cluster(name string) resource.Key {
	return resource.Key{Type: resource.Cluster, Scope: envoy, Name: name}
}

func version(r *resource.Resource) string {
	if r == nil {
		return ""
	}
	return r.Version
}

func forms(list []*resource.Resource) string {
	var out []string
	for _, r := range list {
		out = append(out, r.Name+"="+r.Version)
	}
	return strings.Join(out, " ")
}

// taken writes what a watcher was told as type:name, in no order within a type.
func taken(w *Watcher) string {
	var out []string
	for t, names := range w.Take() {
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			out = append(out, resource.Type(t).String()+":"+name)
		}
	}
	return strings.Join(out, " ")
}

// woken takes the wake-up, if there is one.
func woken(w *Watcher) bool {
	select {
	case <-w.Wake():
		return true
	default:
		return false
	}
}

func TestSubscribeBuildsOnceAndRefreshTells(t *testing.T) {
	b := newWorld("a=1")
	c := New(b)
	w, other := c.NewWatcher(), c.NewWatcher()
	defer w.Close()
	defer other.Close()
	if got := version(w.Subscribe(cluster("a"))); got != "1" {
		t.Errorf("subscribe: %q", got)
	}
	if got := other.Subscribe(cluster("a")); got != c.Get(cluster("a")) {
		t.Error("two streams do not share a resource")
	}
	if got := b.builds(); got != 1 {
		t.Errorf("%d builds, want 1", got)
	}
	c.Refresh([]resource.Ref{b.set(resource.Cluster, "a", "2")})
	if !woken(w) || woken(w) {
		t.Error("a change wakes once")
	}
	if got := taken(w); got != "cds:a" {
		t.Errorf("told %q", got)
	}
	if got := version(c.Get(cluster("a"))); got != "2" {
		t.Errorf("get: %q", got)
	}
	if got := taken(w); got != "" {
		t.Errorf("told twice: %q", got)
	}
}

func TestRefreshOfUnchangedContentWakesNobody(t *testing.T) {
	b := newWorld("a=1")
	c := New(b)
	w := c.NewWatcher()
	defer w.Close()
	r := w.Subscribe(cluster("a"))
	missing := w.Subscribe(cluster("missing"))
	c.Refresh([]resource.Ref{{Type: resource.Cluster, Name: "a"}, {Type: resource.Cluster, Name: "missing"}})
	if woken(w) || taken(w) != "" {
		t.Error("woken without a change")
	}
	if c.Get(cluster("a")) != r || missing != nil {
		t.Error("an equal form replaced the known one")
	}
}

func TestRefreshOfWhatNobodyWatchesBuildsNothing(t *testing.T) {
	b := newWorld("a=1")
	c := New(b)
	w := c.NewWatcher()
	defer w.Close()
	w.Subscribe(resource.Key{Type: resource.Endpoints, Scope: envoy, Name: "a"})
	before := b.builds()
	c.Refresh([]resource.Ref{{Type: resource.Cluster, Name: "a"}, {Type: resource.Endpoints, Name: "b"}})
	if got := b.builds() - before; got != 0 {
		t.Errorf("%d builds", got)
	}
}

func TestScopesAreApart(t *testing.T) {
	b := newWorld("a=1")
	c := New(b)
	w, other := c.NewWatcher(), c.NewWatcher()
	defer w.Close()
	defer other.Close()
	w.Subscribe(cluster("a"))
	other.Subscribe(resource.Key{Type: resource.Cluster, Scope: grpc, Name: "a"})
	if got := c.Len(); got != 2 {
		t.Errorf("%d entries, want one per scope", got)
	}
	before := b.builds()
	c.Refresh([]resource.Ref{b.set(resource.Cluster, "a", "2")})
	if got := b.builds() - before; got != 2 {
		t.Errorf("%d builds, want one per scope", got)
	}
	if taken(w) != "cds:a" || taken(other) != "cds:a" {
		t.Error("a scope was not told")
	}
	w.Unsubscribe(cluster("a"))
	if c.Get(cluster("a")) != nil || c.Get(resource.Key{Type: resource.Cluster, Scope: grpc, Name: "a"}) == nil {
		t.Error("unsubscribing in one scope touches the other")
	}
}

func TestEntriesWithoutWatchersAreFreed(t *testing.T) {
	c := New(newWorld("a=1", "b=1"))
	w, other := c.NewWatcher(), c.NewWatcher()
	w.Subscribe(cluster("a"))
	w.Subscribe(cluster("missing"))
	other.Subscribe(cluster("a"))
	other.SubscribeAll(resource.Cluster, envoy)
	w.Unsubscribe(cluster("phantom"))
	w.Close()
	if got := slices.Sorted(slices.Values(c.Names(resource.Cluster))); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("left are %v", got)
	}
	other.Close()
	if c.Len() != 0 || len(c.Names(resource.Cluster)) != 0 || len(c.sets[resource.Cluster]) != 0 {
		t.Errorf("left are %d entries, %v", c.Len(), c.Names(resource.Cluster))
	}
}

func TestUnsubscribedIsNotTold(t *testing.T) {
	b := newWorld("a=1", "b=1")
	c := New(b)
	w := c.NewWatcher()
	defer w.Close()
	w.Subscribe(cluster("a"))
	w.Subscribe(cluster("b"))
	w.Unsubscribe(cluster("a"))
	c.Refresh([]resource.Ref{b.set(resource.Cluster, "a", "2"), b.set(resource.Cluster, "b", "2")})
	if got := taken(w); got != "cds:b" {
		t.Errorf("told %q", got)
	}
}

func TestMarksOfASlowStreamAreBounded(t *testing.T) {
	const names = 50
	b := newWorld()
	c := New(b)
	w := c.NewWatcher()
	defer w.Close()
	var refs []resource.Ref
	for i := range names {
		name := fmt.Sprint(i)
		w.Subscribe(cluster(name))
		refs = append(refs, resource.Ref{Type: resource.Cluster, Name: name})
	}
	for i := range 1000 {
		for _, ref := range refs {
			b.set(ref.Type, ref.Name, fmt.Sprint(i))
		}
		c.Refresh(refs)
	}
	d := w.Take()[resource.Cluster]
	if cap(d) > 4*names {
		t.Errorf("%d marks for %d names", cap(d), names)
	}
	slices.Sort(d)
	if got := len(slices.Compact(d)); got != names {
		t.Errorf("%d names, want %d", got, names)
	}
}

func TestWildcard(t *testing.T) {
	b := newWorld("b=1", "a=1")
	c := New(b)
	w := c.NewWatcher()
	defer w.Close()
	if got := forms(w.SubscribeAll(resource.Cluster, envoy)); got != "a=1 b=1" {
		t.Errorf("members: %s", got)
	}
	shared := c.All(resource.Cluster, envoy)
	if again := c.All(resource.Cluster, envoy); &again[0] != &shared[0] {
		t.Error("the list is made anew for each stream")
	}
	c.Refresh([]resource.Ref{
		b.set(resource.Cluster, "c", "1"), b.set(resource.Cluster, "a", ""), b.set(resource.Cluster, "b", "2"),
		{Type: resource.Cluster, Name: "never"},
	})
	if got := taken(w); got != "cds:a cds:b cds:c" || !woken(w) {
		t.Errorf("told %q", got)
	}
	if got := forms(c.All(resource.Cluster, envoy)); got != "b=2 c=1" {
		t.Errorf("members: %s", got)
	}
	if got := forms(shared); got != "a=1 b=1" {
		t.Errorf("a list in use was changed to %s", got)
	}
	if got := version(c.Get(cluster("c"))); got != "1" {
		t.Errorf("get of a member: %q", got)
	}
	if got := c.Len(); got != 2 {
		t.Errorf("%d entries for 2 members", got)
	}
	w.UnsubscribeAll(resource.Cluster, envoy)
	w.UnsubscribeAll(resource.Cluster, envoy) // phantom
	c.Refresh([]resource.Ref{b.set(resource.Cluster, "d", "1")})
	if got := taken(w); got != "" || c.All(resource.Cluster, envoy) != nil || c.Len() != 0 {
		t.Errorf("after the end: %q, %d entries", got, c.Len())
	}
}

func TestWildcardIsSharedAndJoinsNames(t *testing.T) {
	b := newWorld("a=1", "b=1")
	c := New(b)
	named, w, other := c.NewWatcher(), c.NewWatcher(), c.NewWatcher()
	defer named.Close()
	defer w.Close()
	defer other.Close()
	named.Subscribe(cluster("a"))
	named.Subscribe(cluster("missing"))
	w.SubscribeAll(resource.Cluster, envoy)
	other.SubscribeAll(resource.Cluster, envoy)
	if got := b.builds(); got != 3 { // a, missing, b
		t.Errorf("%d builds", got)
	}
	w.Subscribe(cluster("a"))
	c.Refresh([]resource.Ref{b.set(resource.Cluster, "missing", "1")})
	for name, watcher := range map[string]*Watcher{"named": named, "wildcard": w, "other": other} {
		if got := taken(watcher); got != "cds:missing" {
			t.Errorf("%s was told %q", name, got)
		}
	}
	c.Refresh([]resource.Ref{b.set(resource.Cluster, "a", "2"), b.set(resource.Cluster, "b", "2")})
	w.UnsubscribeAll(resource.Cluster, envoy)
	taken(w)
	c.Refresh([]resource.Ref{b.set(resource.Cluster, "a", "3"), b.set(resource.Cluster, "b", "3")})
	if got := taken(w); got != "cds:a" {
		t.Errorf("after the wildcard, with one name left: told %q", got)
	}
	other.Unsubscribe(cluster("a"))
	c.Refresh([]resource.Ref{b.set(resource.Cluster, "a", "4")})
	if got := taken(other); got != "cds:a cds:b" {
		t.Errorf("wildcard: told %q", got)
	}
}

// TestRefreshIsSeenInOrder looks into the middle of a Refresh, each time that
// something is built, as a stream would that happens to be awake.
func TestRefreshIsSeenInOrder(t *testing.T) {
	b := newWorld("stays=1", "goes=1")
	b.set(resource.Route, "r", "to goes")
	c := New(b)
	w := c.NewWatcher()
	defer w.Close()
	w.SubscribeAll(resource.Cluster, envoy)
	route := resource.Key{Type: resource.Route, Scope: envoy, Name: "r"}
	w.Subscribe(route)
	looks := 0
	b.before = func(resource.Form) {
		looks++
		target := strings.TrimPrefix(version(c.Get(route)), "to ")
		if c.Get(cluster(target)) == nil {
			t.Errorf("the route names %s, clusters are %s", target, forms(c.All(resource.Cluster, envoy)))
		}
	}
	c.Refresh([]resource.Ref{
		b.set(resource.Route, "r", "to comes"),
		b.set(resource.Cluster, "goes", ""),
		b.set(resource.Cluster, "comes", "1"),
	})
	if looks != 4 || forms(c.All(resource.Cluster, envoy)) != "comes=1 stays=1" || version(c.Get(route)) != "to comes" {
		t.Errorf("after %d looks: %s, %s", looks, forms(c.All(resource.Cluster, envoy)), version(c.Get(route)))
	}
}

// TestOlderBuildNeverWins lets a subscription build from an old world while a
// newer one is refreshed.
func TestOlderBuildNeverWins(t *testing.T) {
	b := newWorld("a=1")
	c := New(b)
	w := c.NewWatcher()
	defer w.Close()
	loaded, resume := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.after = func(resource.Form) {
		once.Do(func() {
			close(loaded)
			<-resume
		})
	}
	subscribed := make(chan *resource.Resource)
	go func() { subscribed <- w.Subscribe(cluster("a")) }()
	<-loaded
	ref := b.set(resource.Cluster, "a", "2")
	refreshed := make(chan struct{})
	go func() {
		defer close(refreshed)
		c.Refresh([]resource.Ref{ref})
	}()
	close(resume)
	<-subscribed
	<-refreshed
	if got := version(c.Get(cluster("a"))); got != "2" {
		t.Errorf("cached is %q", got)
	}
	if got := taken(w); got != "cds:a" {
		t.Errorf("told %q", got)
	}
}

// TestRefreshOfAnEntryDroppedMeanwhile takes the last name away from an entry
// while it is being rebuilt for a wildcard.
func TestRefreshOfAnEntryDroppedMeanwhile(t *testing.T) {
	b := newWorld("a=1")
	c := New(b)
	w, named := c.NewWatcher(), c.NewWatcher()
	defer w.Close()
	defer named.Close()
	w.SubscribeAll(resource.Cluster, envoy)
	named.Subscribe(cluster("comes"))
	b.after = func(resource.Form) { named.Unsubscribe(cluster("comes")) }
	c.Refresh([]resource.Ref{b.set(resource.Cluster, "comes", "1")})
	if got := version(c.Get(cluster("comes"))); got != "1" || forms(c.All(resource.Cluster, envoy)) != "a=1 comes=1" {
		t.Errorf("get %q, all %s", got, forms(c.All(resource.Cluster, envoy)))
	}
	if got := taken(w); got != "cds:comes" {
		t.Errorf("told %q", got)
	}
}

// TestNothingIsMissed runs many streams against a changing world; at the end
// each must know everything as it is.
func TestNothingIsMissed(t *testing.T) {
	b := newWorld()
	b.after = func(resource.Form) { runtime.Gosched() }
	c := New(b)
	names := []string{"a", "b", "c", "d", "e", "f"}
	stop := make(chan struct{})
	var streams sync.WaitGroup
	for i := range 8 {
		streams.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				s := stream{cache: c, w: c.NewWatcher(), have: map[string]string{}}
				s.live(t, b, names, i+round, stop)
				s.w.Close()
			}
		})
	}
	for i := range 3000 {
		v := ""
		if i%3 > 0 {
			v = string(rune('0' + i%10))
		}
		c.Refresh([]resource.Ref{b.set(resource.Cluster, names[i%len(names)], v)})
	}
	close(stop)
	streams.Wait()
	if c.Len() != 0 {
		t.Errorf("%d entries are left", c.Len())
	}
	if b.overlaps > 0 {
		t.Errorf("%d times a resource was built twice at once, so that the older could win", b.overlaps)
	}
}

// stream does what a stream does with its watcher.
type stream struct {
	cache *Cache
	w     *Watcher
	have  map[string]string
	all   bool
}

func (s *stream) live(t *testing.T, b *world, names []string, seed int, stop <-chan struct{}) {
	s.all = seed%2 == 0
	if s.all {
		for _, r := range s.w.SubscribeAll(resource.Cluster, envoy) {
			s.have[r.Name] = r.Version
		}
	} else {
		for i, name := range names {
			if (seed+i)%3 > 0 {
				s.have[name] = version(s.w.Subscribe(cluster(name)))
			}
		}
	}
	for range seed % 50 {
		select {
		case <-s.w.Wake():
			s.take()
		case <-stop:
			// The world rests now.
			s.take()
			b.mu.Lock()
			want := map[string]string{}
			for ref, v := range b.versions {
				if _, named := s.have[ref.Name]; named || s.all {
					want[ref.Name] = v
				}
			}
			b.mu.Unlock()
			for name, v := range s.have {
				if v == "" {
					delete(s.have, name)
				}
			}
			if d := cmp.Diff(want, s.have); d != "" {
				t.Error(d)
			}
			return
		}
	}
}

func (s *stream) take() {
	for _, name := range s.w.Take()[resource.Cluster] {
		if _, named := s.have[name]; !named && !s.all {
			continue
		}
		s.have[name] = version(s.cache.Get(cluster(name)))
	}
}

func TestTakeIsEmptyAtFirst(t *testing.T) {
	w := New(newWorld()).NewWatcher()
	if d := w.Take(); !d.Empty() || woken(w) {
		t.Errorf("told %v", d)
	}
}
