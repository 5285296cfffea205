package health

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"polestar/naming"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExpiresAfterThreeTTLsAndOneTick(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 2, true)
		time.Sleep(10 * time.Second)
		j.expect("a false 6.25s")
	})
}

func TestBeatsKeepHealthy(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		for range 3600 {
			time.Sleep(time.Second)
			if !l.Beat("a") {
				t.Fatal("the lease is gone")
			}
		}
		j.expect()
	})
}

func TestBeatExactlyAtTheDeadlineIsInTime(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 2, true)
		for range 100 {
			time.Sleep(6 * time.Second)
			l.Beat("a")
		}
		j.expect()
	})
}

func TestFirstBeatMakesHealthyAtOnce(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		time.Sleep(10 * time.Second)
		l.Beat("a")
		j.expect("a false 3.25s", "a true 10s")
		time.Sleep(10 * time.Second)
		j.expect("a false 3.25s", "a true 10s", "a false 13.25s")
	})
}

func TestRegistrationIsABeat(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		time.Sleep(2 * time.Second)
		l.Track("a", 1, true)
		time.Sleep(2 * time.Second)
		j.expect()
		time.Sleep(2 * time.Second)
		j.expect("a false 5.25s")
	})
}

func TestForgottenNeverExpires(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		l.Track("b", 1, true)
		l.Forget("a")
		l.Track("b", 0, true) // registered again without a health check
		time.Sleep(10 * time.Second)
		j.expect()
		if l.Beat("a") || l.Beat("b") || l.Beat("never seen") {
			t.Error("a beat found a lease that is gone")
		}
		if _, known := l.State("never seen"); known {
			t.Error("a beat of an unknown id left something behind")
		}
	})
}

func TestLongTTL(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 3600, true)
		time.Sleep(4 * time.Hour)
		j.expect("a false 3h0m0.25s")
	})
}

func TestUnhealthyAtTheStartComesBackOnABeat(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, false)
		time.Sleep(10 * time.Second)
		j.expect()
		l.Beat("a")
		j.expect("a true 10s")
	})
}

// A beat that arrives while the flip to unhealthy is being written is not
// forgotten: the flip back follows.
func TestBeatDuringTheFlip(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		j.gate = make(chan struct{})
		l.Track("a", 1, true)
		time.Sleep(4 * time.Second)
		l.Beat("a")
		close(j.gate)
		j.expect("a false 4s", "a true 4s")
	})
}

// A flip that is overtaken by a new registration must not leave the instance
// unhealthy while it beats.
func TestStaleFlipIsUndone(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		l.Forget("a")
		l.Track("a", 1, true)
		l.Stored("a", false) // the old lease's flip was committed last
		time.Sleep(time.Second)
		l.Beat("a")
		j.expect("a true 250ms")
	})
}

func TestTrackAgainWithTheSameHealthIsABeatAndStoredIsNone(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("registered", 2, true)
		l.Track("stored", 2, true)
		time.Sleep(4 * time.Second)
		l.Track("registered", 2, true)
		l.Stored("stored", true)
		time.Sleep(8 * time.Second)
		j.expect("stored false 6.25s", "registered false 10.25s")
	})
}

// Our own flip comes back as a commit: it must neither renew nor revive.
func TestOwnFlipComingBackRenewsNothing(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		j.then = l.Stored
		l.Track("a", 1, true)
		time.Sleep(time.Minute)
		j.expect("a false 3.25s")
		if st, _ := l.State("a"); st.Healthy || st.Since != time.Minute || st.Left != -57*time.Second {
			t.Errorf("%+v", st)
		}
	})
}

func TestStateOfALease(t *testing.T) {
	bubble(t, func(l *Leases, _ *journal) {
		l.TrackIn("a", web, 5, true)
		time.Sleep(4 * time.Second)
		if st, ok := l.State("a"); !ok || st != (State{TTL: 5 * time.Second, Since: 4 * time.Second, Left: 11 * time.Second, Healthy: true}) {
			t.Errorf("%+v %v", st, ok)
		}
	})
}

// A registration with another TTL counts from now on, in both directions.
func TestChangedTTL(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("longer", 1, true)
		l.Track("shorter", 3600, true)
		l.Track("longer", 10, true)
		l.Track("shorter", 1, true)
		time.Sleep(time.Minute)
		j.expect("shorter false 3.25s", "longer false 30.25s")
	})
}

// One id never has two flips under way, even when it is deregistered and
// registered again meanwhile.
func TestOneFlipInFlightPerID(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		j.gate = make(chan struct{})
		l.Track("a", 1, true)
		time.Sleep(4 * time.Second) // the flip waits at the gate
		l.Forget("a")
		if l.Beat("a") {
			t.Error("a deregistered instance still has a lease")
		}
		l.Track("a", 1, true)
		time.Sleep(10 * time.Second)
		if n := j.waiting.Load(); n != 1 {
			t.Errorf("%d flips of one instance under way", n)
		}
		l.Beat("a")
		close(j.gate)
		j.expect("a false 14s", "a true 14s")
		if n := l.all.size.Load(); n != 1 {
			t.Errorf("%d leases", n)
		}
	})
}

func TestForgottenDuringItsFlipLeavesNothing(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		j.gate = make(chan struct{})
		l.Track("a", 1, true)
		time.Sleep(4 * time.Second)
		l.Forget("a")
		close(j.gate)
		j.expect("a false 4s")
		empty(t, l)
	})
}

// empty checks that nothing at all is kept.
func empty(t *testing.T, l *Leases) {
	t.Helper()
	for n := range l.shards {
		s := &l.shards[n]
		s.mu.Lock()
		if s.byID.n != 0 || len(s.byID.slots) > minSlots || len(s.troubled) != 0 {
			t.Errorf("shard %d: %d leases, %d troubles", n, s.byID.n, len(s.troubled))
		}
		for _, x := range s.wheel.heads {
			if x != nil {
				t.Errorf("the wheel still holds %q", x.id)
			}
		}
		s.mu.Unlock()
	}
	l.groups.mu.Lock()
	defer l.groups.mu.Unlock()
	if len(l.groups.byKey) != 0 {
		t.Errorf("%d services are left", len(l.groups.byKey))
	}
	if a, b, c, d := l.all.size.Load(), l.all.live.Load(), l.all.overdue.Load(), l.all.suspects.Load(); a|b|c|d != 0 {
		t.Errorf("counts %d %d %d %d", a, b, c, d)
	}
}

// Deregistering and registering for ever, and beats of ids that never were,
// must not pile up anything.
func TestChurnLeavesNothing(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		for n := range 20_000 {
			id, service := name(n), naming.ServiceKey{Name: name(n % 100)}
			l.TrackIn(id, service, 3600, n%2 == 0)
			l.Beat("unknown " + id)
			l.Forget(id)
		}
		j.lines = nil
		synctest.Wait()
		empty(t, l)
	})
}

// Forgetting beats changes what is known of them, not when a lease is late.
func TestForgottenBeatsMoveNoDeadline(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		l.Track("b", 1, true)
		time.Sleep(time.Second)
		l.ForgetBeat("a")
		l.ForgetBeat("b")
		l.ForgetBeat("never seen")
		for _, id := range []string{"a", "never seen"} {
			if _, heard := l.LastBeat(id); heard {
				t.Errorf("%s was heard", id)
			}
		}
		l.Beat("b")
		time.Sleep(500 * time.Millisecond)
		if ago, heard := l.LastBeat("b"); !heard || ago != 500*time.Millisecond {
			t.Errorf("b was heard %s ago, %v", ago, heard)
		}
		time.Sleep(10 * time.Second)
		j.expect("a false 3.25s", "b false 4.25s")
	})
}

// Two servers may watch over one lease for a moment. The one that heard nothing
// takes the word of the other instead of writing against it.
func TestWhoHeardNothingTakesAnotherServersWord(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("dead", 1, true) // as when a server that stood still reads the log
		l.Track("alive", 1, false)
		l.Flipped("dead", false)
		time.Sleep(time.Second)
		l.Flipped("alive", true)
		time.Sleep(time.Second)
		j.expect()
		if dead, _ := l.State("dead"); dead.Healthy {
			t.Error("who is dead to another server is not to this one")
		}
		time.Sleep(3 * time.Second) // nobody says more of it
		j.expect("alive false 4.25s")
		l.Beat("dead")
		j.expect("alive false 4.25s", "dead true 5s")
	})
}

// A beat that was heard in time is worth more than what another server did not
// hear; one of long ago is not.
func TestWhoHeardABeatDecides(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		l.Beat("a")
		time.Sleep(time.Second)
		l.Flipped("a", false)
		time.Sleep(time.Second)
		j.expect("a true 1.25s")
		j.jump.Add(int64(10 * time.Second)) // this server stands still
		l.Flipped("a", false)
		time.Sleep(10 * time.Second)
		j.expect("a true 1.25s")
	})
}

// Our own flip comes back as a commit while a beat waits to be written.
func TestOwnFlipComingBackForgetsNoBeat(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		j.then = l.Flipped
		j.gate = make(chan struct{})
		l.Track("a", 1, true)
		time.Sleep(4 * time.Second)
		l.Beat("a")
		close(j.gate)
		j.expect("a false 4s", "a true 4s")
		time.Sleep(time.Minute)
		j.expect("a false 4s", "a true 4s", "a false 7.25s")
	})
}
