package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
	"polestar/store"
)

// away is a store that refuses every write.
type away struct{ store.Store }

func (away) Apply(context.Context, []naming.Write) (naming.Commit, []naming.Result, error) {
	return naming.Commit{}, nil, naming.Errorf(naming.StoreFailed, "", "nothing was done")
}

// A new SDK process reports before it asks for anything: while the store
// refuses or hangs it is told where it runs, and reads what the server knows.
// The next report after that is recorded.
func TestNewClientsReadWhileTheStoreIsAway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cmdb.yaml")
	if err := os.WriteFile(file, []byte("- {cidr: 10.0.0.9/32, region: r, zone: z, campus: c}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := startWhole(t, t.TempDir(), patient, func(c *Config) { c.CmdbFile = file })
	w.register(t, 1)
	there, err := w.store.get()
	if err != nil {
		t.Fatal(err)
	}
	report := func(id string) *service_manage.Response {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		res, err := w.polaris.ReportClient(ctx, &service_manage.Client{Id: wrapperspb.String(id), Host: wrapperspb.String("10.0.0.9")})
		if err != nil || res.GetCode().GetValue() != 200000 || res.GetClient().GetLocation().GetZone().GetValue() != "z" {
			t.Fatalf("%s: %v, %v", id, res, err)
		}
		return res
	}
	unrecorded := func(id string, count float64) {
		t.Helper()
		if res := report(id); res.GetClient().GetMtime() != nil {
			t.Errorf("%s is said to be recorded: %v", id, res)
		}
		if got := w.discovered(t); len(got) != 1 {
			t.Errorf("Discover meanwhile shows %v", got)
		}
		if got := w.metric(t, "polestar_client_reports_unrecorded_total"); got != count {
			t.Errorf("%v reports counted, want %v", got, count)
		}
	}
	w.store.set(away{there})
	unrecorded("refused", 1)
	w.store.set(there)
	release := w.hold(t)
	unrecorded("hanging", 2)
	release()
	w.store.set(there)
	for _, id := range []string{"refused", "hanging"} {
		if w.registry.World().Client(id) != nil {
			t.Errorf("%s is recorded: its caller had gone", id)
		}
		if res := report(id); res.GetClient().GetMtime() == nil || w.registry.World().Client(id) == nil {
			t.Errorf("%s is not recorded when the store is back: %v", id, res)
		}
	}
}

// once is a store that cannot be read the first time.
type once struct {
	store.Store
	asked int
}

func (o *once) Sync(ctx context.Context) (naming.Revision, error) {
	if o.asked++; o.asked == 1 {
		return 0, naming.Errorf(naming.StoreFailed, "", "frozen")
	}
	return o.Store.Sync(ctx)
}

// A database that was opened late, and could not be read then, is read again,
// not opened again.
func TestADatabaseThatIsBackIsOpenedOnce(t *testing.T) {
	inBubble(t, t.TempDir(), func(a *app) {
		there, err := a.store.get()
		if err != nil {
			t.Fatal(err)
		}
		opened := &once{Store: there}
		a.store.set(opened)
		a.stale.Store(true)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- a.reach(ctx) }()
		time.Sleep(5 * time.Second)
		if a.stale.Load() || opened.asked != 2 {
			t.Errorf("stale: %v, asked %d times", a.stale.Load(), opened.asked)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
