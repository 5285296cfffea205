package registry_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
	"polestar/naming/registry"
)

func TestApplyPublishesACommit(t *testing.T) {
	p, a := newPair(), key("n", "a")
	if p.reg.World().Revision() != 0 || p.reg.World().Service(a) != nil {
		t.Fatal("a new registry is not empty")
	}
	p.do(t, put(a, "2", 1), put(a, "1", 1), &naming.PutClient{Client: naming.Client{ID: "c"}})
	w := p.reg.World()
	if w.Revision() != 1 || w.ServicesRevision() != 1 {
		t.Errorf("revisions %d and %d, want 1", w.Revision(), w.ServicesRevision())
	}
	if diff := cmp.Diff([]string{"1", "2"}, ids(w.Service(a))); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
	if w.Instance("1") == nil || w.Instance("1") != w.Service(a).Instances[0] || w.Instance("3") != nil {
		t.Error("instances are not found by id")
	}
	if w.Namespace("n") == nil || w.Namespace("m") != nil {
		t.Error("namespaces are not found by name")
	}
	var spaces, clients []string
	for n := range w.Namespaces() {
		spaces = append(spaces, n.Name)
	}
	for c := range w.Clients() {
		clients = append(clients, c.ID)
	}
	if diff := cmp.Diff([][]string{{"n"}, {"c"}}, [][]string{spaces, clients}); diff != "" {
		t.Errorf("namespaces and clients (-want +got):\n%s", diff)
	}
	if n, s, i, c := p.reg.Snapshot().Counts(); n != 1 || s != 1 || i != 2 || c != 1 {
		t.Errorf("counts %d %d %d %d", n, s, i, c)
	}

	p.do(t, &naming.Deregister{ID: "1"}, &naming.Deregister{ID: "2"})
	w = p.reg.World()
	if st := w.Service(a); st == nil || len(st.Instances) != 0 || st.Sum != (naming.Digest{}) || st.Revision != 2 {
		t.Errorf("after the last instance went: %+v", st)
	}
	if w.Instance("1") != nil || w.ServicesRevision() != 1 {
		t.Errorf("instance still found, or services revision %d moved by instances", w.ServicesRevision())
	}
}

func TestApplyTakesCommitsInOrderOnly(t *testing.T) {
	p, a := newPair(), key("n", "a")
	first := p.do(t, put(a, "1", 1))
	second := p.do(t, put(a, "1", 2))
	third := p.do(t, put(a, "1", 3))

	r := registry.New()
	if err := r.Apply(naming.Commit{}); err != nil || r.World().Revision() != 0 {
		t.Errorf("a commit without changes: %v", err)
	}
	err := r.Apply(second)
	if err == nil || !strings.Contains(err.Error(), "revision 2 came after 0") {
		t.Errorf("a gap: %v", err)
	}
	if r.World().Revision() != 0 || r.World().Service(a) != nil {
		t.Error("a commit after a gap was published")
	}
	for _, c := range []naming.Commit{first, second, second, first} {
		if err := r.Apply(c); err != nil {
			t.Errorf("revision %d: %v", c.Revision, err)
		}
	}
	if got := r.World().Instance("1").Weight; got != 2 || r.World().Revision() != 2 {
		t.Errorf("an old commit came back: weight %d at revision %d", got, r.World().Revision())
	}
	if err := r.Apply(third); err != nil || r.World().Instance("1").Weight != 3 {
		t.Errorf("the next commit: %v", err)
	}
}

func TestOnlyTheTouchedServiceMoves(t *testing.T) {
	p, a, b := newPair(), key("n", "a"), key("n", "b")
	p.do(t, put(a, "1", 1), put(b, "2", 1))
	before := p.reg.World()
	p.do(t, put(b, "2", 2))
	p.do(t, &naming.PutClient{Client: naming.Client{ID: "c"}})
	p.do(t, put(key("m", "x"), "3", 1))
	after := p.reg.World()
	if before.Service(a) != after.Service(a) || after.Service(a).Revision != 1 {
		t.Error("an untouched service was replaced")
	}
	if got := after.Service(b).Revision; got != 2 {
		t.Errorf("touched service has revision %d, want 2", got)
	}
	if after.Service(b).Digest() == before.Service(b).Digest() {
		t.Error("the digest of the touched service did not move")
	}
	if got := after.ServicesRevision(); got != 4 {
		t.Errorf("services revision %d, want 4: only new services count", got)
	}
}

// A service may come, change and go without Plan; a follower of another node's
// log sees such commits.
func TestServicesAndNamespacesComeAndGo(t *testing.T) {
	r, a := registry.New(), key("n", "a")
	svc := func(comment string) *naming.Service { return &naming.Service{Key: a, Comment: comment} }
	i := &naming.Instance{ID: "1", Service: a}
	step := func(rev naming.Revision, changes ...naming.Change) naming.World {
		t.Helper()
		if err := r.Apply(naming.Commit{Revision: rev, Changes: changes}); err != nil {
			t.Fatal(err)
		}
		return r.World()
	}
	step(1, naming.Change{After: &naming.Namespace{Name: "n"}}, naming.Change{After: svc("1")}, naming.Change{After: i})
	w := step(2, naming.Change{Before: svc("1"), After: svc("2")})
	if st := w.Service(a); st.Service.Comment != "2" || len(st.Instances) != 1 || st.Revision != 2 || w.ServicesRevision() != 2 {
		t.Errorf("changed service: %+v", st)
	}
	w = step(3, naming.Change{Before: i}, naming.Change{Before: svc("2")}, naming.Change{Before: &naming.Namespace{Name: "n"}})
	if w.Service(a) != nil || w.Instance("1") != nil || w.Namespace("n") != nil || w.ServicesRevision() != 3 {
		t.Error("something is left of a removed service")
	}
	w = step(4, naming.Change{After: svc("3")}, naming.Change{Before: svc("3")}, naming.Change{After: svc("4")})
	if st := w.Service(a); st == nil || st.Service.Comment != "4" || len(st.Instances) != 0 {
		t.Errorf("the last change of a commit must win: %+v", st)
	}
	w = step(5, naming.Change{After: &naming.Client{ID: "c"}}, naming.Change{Before: &naming.Client{ID: "c"}})
	for range w.Clients() {
		t.Error("a removed client is still listed")
	}
}

func TestServicesWalksOneNamespace(t *testing.T) {
	p := newPair()
	// Everything that may stand beside namespace "a" when keys are compared as
	// text: the separator sorts before each allowed character.
	var want []string
	for n, ns := range []string{"A", "a", "a-", "a-b", "a.", "a/", "a/b", "a0", "a:", "aA", "a_", "aa", "ab", "b"} {
		for _, name := range []string{"-", "a", "b", "b/c", "z"} {
			k := key(ns, name)
			p.do(t, put(k, fmt.Sprint(n, k), 1))
			if ns == "a" {
				want = append(want, "a|"+name)
			}
		}
	}
	w := p.reg.World()
	if diff := cmp.Diff(want, names(w, "a")); diff != "" {
		t.Errorf("namespace a (-want +got):\n%s", diff)
	}
	if got := len(names(w, "")); got != 14*5 {
		t.Errorf("all namespaces have %d services, want 70", got)
	}
	var last *naming.ServiceState
	for st := range w.Services("") {
		if last != nil && last.Service.Key.Compare(st.Service.Key) >= 0 {
			t.Errorf("%v came before %v", last.Service.Key, st.Service.Key)
		}
		last = st
	}
	if got := names(w, "c"); got != nil {
		t.Errorf("absent namespace: %v", got)
	}
	for range w.Services("a") { // a walk may end early
		break
	}
	for range w.Services("") {
		break
	}
}

// An old snapshot is what it was, however much happens afterwards, and can be
// read without a lock while commits are applied.
func TestSnapshotsNeverChange(t *testing.T) {
	p := newPair()
	for n := range 50 {
		p.do(t, put(key("n", strconv.Itoa(n%5)), strconv.Itoa(n), 1))
	}
	old := p.reg.Snapshot()
	picture := func(w naming.World) (out []string) {
		for st := range w.Services("") {
			for _, i := range st.Instances {
				out = append(out, fmt.Sprintf("%s %s %d@%d", st.Service.Key, i.ID, i.Weight, i.Revision))
			}
			out = append(out, fmt.Sprint(st.Sum, st.Revision))
		}
		return append(out, fmt.Sprint(w.Revision(), w.ServicesRevision()))
	}
	want := picture(old)

	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if diff := cmp.Diff(want, picture(old)); diff != "" {
					t.Errorf("an old snapshot changed (-was +is):\n%s", diff)
					return
				}
				now := p.reg.World()
				for st := range now.Services("") {
					if st.Sum != sum(st) || st.Revision > now.Revision() {
						t.Errorf("%v: a state that no commit made", st.Service.Key)
						return
					}
				}
			}
		})
	}
	for n := range 300 {
		k := key("n", strconv.Itoa(n%7))
		switch n % 3 {
		case 0:
			p.do(t, put(k, fmt.Sprint("x", n), 1))
		case 1:
			p.do(t, &naming.Deregister{ID: strconv.Itoa(n % 50)})
		default:
			p.do(t, &naming.Modify{ID: strconv.Itoa(n % 50), Set: naming.Setting{Weight: new(uint32(n))}})
		}
	}
	close(stop)
	readers.Wait()
	if diff := cmp.Diff(want, picture(old)); diff != "" {
		t.Errorf("the old snapshot changed (-was +is):\n%s", diff)
	}
}
