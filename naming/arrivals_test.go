package naming_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"polestar/naming"
)

// gated is a Writer that holds writes until its gate opens, and then refuses
// them when err is set.
type gated struct {
	*shelf
	gate chan struct{}
	err  error

	mu sync.Mutex // the shelf is for one goroutine
}

func (g *gated) Do(ctx context.Context, w naming.Write) (naming.Result, error) {
	<-g.gate
	if g.err != nil {
		return naming.Result{}, g.err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shelf.Do(ctx, w)
}

// A beat that overtakes its registration is not for an unknown instance, by id
// and by place; whose registration fails is unknown again.
func TestBeatsOfARegistrationOnItsWay(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := &gated{shelf: newShelf(), gate: make(chan struct{})}
			if fails {
				g.err = naming.Errorf(naming.NotDone, "", "too late")
			}
			r := naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: g, World: g, Beats: beats{}})
			in, plain := registration(), registration()
			in.HealthCheck, in.TTL, plain.Host = true, 7, "10.0.0.2"
			id := naming.InstanceID(in.Service, "", in.Host, *in.Port)
			beat := func(ref naming.Ref, want naming.ErrorKind) {
				t.Helper()
				if _, err := r.Heartbeat(context.Background(), ref); (err != nil) != (want != 0) || err != nil && naming.KindOf(err) != want {
					t.Errorf("beat: %v, want kind %d", err, want)
				}
			}
			byID, byPlace := naming.Ref{ID: &id}, naming.Ref{Service: in.Service, Host: in.Host, Port: in.Port}
			beat(byID, naming.NotFound)
			done := make(chan error, 3)
			for _, i := range []naming.Registration{in, in, plain} { // twice the same, as a retry does
				go func() { _, err := r.Register(context.Background(), i); done <- err }()
			}
			synctest.Wait()
			both := func(want naming.ErrorKind) {
				t.Helper()
				beat(byID, want)
				beat(byPlace, want)
			}
			both(0)
			beat(naming.Ref{ID: &id, Service: stocks}, naming.NotFound)
			beat(naming.Ref{Service: plain.Service, Host: plain.Host, Port: plain.Port}, naming.NoHealthCheck)
			g.gate <- struct{}{} // one of the three is through
			if err := <-done; (err != nil) != fails {
				t.Error(err)
			}
			synctest.Wait()
			both(0)
			close(g.gate)
			for range 2 {
				if err := <-done; (err != nil) != fails {
					t.Error(err)
				}
			}
			if fails {
				both(naming.NotFound)
			} else {
				both(0)
			}
		})
	}
}

// Another server's registration is looked for before an instance is called
// unknown, once for a whole group of beats.
func TestBeatsLookOnceForWhatOthersRegistered(t *testing.T) {
	s, looks := newShelf(), 0
	r := naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: s, World: s, Beats: beats{}})
	r.Fresh = func(ctx context.Context) {
		looks++
		late := put("late")
		late.Instance.TTL = 5
		if _, err := s.Do(ctx, late); err != nil {
			t.Fatal(err)
		}
	}
	in := registration()
	in.ID, in.HealthCheck = "here", true
	if _, err := r.Register(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	errs := r.Heartbeats(t.Context(), []naming.Ref{{ID: new("here")}, {ID: new("late")}, {ID: new("never")}, {ID: new("")}, {ID: new("x")}})
	for n, want := range []naming.ErrorKind{0, 0, naming.NotFound, naming.Invalid, naming.NotFound} {
		if (errs[n] != nil) != (want != 0) || errs[n] != nil && naming.KindOf(errs[n]) != want {
			t.Errorf("beat %d: %v, want kind %d", n, errs[n], want)
		}
	}
	if errs = r.Heartbeats(t.Context(), []naming.Ref{{ID: new("here")}, {ID: new("")}}); errs[0] != nil || errs[1] == nil || looks != 1 {
		t.Errorf("%v after %d looks; want one look, for the unknown of the first group", errs, looks)
	}
}
