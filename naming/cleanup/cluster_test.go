package cleanup_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polestar/naming"
	"polestar/naming/cleanup"
	"polestar/store"
)

// rows are the deleted ones of a shared store.
type rows struct {
	fail error

	mu                sync.Mutex // guards everything below
	left, calls, most int
	by                naming.Fence
}

func (r *rows) Purgeable(context.Context, time.Duration) (int, error) { return r.left, r.fail }

func (r *rows) Purge(_ context.Context, by naming.Fence, _ time.Duration, limit int) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(r.left, limit)
	r.left, r.calls, r.by, r.most = r.left-n, r.calls+1, by, max(r.most, limit)
	return n, r.fail
}

// fencing is a writer that puts a fence around each write.
type fencing struct {
	naming.Writer
	fence naming.Fence
}

func (f fencing) Do(ctx context.Context, w naming.Write) (naming.Result, error) {
	return f.Writer.Do(ctx, &naming.Fenced{Write: w, Fence: f.fence})
}

// shared makes a cleaner of one server of a cluster.
func (w *world) shared(cfg cleanup.Config, r *rows, lead func() (naming.Fence, bool)) *cleanup.Cleaner {
	w.t.Helper()
	d := w.deps()
	d.Rows, d.Lead = r, lead
	d.Fenced = func(f naming.Fence) cleanup.Admin {
		return naming.NewRegistrar(naming.Config{}, naming.Deps{Writer: fencing{w, f}, World: w.Registry})
	}
	c, err := cleanup.New(cfg, d)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// Of the servers of a cluster one runs the jobs for all; each runs that for the
// leases that it watches over. Who was overtaken in the middle of a run writes
// nothing more.
func TestOneServerCleansUpForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, store.DefaultLogBounds())
		w.do(instance("dead", 5), sick("dead"), instance("away", 5), isolate("away"), &naming.Deregister{ID: "away"})
		lead := func(server string, term time.Duration) *naming.Leader {
			l, err := w.Lead(t.Context(), "d", server, term)
			if err != nil || l.ID != server {
				t.Fatal(l, err)
			}
			return &l
		}
		var known atomic.Pointer[naming.Leader] // nil: another server leads
		r := &rows{left: 450}
		c := w.shared(ages(func(c *cleanup.Config) { c.UnhealthyInstances, c.Overrides = 3*time.Hour, 3*time.Hour }), r,
			func() (f naming.Fence, leads bool) {
				if l := known.Load(); l != nil {
					return l.Fence(), true
				}
				return f, false
			})
		run(t, c)
		overrides := func() (n int) {
			for range w.World().Overrides() {
				n++
			}
			return n
		}
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if w.World().Instance("dead") != nil || overrides() != 1 || r.calls != 0 {
			t.Errorf("another server leads: dead is %v, %d overrides, %d purges", w.World().Instance("dead"), overrides(), r.calls)
		}
		r.mu.Unlock()
		known.Store(lead("me", 0))
		lead("other", 0) // and this server does not know it yet
		time.Sleep(time.Hour)
		synctest.Wait()
		last := c.Status()[2].Last
		if overrides() != 1 || last == nil || naming.KindOf(last.Err) != naming.Conflict || last.Removed+last.Kept != 0 {
			t.Errorf("a late write was done: %d overrides, %+v", overrides(), last)
		}
		known.Store(lead("me", time.Hour))
		time.Sleep(time.Hour)
		synctest.Wait()
		r.mu.Lock()
		if overrides() != 0 || r.left != 0 || r.by != known.Load().Fence() || r.most > 1000 || counted(t, w, "deleted-rows") != 450 {
			t.Errorf("%d overrides and %d rows are left; purged by %+v, %d at once", overrides(), r.left, r.by, r.most)
		}
	})
}

// Rows of what was deleted can be counted and purged by hand, on any server, at
// any time; where there are none the job is not shown.
func TestDeletedRowsByHand(t *testing.T) {
	w := newWorld(t, store.DefaultLogBounds())
	r := &rows{left: 3}
	c := w.shared(cleanup.Default(), r, func() (naming.Fence, bool) { return naming.Fence{}, false })
	ask := cleanup.Request{Job: cleanup.DeletedRows, DryRun: true}
	if got, err := c.Do(t.Context(), ask); err != nil || got.Rows != 3 || got.Removed != 0 || got.Age != 7*24*time.Hour {
		t.Errorf("counted %+v, %v", got, err)
	}
	ask.DryRun = false
	if got, err := c.Do(t.Context(), ask); err != nil || got.Removed != 3 || r.by != (naming.Fence{}) {
		t.Errorf("purged %+v by %+v, %v", got, r.by, err)
	}
	r.fail = errors.New("no disk")
	if got, err := c.Do(t.Context(), ask); err != nil || !errors.Is(got.Err, r.fail) {
		t.Errorf("a store that fails: %+v, %v", got, err)
	}
	w.metrics = prometheus.NewRegistry()
	alone := w.cleaner(cleanup.Default())
	if _, err := alone.Do(t.Context(), ask); naming.KindOf(err) != naming.Invalid || len(alone.Status()) != 3 {
		t.Errorf("a store that keeps none: %v", err)
	}
}
