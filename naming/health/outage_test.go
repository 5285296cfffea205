package health

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"polestar/naming"
)

func TestStoreThatTakesNoWritesHoldsEverybody(t *testing.T) {
	for _, kind := range []naming.ErrorKind{
		naming.StoreFailed, naming.Overloaded, naming.NotDone, naming.OutcomeUnknown, naming.NotReady, naming.Internal,
	} {
		t.Run(naming.Errorf(kind, "", "kind %d", kind).Msg, func(t *testing.T) {
			bubble(t, func(l *Leases, j *journal) {
				var down error = naming.Errorf(kind, "", "away")
				j.err.Store(&down)
				ids := track(l, web, 40, 1)
				beats(l, ids[2:], time.Second, 30*time.Second)
				if n := l.Outage(); n < 25*time.Second {
					t.Errorf("an outage of %s", n)
				}
				if n := j.gauge("polestar_lease_outage_seconds", ""); n < 25 {
					t.Errorf("an outage of %v s", n)
				}
				if n := j.gauge("polestar_lease_held_total", "store"); n == 0 {
					t.Error("no held lease is counted")
				}
				if n := j.tried.Load(); n > 2+30 {
					t.Errorf("%d flips were tried: more than one probe a second", n)
				}
				time.Sleep(30 * time.Second) // nobody beats now, and nobody expires
				for _, id := range ids {
					if st, _ := l.State(id); !st.Healthy {
						t.Errorf("%s was not held", id)
					}
				}
				j.expect()
				j.err.Store(nil)
				time.Sleep(1250 * time.Millisecond)
				if l.Outage() != 0 {
					t.Error("writes work again, and it was not noticed within a second")
				}
				beats(l, ids[2:], time.Second, 2*time.Second)
				if n := j.count(false); n != 0 {
					t.Errorf("%d flipped before they had full time", n)
				}
				beats(l, ids[2:], time.Second, 4*time.Second)
				if n := j.count(false); n != 2 {
					t.Errorf("%d flipped, want the 2 that never beat: %v", n, j.written())
				}
			})
		})
	}
}

// Expiries that were decided already, and wait behind one that fails, are taken
// back.
func TestOutageTakesBackWhatIsQueued(t *testing.T) {
	cfg := Default()
	cfg.Workers = 1
	bubbleWith(t, cfg, nil, func(l *Leases, j *journal) {
		j.gate = make(chan struct{})
		down := errors.New("disk full")
		j.err.Store(&down)
		ids := track(l, web, 100, 1)
		beats(l, ids[10:], time.Second, 4*time.Second) // ten expire; one waits at the gate
		if n := j.tried.Load(); n != 1 {
			t.Fatalf("%d tried", n)
		}
		close(j.gate)
		synctest.Wait()
		j.err.Store(nil)
		beats(l, ids[10:], time.Second, 3*time.Second)
		if n := j.count(false); n != 0 {
			t.Errorf("%d expired: %v", n, j.written())
		}
		beats(l, ids[10:], time.Second, 5*time.Second)
		if n := j.count(false); n != 10 {
			t.Errorf("%d expired in the end, want 10: %v", n, j.written())
		}
	})
}

// Beats are heard while the store is away: who was unhealthy comes back as soon
// as that can be written.
func TestRecoveryWaitsForTheStore(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		ids := []string{"a", "b", "c"}
		for _, id := range ids {
			l.TrackIn(id, web, 10, false)
		}
		var down error = naming.Errorf(naming.StoreFailed, "", "away")
		j.err.Store(&down)
		beats(l, ids, 10*time.Second, 20*time.Second)
		j.expect()
		j.err.Store(nil)
		time.Sleep(2500 * time.Millisecond)
		if n := j.count(true); n != 3 || j.count(false) != 0 {
			t.Errorf("%v", j.written())
		}
	})
}

// When the store is away, the flips that wait for a worker are not tried one
// after the other.
func TestOutageTriesNotWhatIsQueued(t *testing.T) {
	cfg := Default()
	cfg.Workers = 1
	bubbleWith(t, cfg, nil, func(l *Leases, j *journal) {
		j.gate = make(chan struct{})
		var down error = naming.Errorf(naming.StoreFailed, "", "away")
		j.err.Store(&down)
		for n := range 500 {
			l.TrackIn(name(n), web, 10, false)
			l.Beat(name(n))
		}
		close(j.gate)
		time.Sleep(10 * time.Second)
		if n := j.tried.Load(); n > 11 {
			t.Errorf("%d flips were tried in ten seconds", n)
		}
		j.err.Store(nil)
		time.Sleep(3 * time.Second)
		if n := j.count(true); n != 500 {
			t.Errorf("%d of 500 came back", n)
		}
	})
}

// What asks whether an outage is over must not make a dead instance healthy.
func TestProbesReviveNobody(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		dead := make([]string, 50)
		for n := range dead {
			dead[n] = name(n)
			l.TrackIn(dead[n], web, 10, false)
		}
		var down error = naming.Errorf(naming.StoreFailed, "", "away")
		j.err.Store(&down)
		l.TrackIn("beats", web, 10, false)
		beats(l, []string{"beats"}, 10*time.Second, 20*time.Second)
		j.err.Store(nil)
		time.Sleep(10 * time.Second)
		for _, id := range dead {
			if st, _ := l.State(id); st.Healthy {
				t.Errorf("%s was revived", id)
			}
		}
		if st, _ := l.State("beats"); !st.Healthy {
			t.Error("the living one was not")
		}
	})
}

// A write that failed once, and works within a second, delays nobody else.
func TestShortFailureIsNoOutage(t *testing.T) {
	cfg := Default()
	cfg.RetryWait = cfg.Tick
	bubbleWith(t, cfg, nil, func(l *Leases, j *journal) {
		failed := false
		j.fail = func(string, bool) error {
			if failed {
				return nil
			}
			failed = true
			return naming.Errorf(naming.Overloaded, "", "full")
		}
		l.TrackIn("a", web, 4, true)
		time.Sleep(time.Second)
		l.TrackIn("b", web, 4, true)
		time.Sleep(20 * time.Second)
		// Whichever of the two is the probe, a is flipped by its second try.
		lines := j.written()
		if !slices.Contains(lines, "a false 12.75s") && !slices.Contains(lines, "a false 13s") {
			t.Errorf("a was flipped late: %v", lines)
		}
		if !slices.Contains(lines, "b false 13.25s") {
			t.Errorf("b was flipped late: %v", lines)
		}
	})
}

// One instance whose flips fail for ever, while those of others work, must not
// keep the whole system from expiring anybody.
func TestPoisonedFlipHoldsOnlyItself(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		both bool // the harmless write of what is stored fails too
	}{
		{"refused", naming.Errorf(naming.Conflict, "", "no"), true},
		{"unknown error", errors.New("cannot encode"), true},
		{"unknown error of changes only", errors.New("cannot encode"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(l *Leases, j *journal) {
				j.fail = func(id string, healthy bool) error {
					if id == "poison" && (c.both || !healthy) {
						return c.err
					}
					return nil
				}
				l.TrackIn("poison", web, 1, true)
				time.Sleep(10 * time.Second)
				l.TrackIn("a", web, 1, true)
				time.Sleep(2 * time.Minute)
				l.TrackIn("b", web, 1, true)
				registered := time.Since(j.start)
				time.Sleep(4500 * time.Millisecond)
				a, _ := l.State("a")
				b, _ := l.State("b")
				if a.Healthy || b.Healthy {
					t.Errorf("a %v, b %v (registered at %s): %v", a, b, registered, j.written())
				}
				tried := j.tried.Load()
				time.Sleep(10 * time.Minute)
				if n := j.tried.Load() - tried; n > 25 {
					t.Errorf("%d tries in ten minutes: no back-off", n)
				}
				l.Forget("poison")
				l.Forget("a")
				l.Forget("b")
				time.Sleep(2 * time.Minute)
				empty(t, l)
			})
		})
	}
}

// An operator cannot release what could not be written.
func TestReleaseDuringAnOutage(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		track(l, web, 50, 4)
		time.Sleep(20 * time.Second)
		l.TrackIn("down", api, 4, false)
		var down error = naming.Errorf(naming.StoreFailed, "", "away")
		j.err.Store(&down)
		l.Beat("down")
		synctest.Wait()
		if n := l.Release(web); n != 0 {
			t.Errorf("released %d", n)
		}
		j.err.Store(nil)
		time.Sleep(5 * time.Second)
		if n := j.gauge("polestar_leases", "suspect"); n != 0 {
			t.Errorf("%v suspects: an outage ended, and all start anew", n)
		}
		if n := j.count(false); n != 0 {
			t.Errorf("%d expired", n)
		}
		lines := j.written() // at the second tick, if not the probe itself
		if !slices.Contains(lines, "down true 21s") && !slices.Contains(lines, "down true 21.25s") {
			t.Errorf("the one that beat did not come back: %v", lines)
		}
	})
}

// A pause of the process: the clock goes on, nothing else does.
func TestPauseOfTheServerExpiresNobody(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		ids := track(l, web, 300, 5)
		beats(l, ids, 5*time.Second, 7*time.Second)
		j.jump.Add(int64(40 * time.Second))
		time.Sleep(9900 * time.Millisecond) // clients are back two TTLs later
		beats(l, ids[2:], 5*time.Second, 5*time.Second)
		j.expect()
		if n := j.gauge("polestar_lease_pauses_total", ""); n != 1 {
			t.Errorf("%v pauses", n)
		}
		beats(l, ids[2:], 5*time.Second, 5*time.Second)
		if n := j.count(false); n != 2 {
			t.Errorf("%d expired, want the two that never came back: %v", n, j.written())
		}
	})
}

// A pause that begins within the sweep is noticed only by the next one: the
// sweep must not take the time for silence.
func TestPauseAmidASweep(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		ids := track(l, web, 3, 5)
		beats(l, ids, 5*time.Second, 10*time.Second)
		var readings atomic.Int32
		hook := func() { // the sweeper is alone now: its first reading is the last one before the pause
			if readings.Add(1) == 2 {
				j.jump.Add(int64(40 * time.Second))
			}
		}
		time.Sleep(9800 * time.Millisecond) // they are to be looked at now
		j.reading.Store(&hook)
		time.Sleep(3 * time.Second)
		j.expect()
		if n := j.gauge("polestar_lease_pauses_total", ""); n != 1 {
			t.Errorf("%v pauses", n)
		}
	})
}

// A pause below the limit costs nobody anything, and shifts nothing.
func TestShortStallShiftsNothing(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.TrackIn("a", web, 2, true)
		time.Sleep(time.Second)
		j.jump.Add(int64(700 * time.Millisecond))
		time.Sleep(10 * time.Second)
		if n := j.gauge("polestar_lease_pauses_total", ""); n != 0 {
			t.Errorf("%v pauses", n)
		}
		j.expect("a false 5.75s")
	})
}

// Suspects start anew after a pause as everybody else.
func TestPauseAcquitsSuspects(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		ids := track(l, web, 50, 5)
		time.Sleep(20 * time.Second)
		if n := j.gauge("polestar_leases", "suspect"); n != 50 {
			t.Fatalf("%v suspects", n)
		}
		j.jump.Add(int64(time.Hour))
		time.Sleep(time.Second)
		if n := j.gauge("polestar_leases", "suspect"); n != 0 {
			t.Errorf("%v suspects", n)
		}
		beats(l, ids[1:], 5*time.Second, 20*time.Second)
		if n := j.count(false); n != 1 {
			t.Errorf("%d expired: %v", n, j.written())
		}
	})
}

func TestRunGivesFullTime(t *testing.T) {
	bubbleWith(t, Default(), func(l *Leases, _ *journal) {
		l.Track("a", 1, true)
		time.Sleep(time.Minute) // loading took long
	}, func(_ *Leases, j *journal) {
		time.Sleep(10 * time.Second)
		j.expect("a false 1m3.25s")
	})
}

// A restart with a world in which most are dead holds them as a mass loss.
func TestRestartWithManyDead(t *testing.T) {
	var ids []string
	bubbleWith(t, Default(), func(l *Leases, _ *journal) {
		ids = track(l, web, 100, 4)
	}, func(l *Leases, j *journal) {
		beats(l, ids[50:], 4*time.Second, time.Minute)
		j.expect()
		if n := j.gauge("polestar_leases", "suspect"); n != 50 {
			t.Errorf("%v suspects", n)
		}
	})
}

// The end of Run cancels flips and waits for its workers.
func TestRunEndsFlips(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		j.gate = make(chan struct{}) // never opened
		l.Track("a", 1, true)
		time.Sleep(4 * time.Second)
		if n := j.waiting.Load(); n != 1 {
			t.Errorf("%d flips under way", n)
		}
	})
}
