package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"polestar/naming"
	"polestar/naming/registry"
)

func accessID(n int) string { return fmt.Sprintf("%032x", n) }

// who lists everybody and everything of access that a world shows.
func who(w naming.World) (out []string) {
	add := func(o naming.Object, name string) {
		out = append(out, fmt.Sprint(o.ObjectKind(), " ", strings.TrimLeft(o.ObjectKey(), "0"), " ", name, " ", o.ObjectRevision()))
	}
	for u := range w.Users() {
		add(u, u.Name)
	}
	for g := range w.Groups() {
		add(g, fmt.Sprint(g.Name, len(g.Members)))
	}
	for t := range w.Tokens() {
		add(t, t.Hash)
	}
	for p := range w.Policies() {
		add(p, fmt.Sprint(p.Name, len(p.Users)))
	}
	return out
}

// A change of who may do what is in the next snapshot and in no earlier one,
// moves its own revision, and wakes nobody who follows services.
func TestAccessIsPublished(t *testing.T) {
	p := newPair()
	p.do(t, put(key("n", "s"), "i", 1))
	sub := p.reg.Subscribe()
	defer sub.Close()
	<-sub.Wake()
	sub.Take()
	empty := p.reg.Snapshot()
	made := p.do(t, &naming.Bootstrap{UserID: accessID(1), Name: "root", TokenID: accessID(2), Hash: "h"})
	now := p.reg.Snapshot()
	want := []string{"user 1 root 2", "token 2 h 2", "policy 1 default-user-root1 2"}
	if got := who(now); !slices.Equal(got, want) || now.AccessRevision() != made.Revision {
		t.Errorf("revision %d: %v", now.AccessRevision(), got)
	}
	if got := who(empty); len(got) != 0 || empty.AccessRevision() != 0 {
		t.Errorf("a snapshot from before shows %v", got)
	}
	if now.Service(key("n", "s")) != empty.Service(key("n", "s")) || now.ServicesRevision() != empty.ServicesRevision() {
		t.Error("a service changed")
	}
	p.do(t, &naming.RecordRefusals{Refusals: []naming.Refusal{{Principal: "eve", Count: 1}}})
	p.do(t, put(key("n", "s"), "j", 1))
	if got := p.reg.Snapshot(); got.AccessRevision() != made.Revision || got.Revision() != 4 || got.Len() != now.Len()+1 {
		t.Errorf("access is of revision %d, the world of %d with %d objects", got.AccessRevision(), got.Revision(), got.Len())
	}
	if woken := sub.Take(); len(woken) != 1 {
		t.Errorf("woken for %v; want the service alone", woken)
	}
}

// What went is noticed even when it went while nobody looked: a revoked token
// must not outlive a load.
func TestAccessRevisionAfterALoad(t *testing.T) {
	p := newPair()
	p.do(t, &naming.Bootstrap{UserID: accessID(1), Name: "root", TokenID: accessID(2), Hash: "h"})
	was := p.reg.Snapshot().AccessRevision()
	if _, _, err := p.store.Apply(t.Context(), []naming.Write{&naming.DeleteToken{ID: accessID(2)}}); err != nil {
		t.Fatal(err)
	}
	l := p.reg.Load()
	head, err := p.store.Load(t.Context(), l.Add, l.Touched)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(head); err != nil {
		t.Fatal(err)
	}
	if now := p.reg.Snapshot(); now.AccessRevision() <= was || len(who(now)) != 2 {
		t.Errorf("access is of revision %d after %d: %v", now.AccessRevision(), was, who(now))
	}
}

// However the commits fall, who may do what equals what the store holds, and
// its revision moves with each change and with nothing else.
func TestAnySequenceOfAccessEqualsTheStore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newPair()
		for range rapid.IntRange(1, 12).Draw(rt, "commits") {
			commit, _, err := p.store.Apply(t.Context(), rapid.SliceOfN(rapid.Custom(drawAccess), 1, 4).Draw(rt, "group"))
			if err != nil {
				rt.Fatal(err)
			}
			was := p.reg.Snapshot()
			if err := p.reg.Apply(commit); err != nil {
				rt.Fatal(err)
			}
			checkAccess(rt, was, p.reg.Snapshot(), commit)
		}
		loaded := p.reload(t).Snapshot()
		if got, want := who(p.reg.Snapshot()), who(loaded); !slices.Equal(got, want) || p.reg.Snapshot().Len() != loaded.Len() {
			rt.Fatalf("followed %v, loaded %v", got, want)
		}
		for o := range p.reg.Snapshot().Objects() {
			if loaded.Object(o.ObjectKind(), o.ObjectKey()) == nil {
				rt.Fatalf("%s %s is not found by its key", o.ObjectKind(), o.ObjectKey())
			}
		}
	})
}

func drawAccess(t *rapid.T) naming.Write {
	n := rapid.IntRange(1, 3).Draw(t, "n")
	name := fmt.Sprint("n", n)
	switch rapid.IntRange(0, 7).Draw(t, "what") {
	case 0:
		return &naming.DeleteUser{Name: name}
	case 1:
		return &naming.PutGroup{ID: accessID(n + 10), Name: name, Members: &[]string{accessID(rapid.IntRange(1, 3).Draw(t, "member"))}}
	case 2:
		return &naming.DeleteGroup{Name: name}
	case 3:
		return &naming.PutToken{ID: accessID(n + 20), Mode: naming.Create, Owner: accessID(rapid.IntRange(1, 13).Draw(t, "owner")), Hash: name}
	case 4:
		return &naming.PutPolicy{ID: accessID(n + 30), Name: name, Users: &[]string{accessID(rapid.IntRange(1, 3).Draw(t, "principal"))}}
	case 5:
		return put(key("n", "s"), name, rapid.Uint32Range(0, 2).Draw(t, "weight"))
	default:
		return &naming.PutUser{ID: accessID(n), Name: name, Main: new(rapid.Bool().Draw(t, "main"))}
	}
}

func checkAccess(t *rapid.T, was, now *registry.Snapshot, c naming.Commit) {
	changed := slices.ContainsFunc(c.Changes, func(ch naming.Change) bool { return ch.Object().ObjectKind().Access() })
	want := was.AccessRevision()
	if changed {
		want = c.Revision
	}
	if got := now.AccessRevision(); got != want {
		t.Fatalf("commit %d (of access: %t) made access revision %d of %d", c.Revision, changed, got, was.AccessRevision())
	}
}
