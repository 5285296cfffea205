package main

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"polestar/internal/lifecycle"
	"polestar/naming"
)

// inBubble runs f with a whole server on fake time, but for its doors: nothing
// that waits on a real socket may live in a bubble.
func inBubble(t *testing.T, dir string, f func(a *app), set ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := defaultConfig()
		cfg.DataDir = dir
		for _, change := range set {
			change(&cfg)
		}
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
