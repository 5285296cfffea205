package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"polestar/internal/lifecycle"
	"polestar/naming"
	"polestar/store"
	"polestar/web"
)

// inBubble runs f with a whole server on fake time, but for its doors: nothing
// that waits on a real socket may live in a bubble.
func inBubble(t *testing.T, dir string, f func(a *app), args ...string) {
	t.Helper()
	cfg, _, err := loadConfig(flags(t, append(args, "--data-dir", dir)...), nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		a, err := newApp(cfg, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		inside := []string{"store", "xds pipeline", "batch", "leases", "client leases", "readiness"}
		parts := slices.DeleteFunc(a.parts(), func(c lifecycle.Component) bool { return !slices.Contains(inside, c.Name) })
		for n := range parts {
			if parts[n].Name == "readiness" {
				parts[n].Start = func(context.Context) error { a.ready.Store(true); return nil }
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- lifecycle.Run(ctx, zap.NewNop(), time.Minute, parts) }()
		for !a.ready.Load() {
			time.Sleep(time.Millisecond)
		}
		f(a)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// clientsOf lists the client records.
func clientsOf(a *app) (ids []string) {
	for c := range a.registry.World().Clients() {
		ids = append(ids, c.ID)
	}
	return ids
}

// reports lets clients report.
func reports(t *testing.T, a *app, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := a.naming.ReportClient(context.Background(), naming.Client{ID: id, Host: "10.0.0.1"}, naming.Actor{}); err != nil {
			t.Fatal(err)
		}
	}
}

// A client that reports stays, one that does not is removed after three times
// its interval; a restart gives everybody a fresh lease.
func TestClientRecordsLiveAsLongAsTheyReport(t *testing.T) {
	dir := t.TempDir()
	inBubble(t, dir, func(a *app) {
		reports(t, a, "alive", "dead")
		revision := a.registry.World().Revision()
		for range 2 {
			time.Sleep(2 * time.Minute)
			reports(t, a, "alive")
		}
		time.Sleep(119 * time.Second)
		if got := clientsOf(a); !slices.Equal(got, []string{"alive", "dead"}) || a.registry.World().Revision() != revision {
			t.Errorf("a second before the end of a lease: %v; reports of nothing new wrote %d revisions", got, a.registry.World().Revision()-revision)
		}
		time.Sleep(3 * time.Second)
		if got := clientsOf(a); !slices.Equal(got, []string{"alive"}) {
			t.Errorf("after the end of a lease: %v", got)
		}
		log, err := a.store.Before(context.Background(), 0, 1)
		if err != nil || log[0].Changes[0].Cause != naming.CauseLease {
			t.Errorf("the change log says %+v, %v; want %q", log, err, naming.CauseLease)
		}
		time.Sleep(3 * time.Minute)
		reports(t, a, "dead", "other") // it comes back as a new one
	})
	inBubble(t, dir, func(a *app) {
		time.Sleep(355 * time.Second)
		if got := clientsOf(a); len(got) != 3 {
			t.Errorf("after a restart: %v", got)
		}
		reports(t, a, "other")
		time.Sleep(10 * time.Second)
		if got := clientsOf(a); !slices.Equal(got, []string{"other"}) {
			t.Errorf("a fresh lease after the restart: %v", got)
		}
	})
}

// When most clients fall silent at once, their records are held: it is more
// likely that the server cannot hear them.
func TestClientRecordsAreNotRemovedInAMass(t *testing.T) {
	inBubble(t, t.TempDir(), func(a *app) {
		var ids []string
		for n := range 40 {
			ids = append(ids, fmt.Sprint("c", n))
		}
		for range 5 {
			reports(t, a, ids...)
			time.Sleep(2 * time.Minute)
		}
		for range 4 { // nine of ten are not heard any more
			reports(t, a, ids[:4]...)
			time.Sleep(2 * time.Minute)
		}
		if got := len(clientsOf(a)); got != 40 {
			t.Errorf("%d of 40 are left", got)
		}
		if s := a.reports.Suspects(); len(s) != 1 || s[0].Held != 36 {
			t.Errorf("held: %+v", s)
		}
	})
}

func TestClientTTLIsChecked(t *testing.T) {
	for _, bad := range []string{"0s", "1500ms", "2h"} {
		if _, _, err := loadConfig(flags(t, "--client.ttl", bad), nil); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

// registerMany registers n instances of default/cart with a TTL of 10 s.
func registerMany(t *testing.T, a *app, n int) (ids []string) {
	t.Helper()
	for i := range n {
		res, err := a.naming.Register(context.Background(), naming.Registration{
			Service: naming.ServiceKey{Namespace: "default", Name: "cart"}, Host: fmt.Sprint("10.0.0.", i), Port: new(uint32(80)),
			HealthCheck: true, TTL: 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, res.Instance.ID)
	}
	return ids
}

// beatFor lets instances beat each TTL for a time.
func beatFor(t *testing.T, a *app, ids []string, during time.Duration) {
	t.Helper()
	for range during / (10 * time.Second) {
		for _, id := range ids {
			if _, err := a.naming.Heartbeat(context.Background(), naming.Ref{ID: &id}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
	}
}

// healthy counts the healthy instances of default/cart.
func healthy(a *app) (n int) {
	st := a.registry.World().Service(naming.ServiceKey{Namespace: "default", Name: "cart"})
	for _, i := range st.Instances {
		if i.Healthy {
			n++
		}
	}
	return n
}

// Nine of ten instances fall silent at once: they are held, shown, and come back
// with their beats or expire by an operator's word, with his name and reason in
// the history.
func TestAMassLossIsHeldShownAndReleased(t *testing.T) {
	inBubble(t, t.TempDir(), func(a *app) {
		ids := registerMany(t, a, 50)
		beatFor(t, a, ids, time.Minute)
		beatFor(t, a, ids[:5], time.Minute)
		if n := healthy(a); n != 50 {
			t.Fatalf("%d of 50 are healthy half a minute after most were late", n)
		}
		held := a.guard.Held()
		if len(held) != 1 || held[0].Service != "cart" || held[0].Of != web.OfInstances || held[0].Held != 45 || held[0].Leases != 50 {
			t.Errorf("held: %+v", held)
		}
		if c := a.checkLeases(); !c.Ready || !strings.Contains(c.Text, "45 leases") {
			t.Errorf("readiness says %+v", c)
		}
		beatFor(t, a, ids[:25], 10*time.Second)
		if held = a.guard.Held(); len(held) != 1 || held[0].Held != 25 {
			t.Errorf("after the beats of some: %+v", held)
		}
		r := web.Release{
			Of: web.OfInstances, Service: naming.ServiceKey{Namespace: "default", Name: "cart"},
			Actor: naming.Actor{Principal: "ann"}, Reason: "rack 7 is off",
		}
		if n, err := a.guard.Release(r); n != 25 || err != nil {
			t.Errorf("%d were released, %v", n, err)
		}
		beatFor(t, a, ids[:25], 10*time.Second)
		if n := healthy(a); n != 25 {
			t.Errorf("%d are healthy after the release, want 25", n)
		}
		log, err := a.store.Before(context.Background(), 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if c := log[0].Changes[0]; c.Cause != naming.CauseLease || c.Actor.Principal != "ann" || c.Reason != "rack 7 is off" {
			t.Errorf("the change log says %+v", c)
		}
		// Later expiries are nobody's word.
		time.Sleep(2 * time.Minute)
		beatFor(t, a, ids[:24], 2*time.Minute)
		if log, err = a.store.Before(context.Background(), 0, 1); err != nil {
			t.Fatal(err)
		}
		if c := log[0].Changes[0]; c.Actor.Principal != "" || c.Reason != "" {
			t.Errorf("a later expiry is ascribed to %+v", c)
		}
		if c := a.checkLeases(); c.Text != "" {
			t.Errorf("when all is over readiness says %+v", c)
		}
	})
}

// What the guard lets through, and for how long it holds the rest, is as it is
// configured.
func TestTheGuardIsConfigured(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want int // of 50 that are healthy two minutes after 45 fell silent
	}{
		"as it is":      {nil, 50},
		"switched off":  {[]string{"--lease.guard-share", "100"}, 5},
		"many may go":   {[]string{"--lease.guard-min", "45"}, 5},
		"not many":      {[]string{"--lease.guard-min", "44"}, 50},
		"held for 10 s": {[]string{"--lease.guard-hold", "10s"}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, t.TempDir(), func(a *app) {
				ids := registerMany(t, a, 50)
				beatFor(t, a, ids, time.Minute)
				beatFor(t, a, ids[:5], 2*time.Minute)
				if n := healthy(a); n != c.want {
					t.Errorf("%d of 50 are healthy, want %d", n, c.want)
				}
			}, c.args...)
		})
	}
}

// Nine of ten instances deregister at once: that is no silence, and is followed
// at once. A tenth that falls silent expires in its time.
func TestAMassDeregistrationIsFollowedAtOnce(t *testing.T) {
	inBubble(t, t.TempDir(), func(a *app) {
		ids := registerMany(t, a, 50)
		beatFor(t, a, ids, time.Minute)
		began := time.Now()
		for _, id := range ids[5:] {
			if _, err := a.naming.Deregister(context.Background(), naming.Ref{ID: &id}, naming.Actor{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := healthy(a); n != 5 || time.Since(began) > time.Second || len(a.guard.Held()) != 0 {
			t.Errorf("%d are left after %s; held: %+v", n, time.Since(began), a.guard.Held())
		}
		beatFor(t, a, ids[:4], 40*time.Second)
		if n := healthy(a); n != 4 {
			t.Errorf("%d are healthy; one of five was silent", n)
		}
	})
}

// The guard over the wire: the list, the command, and what is asked for twice.
func TestTheGuardOnTheCommandLine(t *testing.T) {
	w := startWhole(t, t.TempDir(), func(c *Config) { c.Lease.Factor, c.Lease.Tick = 2, 50*time.Millisecond })
	for n := range 8 {
		w.registered(t, fmt.Sprint("10.0.0.", n), 1)
	}
	until(t, "eight of eight are held", func() bool { return strings.Contains(w.cli(t, "get", "guard"), "cart     8") })
	if out := w.cli(t, "guard", "release", "default/cart", "--reason", "all gone"); !strings.Contains(out, "8 leases expire now") {
		t.Error(out)
	}
	until(t, "they are unhealthy", func() bool { return healthy(w.app) == 0 })
	if out := w.cli(t, "history", "--service", "default/cart"); !strings.Contains(out, "all gone") {
		t.Errorf("the history does not tell why:\n%s", out)
	}
	w.refuse(t, []string{`"default/cart"`, "held"}, "guard", "release", "cart", "--reason", "again")
	w.refuse(t, []string{"reason"}, "guard", "release", "cart")
	w.refuse(t, []string{"the clients"}, "guard", "release", "--clients", "--reason", "x")
	for _, args := range [][]string{{}, {"a", "b"}, {"a", "--clients"}} {
		if _, err := run(t, append([]string{"guard", "release", "--reason", "x"}, args...)...); err == nil || !strings.Contains(err.Error(), "--clients") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// compacted is a store whose change log does not reach back far enough.
type compacted struct{ store.Store }

func (compacted) Tail(context.Context, naming.Revision, int) (naming.Tail, error) {
	return naming.Tail{}, store.ErrCompacted
}

// Leases are those of a world that was loaded anew: one that another server
// removed has none, and what it stored against the beats is written again.
func TestLeasesAfterALoad(t *testing.T) {
	inBubble(t, t.TempDir(), func(a *app) {
		ids := registerMany(t, a, 8)
		there, err := a.store.get()
		if err != nil {
			t.Fatal(err)
		}
		slower := *a.registry.World().Instance(ids[1])
		slower.TTL = 20
		_, rs, err := there.Apply(t.Context(), []naming.Write{ // as another server would
			&naming.Deregister{ID: ids[0]}, &naming.Register{Instance: slower}, &naming.SetHealth{ID: ids[2], Cause: naming.CauseLease},
		})
		if err != nil || rs[0].Err != nil || rs[1].Err != nil || rs[2].Err != nil {
			t.Fatal(rs, err)
		}
		a.store.set(compacted{there})
		a.follower.Fresh(t.Context())
		a.store.set(there)
		if _, known := a.leases.State(ids[0]); known {
			t.Error("an instance that is gone has a lease")
		}
		if s, known := a.leases.State(ids[1]); !known || s.TTL != 20*time.Second {
			t.Errorf("the lease of the instance with another TTL: %+v, %v", s, known)
		}
		time.Sleep(time.Second)
		if i := a.registry.World().Instance(ids[2]); !i.Healthy {
			t.Error("an instance in time stays unhealthy")
		}
	})
}

// A lease of an instance that is not stored ends when its time is up.
func TestALeaseOfNobodyEnds(t *testing.T) {
	inBubble(t, t.TempDir(), func(a *app) {
		ids := registerMany(t, a, 8)
		a.leases.TrackIn("nobody", naming.ServiceKey{Namespace: "default", Name: "cart"}, 10, true)
		beatFor(t, a, ids, 2*time.Minute)
		if s, known := a.leases.State("nobody"); known {
			t.Errorf("after two minutes: %+v", s)
		}
		if _, known := a.leases.State(ids[0]); !known || healthy(a) != 8 {
			t.Errorf("%d of 8 are healthy", healthy(a))
		}
	})
}
