package receipt

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"

	"polestar/naming"
	"polestar/xds/ads"
	"polestar/xds/resource"
)

// bubble runs a test with fake time: what does not return on its own costs no
// waiting.
func bubble(t *testing.T, f func(*server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(start(t)) })
}

// open checks that a wait has not returned although nothing moves any more.
func (s *server) open(a <-chan answer) {
	s.t.Helper()
	synctest.Wait()
	select {
	case got := <-a:
		s.t.Fatalf("returned early: %+v", got)
	default:
	}
}

// converged checks the answer of a wait that must have returned without help.
func (s *server) converged(a <-chan answer, clients int) {
	s.t.Helper()
	synctest.Wait()
	select {
	case got := <-a:
		if got.err != nil || !got.Converged || got.Clients != clients || len(got.Laggards) > 0 {
			s.t.Errorf("want %d clients that have it, got %+v", clients, got)
		}
	default:
		s.t.Fatal("has not returned")
	}
}

func TestReturnsWhenAccepted(t *testing.T) {
	bubble(t, func(s *server) {
		c := s.dial("e1", "default/a")
		c.accept(c.hear())
		rev := s.register("a", 1)
		all, mine := s.wait(Request{Revision: rev}), s.wait(Request{Service: service("a")})
		r := c.hear()
		s.open(all)
		s.open(mine)
		c.accept(r)
		s.converged(all, 1)
		s.converged(mine, 1)
		s.converged(s.wait(Request{Revision: rev}), 1)
	})
}

func TestReturnsWhenAcceptedSotW(t *testing.T) {
	bubble(t, func(s *server) {
		rev := s.register("a", 1)
		c, err := discoveryv3.NewAggregatedDiscoveryServiceClient(s.conn).StreamAggregatedResources(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, typ := range []resource.Type{resource.Cluster, resource.Endpoints} {
			ask := &discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: "e"}, TypeUrl: typ.URL()}
			if typ == resource.Endpoints {
				ask.ResourceNames = []string{"default/a"}
			}
			if err = c.Send(ask); err != nil {
				s.t.Fatal(err)
			}
			r, err := c.Recv()
			if err != nil {
				s.t.Fatal(err)
			}
			a := s.wait(Request{Revision: rev})
			s.open(a)
			ask.ResponseNonce = r.GetNonce()
			if err = c.Send(ask); err != nil {
				s.t.Fatal(err)
			}
			s.converged(a, 1)
		}
	})
}

func TestNamesTheLaggards(t *testing.T) {
	bubble(t, func(s *server) {
		first := s.register("a", 1)
		good, bad, fresh := s.dial("good", "default/a"), s.dial("bad", "default/a"), s.dial("fresh", "default/a")
		good.accept(good.hear())
		bad.accept(bad.hear())
		fresh.hear()
		second := s.register("a", 2)
		good.accept(good.hear())
		bad.hear()
		synctest.Wait()
		sent := time.Now()
		time.Sleep(time.Second)
		got := <-s.wait(Request{Revision: second, Timeout: 3 * time.Second})
		if took := time.Since(sent); took != 4*time.Second {
			s.t.Errorf("returned after %s", took)
		}
		want := Receipt{Revision: second, Published: second, Clients: 3, Laggards: []Laggard{
			{Stream: 2, Node: "bad", Type: "eds", Resource: "default/a", State: "stale", Has: first, Wants: second, Since: sent},
			{Stream: 3, Node: "fresh", Type: "eds", Resource: "default/a", State: "stale", Wants: second, Since: sent},
		}}
		if d := cmp.Diff(answer{Receipt: want}, got, cmp.AllowUnexported(answer{})); d != "" {
			s.t.Error(d)
		}
	})
}

func TestARefusalIsKnownAtOnce(t *testing.T) {
	bubble(t, func(s *server) {
		first := s.register("a", 1)
		slow, c := s.dial("slow", "default/a"), s.dial("e", "default/a")
		slow.hear()
		c.accept(c.hear())
		rev := s.register("a", 2)
		r := c.hear()
		a := s.wait(Request{Revision: rev})
		s.open(a)
		before := time.Now()
		c.refuse(r, "weight is bad")
		got := <-a
		if len(got.Laggards) != 2 || got.Converged {
			s.t.Fatalf("%+v", got)
		}
		want := Laggard{
			Stream: 2, Node: "e", Type: "eds", Resource: "default/a", State: "refused",
			Has: first, Wants: rev, Since: before, Reason: "weight is bad",
		}
		if d := cmp.Diff(want, got.Laggards[1]); d != "" || !time.Now().Equal(before) {
			s.t.Error(d, time.Since(before))
		}
		// A newer revision is sent, and cures it.
		a = s.wait(Request{Revision: s.register("a", 3), Clients: []string{"e"}})
		c.accept(c.hear())
		s.converged(a, 1)
		// So does waiting for what it had before.
		s.converged(s.wait(Request{Revision: 1, Clients: []string{"e"}}), 1)
	})
}

// Refused together, the innocent one is tried again; only then is it known who
// refused for good.
func TestARefusalOfSeveralIsNotFinal(t *testing.T) {
	bubble(t, func(s *server) {
		s.register("a", 1)
		rev := s.register("b", 1)
		c := s.dial("e", "default/a", "default/b")
		r := c.hear()
		a := s.wait(Request{Revision: rev})
		c.refuse(r, "one of them")
		r = c.hear()
		s.open(a)
		c.accept(r)
		r = c.hear()
		s.open(a)
		c.accept(r)
		s.converged(a, 1)
	})
}

func TestWhatDoesNotChangeNeedsNoAnswer(t *testing.T) {
	bubble(t, func(s *server) {
		s.register("a", 0) // no traffic: not in the endpoints
		c := s.dial("e", "default/a")
		c.accept(c.hear())
		rev := s.do(&naming.Register{Instance: naming.Instance{
			ID: "a", Service: service("a"), Host: "10.0.0.1", Port: 80, Version: "2",
		}})
		s.converged(s.wait(Request{Revision: rev}), 1)
		s.converged(s.wait(Request{Revision: rev, Service: service("a")}), 1)
		s.converged(s.wait(Request{Revision: s.do(&naming.PutClient{Client: naming.Client{ID: "c"}})}), 1)
	})
}

func TestWhoIsNotConcernedIsNotWaitedFor(t *testing.T) {
	bubble(t, func(s *server) {
		s.converged(s.wait(Request{}), 0)
		s.register("b", 1)
		other := s.dial("other", "default/b")
		rev := s.register("a", 1)
		s.converged(s.wait(Request{Revision: rev, Service: service("a")}), 0)
		s.converged(s.wait(Request{Revision: rev, Service: service("a"), Clients: []string{"other"}}), 0)
		a := s.wait(Request{Revision: rev})
		s.open(a) // all services: b is one
		other.accept(other.hear())
		s.converged(a, 1)
	})
}

func TestWhoLeavesOrUnsubscribesIsNotWaitedFor(t *testing.T) {
	bubble(t, func(s *server) {
		rev := s.register("a", 1)
		leaves, quits := s.dial("leaves", "default/a"), s.dial("quits", "default/a")
		a := s.wait(Request{Revision: rev})
		s.open(a)
		quits.say(&discoveryv3.DeltaDiscoveryRequest{ResourceNamesUnsubscribe: []string{"default/a"}})
		s.open(a)
		if err := leaves.CloseSend(); err != nil {
			s.t.Fatal(err)
		}
		s.converged(a, 1)
	})
}

func TestWhoComesDuringTheWaitCounts(t *testing.T) {
	bubble(t, func(s *server) {
		rev := s.register("a", 1)
		first := s.dial("first", "default/a")
		a := s.wait(Request{Revision: rev})
		s.open(a)
		again := s.dial("again", "default/a")
		r := again.hear()
		first.accept(first.hear())
		s.open(a)
		again.accept(r)
		s.converged(a, 2)
	})
}

func TestNamedClients(t *testing.T) {
	bubble(t, func(s *server) {
		rev := s.register("a", 1)
		lazy := s.dial("lazy", "default/a")
		lazy.hear()
		got := <-s.wait(Request{Revision: rev, Clients: []string{"late", "7"}})
		want := []Laggard{{Node: "late", State: "not connected"}, {Node: "7", State: "not connected"}}
		if d := cmp.Diff(want, got.Laggards); d != "" || got.Converged {
			s.t.Error(d)
		}
		a := s.wait(Request{Revision: rev, Clients: []string{"late", "2"}})
		s.open(a)
		late := s.dial("late", "default/a") // stream 2
		r := late.hear()
		s.open(a)
		late.accept(r)
		s.converged(a, 1)
	})
}

func TestANamedClientThatLeavesIsMissed(t *testing.T) {
	bubble(t, func(s *server) {
		rev := s.register("a", 1)
		c := s.dial("e", "default/a")
		a := s.wait(Request{Revision: rev, Clients: []string{"e"}})
		s.open(a)
		if err := c.CloseSend(); err != nil {
			s.t.Fatal(err)
		}
		s.open(a)
		c = s.dial("e", "default/a")
		c.accept(c.hear())
		s.converged(a, 1)
		if err := c.CloseSend(); err != nil {
			s.t.Fatal(err)
		}
		synctest.Wait()
		if got := <-s.wait(Request{Revision: rev, Clients: []string{"e"}}); got.Converged || len(got.Laggards) != 1 {
			s.t.Errorf("who is gone: %+v", got)
		}
	})
}

// Changes of others after the wait began do not prolong it.
func TestLaterChangesDoNotProlong(t *testing.T) {
	bubble(t, func(s *server) {
		s.register("a", 1)
		s.register("b", 1)
		c := s.dial("e", "default/a", "default/b")
		c.accept(c.hear())
		rev := s.register("a", 2)
		r := c.hear()
		a := s.wait(Request{Revision: rev})
		s.open(a)
		s.register("b", 2)
		c.accept(r)
		c.hear() // b, and it is not answered
		s.converged(a, 1)
	})
}

func TestARevisionToCome(t *testing.T) {
	bubble(t, func(s *server) {
		rev := s.register("a", 1)
		c := s.dial("e", "default/a")
		c.accept(c.hear())
		a := s.wait(Request{Revision: rev + 1})
		s.open(a)
		s.register("a", 2)
		s.open(a)
		c.accept(c.hear())
		s.converged(a, 1)
		start := time.Now()
		got := <-s.wait(Request{Revision: 99})
		if got.Converged || got.Published != rev+1 || got.err != nil || time.Since(start) != DefaultTimeout {
			s.t.Errorf("after %s: %+v", time.Since(start), got)
		}
	})
}

func TestRemovalIsWaitedFor(t *testing.T) {
	bubble(t, func(s *server) {
		s.register("a", 1)
		c := s.dial("e", "default/a")
		c.accept(c.hear())
		rev := s.do(&naming.Deregister{ID: "a"})
		a := s.wait(Request{Revision: rev, Service: service("a")})
		r := c.hear()
		s.open(a)
		c.accept(r)
		s.converged(a, 1)
	})
}

func TestWaitsAreBoundedAndEnd(t *testing.T) {
	bubble(t, func(s *server) {
		s.register("a", 1)
		s.dial("e", "default/a").hear()
		synctest.Wait()
		var all []<-chan answer
		for range MaxWaits {
			all = append(all, s.wait(Request{}))
		}
		s.open(all[0])
		if got := <-s.wait(Request{}); naming.KindOf(got.err) != naming.Overloaded {
			s.t.Errorf("one too many: %+v", got)
		}
		ctx, cancel := context.WithCancel(s.t.Context())
		cancel()
		s.stop()
		for _, a := range all {
			if got := <-a; naming.KindOf(got.err) != naming.NotReady {
				s.t.Fatalf("at the stop: %+v", got)
			}
		}
		if _, err := s.desk.Wait(ctx, Request{}); naming.KindOf(err) != naming.NotReady {
			s.t.Errorf("after the stop: %v", err)
		}
	})
}

func TestAWaitEndsWithItsCaller(t *testing.T) {
	bubble(t, func(s *server) {
		s.register("a", 1)
		s.dial("e", "default/a").hear()
		ctx, cancel := context.WithCancel(s.t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := s.desk.Wait(ctx, Request{})
			done <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			s.t.Errorf("%v", err)
		}
	})
}

func TestBadRequestsAreNamed(t *testing.T) {
	s := start(t)
	for want, r := range map[string]Request{
		"timeout":   {Timeout: MaxTimeout + 1},
		"timeout: ": {Timeout: -1},
		"service: ": {Service: naming.ServiceKey{Name: "a"}},
		"namespace": {Service: naming.ServiceKey{Namespace: strings.Repeat("n", naming.MaxNamespace+1), Name: "a"}},
		"service":   {Service: naming.ServiceKey{Namespace: "n", Name: strings.Repeat("é", naming.MaxService+1)}},
		"client":    {Clients: make([]string, MaxClients+1)},
		"client: ":  {Clients: []string{strings.Repeat("c", maxClientID+1)}},
	} {
		_, err := s.desk.Wait(t.Context(), r)
		if naming.KindOf(err) != naming.Invalid || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestNothingIsSaidBeforeTheRegistryIsLoaded(t *testing.T) {
	s := start(t)
	s.ready = false
	if _, err := s.desk.Wait(t.Context(), Request{}); naming.KindOf(err) != naming.NotReady {
		t.Errorf("%v", err)
	}
}

// What a wait remembers by name is bounded.
func TestMuchThatLacksIsNotRememberedByName(t *testing.T) {
	w := &wait{streams: map[uint64]*stream{}, present: map[string]int{}}
	for id := range uint64(3) {
		lacking := make([]ads.NameStatus, maxKept/2)
		for n := range lacking {
			lacking[n].Current.Version = "1"
		}
		w.judge(w.meet(id, ads.ClientStatus{ID: id}), ads.Lag{Concerned: 1, Lacking: lacking})
	}
	if w.pending != 3 || w.kept != maxKept || w.streams[2].what != nil {
		t.Errorf("%d pending, %d kept, %d of the last", w.pending, w.kept, len(w.streams[2].what))
	}
	w.judge(w.streams[0], ads.Lag{Concerned: 1})
	if w.pending != 2 || w.kept != maxKept/2 || !w.streams[0].had {
		t.Errorf("%d pending, %d kept", w.pending, w.kept)
	}
}
