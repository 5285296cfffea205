package follow_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"polestar/naming"
	"polestar/naming/follow"
	"polestar/store"
	"polestar/store/memory"
	"polestar/store/storetest"
)

// damaged is a store in which somebody changed rows by hand.
type damaged struct {
	*memory.Store
	row   atomic.Pointer[func(naming.Object) naming.Object] // what became of a row; nil: it is gone
	added atomic.Pointer[naming.Instance]
	scans atomic.Int32
}

func (d *damaged) damage(f func(naming.Object) naming.Object) { d.row.Store(&f) }

func (d *damaged) through(visit func(naming.Object) error) func(naming.Object) error {
	return func(o naming.Object) error {
		if row := d.row.Load(); row != nil {
			if o = (*row)(o); o == nil {
				return nil
			}
		}
		return visit(o)
	}
}

func (d *damaged) Load(ctx context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
	if i := d.added.Load(); i != nil {
		if err := visit(i); err != nil {
			return 0, err
		}
	}
	return d.Store.Load(ctx, d.through(visit), touched)
}

func (d *damaged) Scan(ctx context.Context, at func(naming.Revision) error, visit func(naming.Object) error) error {
	d.scans.Add(1)
	err := d.Store.Scan(ctx, at, d.through(visit))
	if i := d.added.Load(); i != nil && err == nil {
		err = visit(i)
	}
	return err
}

// metric reads one of a node's counters or gauges.
func (n *node) metric(t *testing.T, name string) (v float64) {
	t.Helper()
	all, err := n.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			v += f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return v
}

// A row that was changed, removed or added by hand is found, named, counted,
// and shown as it is stored.
func TestWhatDiffersIsLoadedAnew(t *testing.T) {
	broken := storetest.Instance("svc", 1)
	for name, c := range map[string]struct {
		damage func(d *damaged)
		named  string
		healed func(n *node) bool
	}{
		"changed": {func(d *damaged) {
			d.damage(func(o naming.Object) naming.Object {
				if i, ok := o.(*naming.Instance); ok && i.ID == broken.ID {
					other := *i
					other.Weight = 7
					return &other
				}
				return o
			})
		}, "weight: 100 here, 7 in the store", func(n *node) bool { return n.registry.World().Instance(broken.ID).Weight == 7 }},
		"removed": {func(d *damaged) {
			d.damage(func(o naming.Object) naming.Object {
				if o.ObjectKey() == broken.ID {
					return nil
				}
				return o
			})
		}, "10.0.0.1 " + broken.ID + " is not in the store", func(n *node) bool { return n.registry.World().Instance(broken.ID) == nil }},
		"added": {func(d *damaged) {
			i := storetest.Instance("svc", 99)
			d.added.Store(&i)
		}, "10.0.0.99 " + storetest.Instance("svc", 99).ID + " is only in the store", func(n *node) bool {
			return n.registry.World().Instance(storetest.Instance("svc", 99).ID) != nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &damaged{Store: memory.New(store.DefaultLogBounds())}
				n := newNode(t, s, s)
				for k := range 10 {
					n.register(t, "svc", k)
				}
				check(t, n)
				if c := n.follower.Compared(); c.Differences != 0 || c.Revision != 10 || c.Objects != 12 || n.metric(t, "polestar_follow_compared_revision") != 10 {
					t.Fatalf("an undamaged store: %+v", c)
				}
				c.damage(s)
				check(t, n)
				got := n.follower.Compared()
				if got.Differences != 1 || !got.Confirmed || got.Kept != "" || len(got.Named) != 1 || !strings.Contains(got.Named[0], c.named) || !strings.Contains(got.Named[0], "ns svc") {
					t.Errorf("found %+v, want %q", got, c.named)
				}
				if counted := n.metric(t, "polestar_follow_differences_total"); counted != 1 || n.loaded.Load() != 1 || !c.healed(n) {
					t.Errorf("%v counted, loaded %d times, healed: %v", counted, n.loaded.Load(), c.healed(n))
				}
				check(t, n)
				if c := n.follower.Compared(); c.Differences != 0 || c.Confirmed || n.metric(t, "polestar_follow_comparisons_total") != 3 {
					t.Errorf("after it: %+v", c)
				}
			})
		})
	}
}

func check(t *testing.T, n *node) {
	t.Helper()
	if err := n.follower.CompareNow(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A store that lacks too much is not believed, however often that is seen; and
// what is there again at the second look was never wrong.
func TestDifferencesAreLookedAtTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &damaged{Store: memory.New(store.DefaultLogBounds())}
		n := newNode(t, s, s)
		for k := range 10 {
			n.register(t, "svc", k)
		}
		s.damage(func(o naming.Object) naming.Object {
			if o.ObjectKind() == naming.KindInstance && s.scans.Load() == 1 {
				return nil
			}
			return o
		})
		check(t, n)
		if c := n.follower.Compared(); c.Differences != 0 || n.loaded.Load() != 0 || s.scans.Load() != 2 {
			t.Errorf("seen once: %+v, loaded %d times after %d scans", c, n.loaded.Load(), s.scans.Load())
		}
		s.damage(func(o naming.Object) naming.Object {
			if o.ObjectKind() == naming.KindInstance {
				return nil
			}
			return o
		})
		check(t, n)
		_, _, instances, _ := n.registry.Snapshot().Counts()
		if c := n.follower.Compared(); !c.Confirmed || c.Kept == "" || c.Differences != 10 || instances != 10 || n.metric(t, "polestar_follow_shrinks_total") != 1 {
			t.Errorf("an emptied store: %+v, %d instances left", c, instances)
		}
	})
}

// Comparisons come by themselves, at their pace or never.
func TestComparisonsComeByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &damaged{Store: memory.New(store.DefaultLogBounds())}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		on := newNode(t, s, s)
		off := newNode(t, s, s, func(c *follow.Config) { c.Compare = 0 })
		for _, n := range []*node{on, off} {
			go func() { done <- n.follower.Compare(ctx) }()
		}
		time.Sleep(10*time.Minute + time.Second)
		if got := s.scans.Load(); got != 10 || off.follower.Compared() != nil {
			t.Errorf("%d comparisons in ten minutes; where they are off: %+v", got, off.follower.Compared())
		}
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	for compare, ok := range map[time.Duration]bool{0: true, time.Second: true, time.Millisecond: false, 25 * time.Hour: false} {
		cfg := follow.Default()
		cfg.Compare = compare
		if err := cfg.Validate(); (err == nil) != ok {
			t.Errorf("cluster.compare %s: %v", compare, err)
		}
	}
}

// However writers race, memory and store are compared at one revision: ten
// thousand comparisons find nothing.
func TestNoWriteIsADifference(t *testing.T) {
	s := memory.New(store.DefaultLogBounds())
	a, b := newNode(t, s, s), newNode(t, s, s)
	turns := make(chan struct{}) // each comparison races with a write
	var wg sync.WaitGroup
	for k, n := range []*node{a, b} {
		wg.Go(func() {
			i := 0
			for range turns {
				i++
				n.register(t, fmt.Sprint("svc", k), i%10)
				if i%3 == 0 {
					c, _, err := s.Apply(t.Context(), []naming.Write{&naming.Deregister{ID: storetest.Instance(fmt.Sprint("svc", k), i%10).ID}})
					if err == nil {
						err = n.follower.Commit(t.Context(), c, c.Revision)
					}
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	moved := map[naming.Revision]bool{}
	for range 5000 {
		for _, n := range []*node{a, b} {
			turns <- struct{}{}
			if err := n.follower.CompareNow(t.Context()); err != nil {
				t.Fatal(err)
			}
			c := n.follower.Compared()
			if moved[c.Revision] = true; c.Differences != 0 {
				t.Fatalf("%+v", c)
			}
		}
	}
	close(turns)
	wg.Wait()
	if len(moved) < 100 {
		t.Errorf("only %d revisions were compared: nobody wrote meanwhile", len(moved))
	}
	if n := a.metric(t, "polestar_follow_comparisons_total") + b.metric(t, "polestar_follow_comparisons_total"); n != 10_000 {
		t.Errorf("%v comparisons", n)
	}
}
