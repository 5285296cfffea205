package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"polestar/naming"
	"polestar/store"
)

const duty = "MaintainJob"

// elections returns the role of a shared store; nil of one that is not.
func elections(t *testing.T, f *fixture) store.Elections {
	t.Helper()
	e, shared := f.Store.(store.Elections)
	if !shared {
		_, rs := f.apply(&naming.Fenced{Write: register(Instance("svc", 1)), Fence: naming.Fence{Duty: duty, Epoch: 1}})
		if !fencedOff(rs[0].Err) {
			t.Errorf("a fence of a duty that nobody can have: %v", rs[0].Err)
		}
		return nil
	}
	return e
}

func fencedOff(err error) bool {
	e, ok := errors.AsType[*naming.Error](err)
	return ok && e.Kind == naming.Conflict && e.Field == naming.FieldEpoch
}

// lead asks for a duty.
func lead(t *testing.T, e store.Elections, server string, term time.Duration) naming.Leader {
	t.Helper()
	l, err := e.Lead(t.Context(), duty, server, term)
	if err != nil || l.Duty != duty {
		t.Fatalf("Lead: %+v, %v", l, err)
	}
	return l
}

// A duty has one holder until its time is up or it resigns; what an earlier
// holder still writes is refused, its neighbours are not.
func testLeaders(t *testing.T, f *fixture) {
	e := elections(t, f)
	if e == nil {
		return
	}
	wish := func(l naming.Leader, n int) naming.Write {
		return &naming.Fenced{Write: register(Instance("svc", n)), Fence: l.Fence()}
	}
	a := lead(t, e, "a", 0) // its time is up at once
	if _, rs := f.apply(wish(a, 1)); a.ID != "a" || a.Epoch != 1 || a.Since == 0 || rs[0].Err != nil {
		t.Errorf("the first holder is %+v, its write %v", a, rs[0].Err)
	}
	if again := lead(t, e, "a", 0); again != a {
		t.Errorf("renewed: %+v, want %+v", again, a)
	}
	b := lead(t, e, "B", time.Hour)
	if b.ID != "B" || b.Epoch != 2 {
		t.Errorf("the next holder is %+v", b)
	}
	if got := lead(t, e, "a", time.Hour); got != b {
		t.Errorf("a duty that is held was given away: %+v", got)
	}
	if got := lead(t, e, "b", time.Hour); got != b {
		t.Errorf("names differ by case: %+v", got)
	}
	_, rs := f.apply(wish(a, 2), register(Instance("svc", 3)), wish(b, 4))
	if !fencedOff(rs[0].Err) || rs[1].Err != nil || rs[2].Err != nil {
		t.Errorf("late: %v; its neighbours: %v, %v", rs[0].Err, rs[1].Err, rs[2].Err)
	}
	if err := e.Resign(t.Context(), a); err != nil || lead(t, e, "a", time.Hour) != b {
		t.Errorf("who has a duty no more gave it back: %v", err)
	}
	if err := e.Resign(t.Context(), b); err != nil {
		t.Error(err)
	}
	f.reopen()
	if e = f.Store.(store.Elections); !fencedOff(func() error { _, rs := f.apply(wish(naming.Leader{Duty: "other", Epoch: 1}, 5)); return rs[0].Err }()) {
		t.Error("a duty that nobody ever had")
	}
	if c := lead(t, e, "a", time.Hour); c.ID != "a" || c.Epoch != 3 {
		t.Errorf("after the holder resigned: %+v", c)
	}
}

// Servers that take a duty over from each other all the time: each epoch has
// one holder, and none writes after the next one did.
func testFences(t *testing.T, f *fixture) {
	e := elections(t, f)
	if e == nil {
		return
	}
	const servers, rounds = 4, 30
	var mu sync.Mutex
	holders, refused := map[uint64]string{}, 0
	var wg sync.WaitGroup
	for n := range servers {
		wg.Go(func() {
			id := fmt.Sprint("server", n)
			for range rounds {
				l, err := e.Lead(t.Context(), duty, id, 0)
				if err != nil {
					t.Errorf("Lead: %v", err)
					return
				}
				if l.ID != id {
					continue
				}
				i := Instance("svc", n)
				i.Version = strconv.FormatUint(l.Epoch, 10)
				_, rs, err := f.Apply(t.Context(), []naming.Write{&naming.Fenced{Write: register(i), Fence: l.Fence()}})
				mu.Lock()
				if other := holders[l.Epoch]; other != "" && other != id {
					t.Errorf("epoch %d was given to %s and %s", l.Epoch, other, id)
				}
				holders[l.Epoch] = id
				switch {
				case err != nil:
					t.Errorf("Apply: %v", err)
				case fencedOff(rs[0].Err):
					refused++
				case rs[0].Err != nil:
					t.Errorf("refused: %v", rs[0].Err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	commits, err := f.Since(t.Context(), 0, 10_000)
	if err != nil || len(commits) == 0 {
		t.Fatalf("%d commits: %v", len(commits), err)
	}
	last := uint64(0)
	for _, c := range commits {
		for _, ch := range c.Changes {
			i, ok := ch.Object().(*naming.Instance)
			if !ok {
				continue
			}
			epoch, err := strconv.ParseUint(i.Version, 10, 64)
			if err != nil || epoch < last {
				t.Errorf("revision %d was written by epoch %d after epoch %d had written: %v", c.Revision, epoch, last, err)
			}
			last = epoch
		}
	}
	t.Logf("%d epochs, %d late writes were refused", len(holders), refused)
}

// What was deleted long enough ago goes for good, and nothing else does, also
// while it is registered anew.
func testPurge(t *testing.T, f *fixture) {
	p, keeps := f.Store.(store.Purger)
	if !keeps {
		return // what is deleted is gone
	}
	const instances = 20
	for n := range instances {
		f.apply(register(Instance("svc", n)), register(Instance("gone", 100)), &naming.PutClient{Client: naming.Client{ID: "c"}})
		f.apply(&naming.Deregister{ID: Instance("svc", n).ID}, &naming.RemoveClient{ID: "c"})
	}
	f.apply(&naming.Deregister{ID: Instance("gone", 100).ID})
	f.apply(&naming.DeleteService{Key: Instance("gone", 100).Service}, register(Instance("svc", 1)))
	const rows = instances - 1 + 1 + 1 + 1 // the client, and the other service with its instance
	purgeable := func(age time.Duration, want int) {
		t.Helper()
		if n, err := p.Purgeable(t.Context(), age); err != nil || n != want {
			t.Errorf("%d rows are older than %s, want %d: %v", n, age, want, err)
		}
	}
	purgeable(time.Hour, 0)
	purgeable(0, rows)
	l := lead(t, f.Store.(store.Elections), "a", 0)
	lead(t, f.Store.(store.Elections), "b", time.Hour)
	if n, err := p.Purge(t.Context(), l.Fence(), 0, 100); n != 0 || !fencedOff(err) {
		t.Errorf("a late purge removed %d rows: %v", n, err)
	}
	if n, err := p.Purge(t.Context(), naming.Fence{}, time.Hour, 100); n != 0 || err != nil {
		t.Errorf("a young row was purged: %d, %v", n, err)
	}
	l.Epoch++
	if n, err := p.Purge(t.Context(), l.Fence(), 0, 5); n != 5 || err != nil {
		t.Errorf("purged %d rows at a limit of 5: %v", n, err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := p.Purge(t.Context(), l.Fence(), 0, 100); err != nil {
				t.Errorf("Purge: %v", err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for n := range 3 * instances {
		i := Instance("svc", n%instances)
		f.apply(register(i))
		if n%2 == 0 {
			f.apply(&naming.Deregister{ID: i.ID})
			f.apply(register(i))
		}
	}
	close(stop)
	<-done
	if _, objects, _ := f.world(); len(objects) != instances+2 {
		t.Errorf("%d objects are left, want %d instances, a service and a namespace", len(objects), instances)
	}
	if _, err := p.Purge(t.Context(), naming.Fence{}, 0, 1000); err != nil {
		t.Error(err)
	}
	purgeable(0, 0)
}
