package registry_test

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
	"polestar/naming/registry"
)

type marks = map[naming.ServiceKey]bool

func woken(s *registry.Subscription) bool {
	select {
	case <-s.Wake():
		return true
	default:
		return false
	}
}

func TestSubscriptionListsWhatChanged(t *testing.T) {
	p, a, b := newPair(), key("n", "a"), key("n", "b")
	p.do(t, put(a, "1", 1))
	s := p.reg.Subscribe()
	defer s.Close()
	if diff := cmp.Diff(marks{a: true}, s.Take()); diff != "" || !woken(s) {
		t.Errorf("what is there counts as changed (-want +got):\n%s", diff)
	}
	if len(s.Take()) != 0 || woken(s) {
		t.Error("told twice")
	}

	p.do(t, put(a, "1", 2))
	p.do(t, put(a, "2", 1))
	p.do(t, put(b, "3", 1))
	p.do(t, &naming.Deregister{ID: "3"})
	if !woken(s) || woken(s) {
		t.Error("several commits must leave exactly one wake-up")
	}
	if diff := cmp.Diff(marks{a: false, b: true}, s.Take()); diff != "" {
		t.Errorf("each service once, true when it is new (-want +got):\n%s", diff)
	}

	p.do(t, put(a, "1", 2)) // the same content
	p.do(t, &naming.PutClient{Client: naming.Client{ID: "c"}})
	if len(s.Take()) != 0 || woken(s) {
		t.Error("woken by a commit that no service is in")
	}
}

func TestSubscriptionIsSettledWhenAllIsTaken(t *testing.T) {
	p, a := newPair(), key("n", "a")
	s := p.reg.Subscribe()
	defer s.Close()
	settled := func(want bool) {
		t.Helper()
		if r, ok := s.Settled(); ok != want || r != p.reg.World().Revision() {
			t.Errorf("settled %v at %d, want %v at %d", ok, r, want, p.reg.World().Revision())
		}
	}
	settled(true)
	p.do(t, put(a, "1", 1))
	settled(false)
	s.Take()
	settled(true)
	p.do(t, &naming.PutClient{Client: naming.Client{ID: "c"}}) // no service is in it
	settled(true)
}

func TestSubscriptionsAreIndependentAndEnd(t *testing.T) {
	p, a := newPair(), key("n", "a")
	first, second := p.reg.Subscribe(), p.reg.Subscribe()
	defer second.Close()
	p.do(t, put(a, "1", 1))
	first.Take()[a] = false // the list is the caller's own
	if diff := cmp.Diff(marks{a: true}, second.Take()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	first.Close()
	first.Close()
	p.do(t, put(a, "1", 2))
	if len(first.Take()) != 0 {
		t.Error("a closed subscription still collects")
	}
	if len(second.Take()) != 1 {
		t.Error("closing one subscription ended another")
	}
}

// A follower that looks only at what it is told, whenever it is woken, ends
// with the same picture as somebody who reads everything: nothing is lost,
// however the two race.
func TestAFollowerNeverMissesAChange(t *testing.T) {
	p := newPair()
	const last = "last"
	picture := map[naming.ServiceKey]naming.Digest{}
	backwards := 0
	looks := 0
	done := make(chan struct{})
	s := p.reg.Subscribe()
	go func() {
		defer close(done)
		defer s.Close()
		seen := map[naming.ServiceKey]naming.Revision{}
		for {
			<-s.Wake()
			dirty := s.Take()
			w := p.reg.World() // loaded after Take: contains all of it
			looks++
			for k := range dirty {
				st := w.Service(k)
				if st == nil {
					delete(picture, k)
					continue
				}
				if st.Revision < seen[k] {
					backwards++
				}
				picture[k], seen[k] = st.Digest(), st.Revision
			}
			if w.Instance(last) != nil {
				return
			}
		}
	}()
	const commits = 2000
	for n := range commits {
		k := key("n", strconv.Itoa(n%17))
		p.do(t, put(k, fmt.Sprint(n%17, "-", n%5), uint32(n)))
	}
	p.do(t, put(key("n", last), last, 1))
	<-done
	want := map[naming.ServiceKey]naming.Digest{}
	for st := range p.reg.World().Services("") {
		want[st.Service.Key] = st.Digest()
	}
	if diff := cmp.Diff(want, picture); diff != "" {
		t.Errorf("the follower lost something (-registry +follower):\n%s", diff)
	}
	if backwards != 0 {
		t.Errorf("%d services went back", backwards)
	}
	if looks > commits+2 {
		t.Errorf("%d looks for %d commits: woken for nothing", looks, commits+1)
	}
}

// A snapshot loaded after Take contains all that was taken, however narrow the
// moment: each service here changes once, so nothing later makes up for a
// look that came too early.
func TestWhatWasTakenIsVisible(t *testing.T) {
	p := newPair()
	s := p.reg.Subscribe()
	defer s.Close()
	for range 64 { // others that are marked too make the moment wider
		defer p.reg.Subscribe().Close()
	}
	const commits = 2000
	missing := make(chan int)
	go func() {
		lost := 0
		for seen := 0; seen < commits; {
			dirty := s.Take()
			w := p.reg.World()
			for k := range dirty {
				if w.Service(k) == nil {
					lost++
				}
			}
			if seen += len(dirty); len(dirty) == 0 {
				runtime.Gosched()
			}
		}
		missing <- lost
	}()
	for n := range commits {
		p.do(t, put(key("n", strconv.Itoa(n)), strconv.Itoa(n), 1))
	}
	if lost := <-missing; lost != 0 {
		t.Errorf("%d of %d changes were told before they were visible", lost, commits)
	}
}
