package health

import (
	"slices"
	"testing"
	"time"

	"polestar/naming"
)

// keepAlive makes other leases that beat, so that the share of all does not
// decide.
func keepAlive(l *Leases, n int) (ids []string, beat func(d time.Duration)) {
	const ttl = 4
	ids = track(l, naming.ServiceKey{Namespace: "prod", Name: "rest"}, n, ttl)
	return ids, func(d time.Duration) { beats(l, ids, ttl*time.Second, d) }
}

// A few of a service may always die, in time.
func TestGuardLetsFewExpireInTime(t *testing.T) {
	for _, c := range []struct {
		name          string
		leases, dying int
		others        int
	}{
		{"the only instance", 1, 1, 0},
		{"one of two", 2, 1, 0},
		{"both of two", 2, 2, 0},
		{"three of ten", 10, 3, 0},
		{"one of twenty, the only service", 20, 1, 0},
		{"15 of 100", 100, 15, 0},
		{"all three of a service among many", 3, 3, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(l *Leases, j *journal) {
				ids := track(l, web, c.leases, 4)
				others, _ := keepAlive(l, c.others)
				beats(l, append(slices.Clone(ids[c.dying:]), others...), 4*time.Second, 12500*time.Millisecond)
				if n := j.count(false); n != c.dying {
					t.Errorf("%d expired until 12.5 s, want %d", n, c.dying)
				}
				if n := j.gauge("polestar_leases_suspect", ""); n != 0 {
					t.Errorf("%v suspects", n)
				}
			})
		})
	}
}

// One more than that is held, all of them: the guard looks one TTL ahead.
func TestGuardHoldsManyOfAService(t *testing.T) {
	for _, c := range []struct {
		name          string
		leases, dying int
		others        int
		why           string
	}{
		{"four of ten, of all", 10, 4, 0, "service"},
		{"four of ten, few of all", 10, 4, 200, "service"},
		{"16 of 100", 100, 16, 400, "service"},
		{"90 percent of a service", 500, 450, 5000, "service"},
		{"everything", 200, 200, 0, "service"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(l *Leases, j *journal) {
				ids := track(l, web, c.leases, 4)
				others, beatOthers := keepAlive(l, c.others)
				living := append(slices.Clone(ids[c.dying:]), others...)
				beats(l, append(slices.Clone(ids[:c.dying]), living...), 4*time.Second, 4*time.Second) // phases spread over a TTL
				beats(l, living, 4*time.Second, 60*time.Second)
				if c.others > 0 {
					beatOthers(time.Second)
				}
				if lines := j.written(); len(lines) != 0 {
					t.Errorf("%d flips, the first %s", len(lines), lines[0])
				}
				if n := j.gauge("polestar_leases", "suspect"); n != float64(c.dying) {
					t.Errorf("%v suspects, want %d", n, c.dying)
				}
				if n := j.gauge("polestar_lease_held_total", c.why); n != float64(c.dying) {
					t.Errorf("%v held because of the %s, want %d", n, c.why, c.dying)
				}
				st, _ := l.State(ids[0])
				if !st.Suspect || !st.Healthy || st.Left >= 0 {
					t.Errorf("%+v", st)
				}
				got := l.Suspects()
				if len(got) != 1 || got[0].Service != web || got[0].Held != c.dying || got[0].Leases != c.leases || got[0].Since < 40*time.Second {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// Each service loses few, but of all it is too much.
func TestGuardHoldsManyOfAll(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		var dead, living []string
		for n := range 20 {
			ids := track(l, naming.ServiceKey{Name: name(n)}, 10, 4)
			dead, living = append(dead, ids[:2]...), append(living, ids[2:]...)
		}
		beats(l, living, 4*time.Second, 60*time.Second)
		if n := j.count(false); n != 0 {
			t.Errorf("%d of %d flipped", n, len(dead))
		}
		if n := j.gauge("polestar_lease_held_total", "all"); n != float64(len(dead)) {
			t.Errorf("%v held because of all, want %d", n, len(dead))
		}
	})
}

// Leases whose service was not told are guarded as a share of all only.
func TestGuardWithoutServices(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		var ids []string
		for n := range 100 {
			ids = append(ids, name(n))
			l.Track(name(n), 4, true)
		}
		beats(l, ids[15:], 4*time.Second, 20*time.Second)
		if n := j.count(false); n != 15 {
			t.Errorf("%d expired, want 15", n)
		}
		beats(l, ids[35:], 4*time.Second, 20*time.Second)
		if n := j.count(false); n != 15 {
			t.Errorf("%d expired, want the other 20 held", n)
		}
	})
}

// Deregistrations are no loss: they pass at once, and who stays is judged by
// the smaller number.
func TestGuardFollowsDeregistrations(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		ids := track(l, web, 1000, 4)
		beats(l, ids, 4*time.Second, 4*time.Second)
		for _, id := range ids[:900] {
			l.Forget(id)
		}
		beats(l, ids[900:], 4*time.Second, 30*time.Second)
		j.expect()
		if n := l.all.size.Load(); n != 100 {
			t.Errorf("%d leases", n)
		}
		beats(l, ids[916:], 4*time.Second, 30*time.Second) // 16 of 100, though only 1.6 % of what was
		j.expect()
		if n := j.gauge("polestar_leases", "suspect"); n != 16 {
			t.Errorf("%v suspects, want 16", n)
		}
		for _, id := range ids[900:916] {
			l.Forget(id)
		}
		if n := j.gauge("polestar_leases", "suspect"); n != 0 {
			t.Errorf("%v suspects after they were deregistered", n)
		}
	})
}

// The network was cut and is whole again: nobody who beats again flips, however
// the beats are spread, and who stays silent expires after a full time more.
func TestGuardReleasesByBeats(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		ids := track(l, web, 200, 4)
		beats(l, ids, 4*time.Second, 8*time.Second)
		time.Sleep(40 * time.Second)
		if n := j.gauge("polestar_leases", "suspect"); n != 200 {
			t.Fatalf("%v suspects", n)
		}
		healed := time.Since(j.start)
		beats(l, ids[2:], 4*time.Second, 40*time.Second)
		lines := j.written()
		if n := j.count(false); n != 2 || len(lines) != 2 {
			t.Errorf("want the two dead ones to expire and nobody else: %v", lines)
		}
		if n := j.gauge("polestar_leases", "suspect"); n != 0 {
			t.Errorf("%v suspects", n)
		}
		// A lone death after that is found in time.
		beats(l, ids[3:], 4*time.Second, 12500*time.Millisecond)
		if n := j.count(false); n != 3 {
			t.Errorf("%d expired, healed at %s: %v", n, healed, j.written())
		}
	})
}

// Who is dead for good goes after five minutes, at 15 percent per TTL.
func TestGuardReleasesSlowlyAtTheEnd(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		ids := track(l, web, 100, 4)
		beats(l, ids, 4*time.Second, 4*time.Second)
		time.Sleep(5 * time.Minute)
		j.expect()
		var flipped []int
		for range 20 {
			time.Sleep(4 * time.Second)
			flipped = append(flipped, j.count(false))
		}
		before := 0
		for n, sum := range flipped {
			if sum-before > 15 {
				t.Errorf("%d flipped within the TTL %d: %v", sum-before, n, flipped)
			}
			before = sum
		}
		if flipped[8] != 100 { // seven shares of 15 of the 100 that they were
			t.Errorf("%d of 100 were released in nine TTLs: %v", flipped[8], flipped)
		}
		l.Beat(ids[0])
		if n := j.count(true); n != 1 {
			t.Error("a released instance does not come back by a beat")
		}
	})
}

// The slow end is bounded for all together, too: many small services may not
// each release their three.
func TestGuardReleasesSlowlyOfAll(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		for n := range 20 {
			track(l, naming.ServiceKey{Name: name(n)}, 10, 4)
		}
		time.Sleep(5 * time.Minute)
		j.expect()
		before := 0
		for n := range 15 {
			time.Sleep(4 * time.Second)
			sum := j.count(false)
			if sum-before > 30 {
				t.Errorf("%d of 200 flipped within the TTL %d", sum-before, n)
			}
			before = sum
		}
		if before != 200 {
			t.Errorf("%d of 200 were released", before)
		}
	})
}

// Leases without a service are no service: a share of them that is small among
// all expires.
func TestGuardOfNoServiceCountsAmongAll(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		for n := range 10 {
			l.Track(name(n), 4, true)
		}
		_, beatOthers := keepAlive(l, 200)
		beatOthers(12500 * time.Millisecond)
		if n := j.count(false); n != 10 {
			t.Errorf("%d expired, want 10", n)
		}
	})
}

func TestGuardReleasedByAnOperator(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		track(l, web, 50, 4)
		track(l, api, 50, 4)
		time.Sleep(30 * time.Second)
		if n := l.Release(naming.ServiceKey{Name: "unheard of"}); n != 0 {
			t.Errorf("released %d of nothing", n)
		}
		if n := l.Release(web); n != 50 {
			t.Errorf("released %d, want 50", n)
		}
		if n := j.count(false); n != 50 {
			t.Errorf("%d flipped, want 50", n)
		}
		time.Sleep(10 * time.Second)
		if n := j.count(false); n != 50 {
			t.Errorf("%d flipped: the other service was not released", n)
		}
		if got := l.Suspects(); len(got) != 1 || got[0].Service != api {
			t.Errorf("%+v", got)
		}
	})
}

// While a service is held, its neighbours live and die as ever.
func TestGuardOfOneServiceHoldsNoOther(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		track(l, web, 50, 4)
		small := track(l, api, 5, 4)
		others, _ := keepAlive(l, 1000)
		beats(l, append(slices.Clone(small), others...), 4*time.Second, 30*time.Second)
		j.expect()
		beats(l, append(slices.Clone(small[1:]), others...), 4*time.Second, 20*time.Second)
		if n := j.count(false); n != 1 {
			t.Errorf("%d flipped, want the one of the service that is not held: %v", n, j.written())
		}
		if n := j.gauge("polestar_leases", "suspect"); n != 50 {
			t.Errorf("%v suspects, want 50", n)
		}
	})
}

// Deaths that come one after the other, fewer than the allowance within a TTL,
// never trip the guard.
func TestGuardLetsATrickleExpire(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		ids := track(l, web, 100, 4)
		for n := range 80 {
			beats(l, ids[n:], 4*time.Second, time.Second) // four within a TTL
			for _, id := range ids[n+1:] {
				l.Beat(id)
			}
		}
		if n := j.count(false); n < 60 {
			t.Errorf("%d expired", n)
		}
		if n := j.gauge("polestar_lease_held_total", "service") + j.gauge("polestar_lease_held_total", "all"); n != 0 {
			t.Errorf("%v were held", n)
		}
	})
}

// A suspect that registers again in another service leaves nothing behind.
func TestSuspectMovesToAnotherService(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		ids := track(l, web, 10, 4)
		time.Sleep(20 * time.Second)
		for _, id := range ids {
			l.TrackIn(id, api, 4, true)
		}
		if n := j.gauge("polestar_leases", "suspect"); n != 0 {
			t.Errorf("%v suspects", n)
		}
		time.Sleep(5 * time.Second)
		if got := l.Suspects(); len(got) != 0 {
			t.Errorf("%+v", got)
		}
		time.Sleep(15 * time.Second)
		if got := l.Suspects(); len(got) != 1 || got[0].Service != api || got[0].Leases != 10 {
			t.Errorf("%+v", got)
		}
		for _, id := range ids {
			l.Forget(id)
		}
		time.Sleep(time.Second)
		j.expect()
		empty(t, l)
		if n := len(l.guard.events); n != 0 {
			t.Errorf("%d events are left", n)
		}
	})
}

// Who expired within the last TTL counts, also when the next one to expire has
// a shorter TTL and was not silent then.
func TestGuardCountsWhoExpiredBefore(t *testing.T) {
	for _, c := range []struct {
		beats time.Duration // of the last one
		held  bool
	}{
		{62 * time.Second, true},
		{90 * time.Second, false}, // more than a TTL of the others later
	} {
		bubble(t, func(l *Leases, j *journal) {
			slow := track(l, web, 9, 20)
			l.TrackIn("quick", web, 2, true)
			living := slow[3:]
			for now := time.Duration(0); now < 2*time.Minute; now += time.Second {
				for _, id := range living {
					l.Beat(id)
				}
				if now <= c.beats {
					l.Beat("quick")
				}
				time.Sleep(time.Second)
			}
			st, _ := l.State("quick")
			if expired := j.count(false); st.Suspect != c.held && expired != 4 {
				t.Errorf("beats until %s: %d expired, %+v", c.beats, expired, st)
			}
			if n := j.gauge("polestar_lease_held_total", "service"); (n == 1) != c.held {
				t.Errorf("beats until %s: %v held", c.beats, n)
			}
		})
	}
}

// A beat that comes after a sweep found the lease late, and before it is
// judged, is in time.
func TestBeatBetweenSweepAndJudgement(t *testing.T) {
	m := newMachine(15)
	m.register("beaten", 0, 2, true)
	m.register("silent", 0, 2, true)
	for m.now < 6*time.Second {
		m.step()
	}
	m.now += machineTick
	late := m.l.sweep(m.now)
	if len(late) != 2 {
		t.Fatalf("%d late", len(late))
	}
	m.l.Beat("beaten")
	m.l.judge(m.now, late)
	if n := len(m.l.flips); n != 1 {
		t.Errorf("%d flips, want that of the silent one", n)
	}
	m.drain()
	for range 4 * 7 { // and it is still looked at
		m.step()
	}
	if m.stored["beaten"] || m.stored["silent"] || m.wrong != "" {
		t.Error(m.stored, m.wrong)
	}
}

func TestGuardSwitchedOff(t *testing.T) {
	cfg := Default()
	cfg.GuardShare = 100
	bubbleWith(t, cfg, nil, func(l *Leases, j *journal) {
		track(l, web, 500, 4)
		time.Sleep(13 * time.Second)
		if n := j.count(false); n != 500 {
			t.Errorf("%d expired, want all 500", n)
		}
	})
}
