package registry_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
	"polestar/naming/registry"
)

func TestLoadRepeatsWhatCommitsMade(t *testing.T) {
	p, a, b := newPair(), key("n", "a"), key("n", "b")
	p.do(t, put(a, "2", 1), put(a, "1", 1), put(b, "3", 1), &naming.PutClient{Client: naming.Client{ID: "c"}})
	p.do(t, put(b, "4", 1))
	p.do(t, &naming.Deregister{ID: "4"}) // only the touched mark remembers it
	p.do(t, put(a, "2", 2))
	loaded := p.reload(t)
	if diff := cmp.Diff(dump(p.reg.Snapshot()), dump(loaded.Snapshot())); diff != "" {
		t.Errorf("(-followed +loaded):\n%s", diff)
	}
	if got := loaded.World().Service(b).Revision; got != 3 {
		t.Errorf("the removal at revision 3 is forgotten: %d", got)
	}
	if n, s, i, c := loaded.Snapshot().Counts(); n != 1 || s != 2 || i != 3 || c != 1 {
		t.Errorf("counts %d %d %d %d", n, s, i, c)
	}
	if got := loaded.World().ServicesRevision(); got != 4 {
		t.Errorf("services revision %d, want the head", got)
	}
	next := p.do(t, put(a, "5", 1))
	if err := loaded.Apply(next); err != nil || loaded.World().Instance("5") == nil {
		t.Errorf("commits do not follow a load: %v", err)
	}
}

func TestNothingOfALoadIsVisibleBeforePublish(t *testing.T) {
	r, a := registry.New(), key("n", "a")
	s := r.Subscribe()
	defer s.Close()
	l := r.Load()
	for _, o := range []naming.Object{
		&naming.Instance{ID: "1", Service: a, Revision: 2}, &naming.Service{Key: a, Revision: 1}, &naming.Namespace{Name: "n"},
	} {
		if err := l.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	if r.World().Revision() != 0 || r.World().Service(a) != nil || r.World().Instance("1") != nil || len(s.Take()) != 0 {
		t.Error("visible before Publish")
	}
	if err := l.Publish(5); err != nil {
		t.Fatal(err)
	}
	if w := r.World(); w.Revision() != 5 || w.Service(a).Revision != 2 || w.Instance("1") == nil {
		t.Error("not visible after Publish")
	}
	if diff := cmp.Diff(map[naming.ServiceKey]bool{a: true}, s.Take()); diff != "" {
		t.Errorf("subscribers are told (-want +got):\n%s", diff)
	}
}

// A reload must mention what went, too.
func TestReloadMarksWhatIsGone(t *testing.T) {
	p, a, b := newPair(), key("n", "a"), key("n", "b")
	p.do(t, put(a, "1", 1))
	s := p.reg.Subscribe()
	defer s.Close()
	s.Take()
	l := p.reg.Load()
	if err := l.Add(&naming.Service{Key: b}); err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(9); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[naming.ServiceKey]bool{a: true, b: true}, s.Take()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p.reg.World().Service(a) != nil || p.reg.World().Service(b) == nil {
		t.Error("the loaded world is not the visible one")
	}
}

func TestRefusedLoads(t *testing.T) {
	p, a := newPair(), key("n", "a")
	p.do(t, put(a, "1", 1))
	p.do(t, put(a, "1", 2))
	was := p.reg.Snapshot()

	orphan := p.reg.Load()
	if err := orphan.Add(&naming.Instance{ID: "2", Service: key("n", "nowhere")}); err != nil {
		t.Fatal(err)
	}
	if err := orphan.Publish(9); err == nil || !strings.Contains(err.Error(), "n/nowhere") {
		t.Errorf("an instance without its service: %v", err)
	}
	if err := p.reg.Load().Publish(1); err == nil || !strings.Contains(err.Error(), "revision 1") {
		t.Errorf("a load older than what is visible: %v", err)
	}
	if err := p.reg.Load().Add(stranger{}); err == nil {
		t.Error("an object of an unknown kind was taken")
	}
	if p.reg.Snapshot() != was {
		t.Error("a refused load changed the world")
	}
}

type stranger struct{}

func (stranger) ObjectKind() naming.Kind { return 99 }
func (stranger) ObjectKey() string       { return "x" }

func (stranger) ObjectRevision() naming.Revision { return 0 }
