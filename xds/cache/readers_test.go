package cache

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"polestar/naming"
	"polestar/xds/resource"
)

// makerSettings mark what is built of a service by who made it.
var makerSettings = map[string]string{"": "40001", "alice": "50002", "bob": "60003"}

// madeBy makes a service somebody's.
func madeBy(who string) func(*naming.Service) {
	return func(s *naming.Service) {
		s.Creator = who
		s.Metadata = naming.NewMetadata(map[string]string{"polestar/max-requests": makerSettings[who], "polestar/request-timeout": makerSettings[who] + "s"})
	}
}

// reads are the rights to what is nobody's or somebody's.
func reads(who ...string) *resource.Reader {
	return resource.NewReader(func(_ *naming.Namespace, s *naming.Service) bool { return slices.Contains(who, s.Creator) })
}

// rights of several principals, and what they may not read.
var rights = []struct {
	reader *resource.Reader
	hidden []string
}{
	{nil, nil},
	{reads("", "alice"), []string{"bob"}},
	{reads("", "bob"), []string{"alice"}},
	{reads("bob"), []string{"", "alice"}},
	{reads(), []string{"", "alice", "bob"}},
}

// leaks returns a mark of what is hidden in an encoded resource: the settings
// that its clusters have, or its routes.
func leaks(r *resource.Resource, hidden []string) string {
	for _, who := range hidden {
		n, _ := strconv.ParseUint(makerSettings[who], 10, 32)
		if bytes.Contains(r.Any, protowire.AppendVarint([]byte{8}, n)) {
			return "made by " + who
		}
	}
	return ""
}

// TestReadersNeverGetWhatIsHidden runs streams of several principals against
// services that change hands while they run: who may not read what somebody
// makes never gets a byte of it, whenever it looks. At rest each has what it
// would be built now.
func TestReadersNeverGetWhatIsHidden(t *testing.T) {
	b := newRegistered()
	b.during = runtime.Gosched
	c := New(b)
	names := []string{"a", "b", "c"}
	stop := make(chan struct{})
	var streams sync.WaitGroup
	for n, right := range rights {
		scope := resource.Scope{Reader: right.reader, Namespace: "shop"}
		streams.Go(func() {
			for round := 0; ; round++ {
				s := &readStream{viewStream{w: c.NewWatcher(), scope: scope, have: map[resource.Ref]string{}}, right.hidden}
				ended := s.live(t, b, names, n+round, stop)
				s.w.Close()
				if ended {
					return
				}
			}
		})
	}
	makers := []string{"", "alice", "bob", "alice", "", "bob", "bob"}
	for n := range 1500 {
		name := names[n%len(names)]
		if n%11 == 3 {
			c.Refresh(b.drop(name))
			continue
		}
		c.Refresh(b.put(name, madeBy(makers[(n*7/3)%len(makers)])))
	}
	close(stop)
	streams.Wait()
	if c.Len() != 0 {
		t.Errorf("%d forms are left", c.Len())
	}
}

// drop deregisters a service.
func (b *registered) drop(name string) []resource.Ref {
	key := naming.ServiceKey{Namespace: "shop", Name: name}
	if st := b.World().Service(key); st != nil {
		commit := naming.Commit{Revision: b.World().Revision() + 1}
		for _, i := range st.Instances {
			commit.Changes = append(commit.Changes, naming.Change{Before: i})
		}
		commit.Changes = append(commit.Changes, naming.Change{Before: st.Service})
		if err := b.Apply(commit); err != nil {
			panic(err)
		}
	}
	return resource.Affected(key, true)
}

// readStream looks at every resource that it gets.
type readStream struct {
	viewStream
	hidden []string
}

func (s *readStream) look(t *testing.T, r *resource.Resource) {
	if r == nil {
		return
	}
	if leak := leaks(r, s.hidden); leak != "" {
		t.Errorf("%+v got %s, %s", s.scope, r.Name, leak)
	}
}

func (s *readStream) live(t *testing.T, b *registered, names []string, seed int, stop <-chan struct{}) (ended bool) {
	keep := func(typ resource.Type, name string, r *resource.Resource) {
		s.look(t, r)
		s.have[resource.Ref{Type: typ, Name: name}] = version(r)
	}
	take := func() {
		for typ, changed := range s.w.Take() {
			for _, name := range changed {
				keep(resource.Type(typ), name, s.w.Get(resource.Type(typ), name))
			}
		}
	}
	for _, r := range s.w.SubscribeAll(resource.Cluster, s.scope.For(resource.Cluster)) {
		keep(resource.Cluster, r.Name, r)
	}
	keys := []resource.Key{keyOf(resource.Route, s.scope, resource.EgressRoutes)}
	for _, name := range names {
		keys = append(keys, keyOf(resource.Endpoints, s.scope, "shop/"+name))
	}
	for _, key := range keys {
		keep(key.Type, key.Name, s.w.Subscribe(key))
	}
	for range 1 + seed%40 {
		select {
		case <-s.w.Wake():
			take()
			for _, r := range s.w.cache.All(resource.Cluster, s.scope.For(resource.Cluster)) {
				s.look(t, r)
			}
		case <-stop: // the world rests now
			take()
			want := map[resource.Ref]string{}
			for _, name := range names {
				keys = append(keys, keyOf(resource.Cluster, s.scope, "shop/"+name))
			}
			for _, key := range keys {
				if r, _, _ := resource.Build(b.World(), key.Form(b.World())); r != nil {
					want[resource.Ref{Type: key.Type, Name: key.Name}] = r.Version
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

// TestWhoSharesWhat: whatever the rights of the clients, what is built of a
// service is built once for all who may read it, and once for those who may
// not; its route tables once for each view.
func TestWhoSharesWhat(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := newRegistered()
		c := New(b)
		names := []string{"a", "b", "c"}
		made := map[string]string{}
		for _, name := range names {
			made[name] = rapid.SampledFrom([]string{"", "alice", "bob"}).Draw(r, name)
			b.put(name, madeBy(made[name]))
		}
		clients := rapid.SliceOfN(rapid.IntRange(0, len(rights)-1), 1, 12).Draw(r, "clients")
		want := map[string]bool{}
		var watchers []*Watcher
		for _, n := range clients {
			w, scope := c.NewWatcher(), resource.Scope{Reader: rights[n].reader, Namespace: "shop"}
			watchers = append(watchers, w)
			var all, visible []string
			for _, m := range w.SubscribeAll(resource.Cluster, scope.For(resource.Cluster)) {
				all = append(all, m.Name)
				if maker := made[strings.TrimPrefix(m.Name, "shop/")]; leaks(m, []string{maker}) == "" {
					r.Fatalf("%s does not show that it is made by %q", m.Name, maker)
				}
			}
			for _, name := range names {
				sees := !slices.Contains(rights[n].hidden, made[name])
				if sees {
					visible = append(visible, "shop/"+name)
					want["cds "+name] = true
				}
				got := w.Subscribe(keyOf(resource.Endpoints, scope, "shop/"+name))
				if want[fmt.Sprint("eds ", name, sees)] = true; (got != nil) != sees {
					r.Fatalf("%d sees the endpoints of %s: %t", n, name, got != nil)
				}
			}
			if !slices.Equal(all, visible) {
				r.Fatalf("%d sees %q, want %q", n, all, visible)
			}
			w.Subscribe(keyOf(resource.Route, scope, resource.EgressRoutes))
			want[fmt.Sprint("rds ", n)] = true
		}
		if got := c.Len(); got != len(want) {
			var list []string
			for _, f := range b.built() {
				list = append(list, fmt.Sprint(f.Type, " ", f.Name, " ", f.Variant.Hidden))
			}
			r.Fatalf("%d forms for %v, want %v; built %s", got, clients, want, strings.Join(list, ", "))
		}
		for _, w := range watchers {
			w.Close()
		}
		if sets := len(c.sets[resource.Cluster]); c.Len() != 0 || sets != 0 {
			r.Fatalf("left are %d forms, %d wildcards", c.Len(), sets)
		}
	})
}

// A service that is made anew by somebody else, between the moment at which it
// is known who may see it and that at which it is built, is not shown to those
// who could see the old one.
func TestOwnerChangesBeforeTheBuild(t *testing.T) {
	for _, before := range []string{"alice", ""} { // "": not there
		b := newRegistered()
		c := New(b)
		if before != "" {
			b.put("cart", madeBy(before))
		}
		once := false
		b.during = func() {
			if !once {
				once = true
				b.put("cart", madeBy("bob"))
			}
		}
		w := c.NewWatcher()
		defer w.Close()
		scope := resource.Scope{Reader: reads("", "alice"), Namespace: "shop"}
		if r := w.Subscribe(keyOf(resource.Cluster, scope, "shop/cart")); r != nil || !once && before != "" {
			t.Errorf("made by %q before: got %+v", before, r)
		}
		c.Refresh(resource.Affected(naming.ServiceKey{Namespace: "shop", Name: "cart"}, true))
		if r := w.Get(resource.Cluster, "shop/cart"); r != nil {
			t.Errorf("made by %q before: afterwards got %+v", before, r)
		}
	}
}
