package follow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/registry"
)

const (
	// share is how much of one core a comparison takes at most: it rests for so
	// many times as long as it worked.
	share = 4
	// stride is how many objects are compared between two rests.
	stride = 1000
	// maxRest keeps the rests below what the store's connection allows: five of
	// them come between two requests.
	maxRest = time.Second
	// confirmAfter is the time between two comparisons of which both must find
	// something before the world is loaded anew.
	confirmAfter = time.Second
	// maxCompare bounds one comparison; a million objects take a few minutes.
	maxCompare = 15 * time.Minute
	// maxNamed is how many differences are named; all are counted.
	maxNamed = 10
	// maxKept is how many snapshots are kept while the stored revision is asked for.
	maxKept = 1024
)

// Comparison is what comparing memory with the store found.
type Comparison struct {
	At          time.Time
	Revision    naming.Revision // that both had
	Objects     int             // that were compared
	Differences int
	Named       []string // some of the differences, at most maxNamed
	// Confirmed says that two comparisons in a row found differences.
	Confirmed bool
	// Kept says why the world was not loaded anew after that; empty: it was.
	Kept string
}

// Compare compares the visible world with the store from time to time, until
// ctx ends. What differs twice in a row is loaded anew.
func (f *Follower) Compare(ctx context.Context) error {
	if f.cfg.Compare == 0 {
		<-ctx.Done()
		return nil
	}
	// Servers that started together must not all read at once for ever.
	wait := f.cfg.Compare/2 + rand.N(f.cfg.Compare/2) //nolint:gosec // jitter
	for rest(ctx, wait) {
		if err := f.CompareNow(ctx); err != nil && ctx.Err() == nil {
			f.deps.Log.Info("memory could not be compared with the store", zap.Error(err))
		}
		wait = f.cfg.Compare
	}
	return nil
}

// CompareNow compares once, and once more when something differs; what differs
// again is loaded anew. One goroutine may call it at a time.
func (f *Follower) CompareNow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxCompare)
	defer cancel()
	c, err := f.compare(ctx, false)
	if err != nil {
		return err
	}
	if c.Differences > 0 {
		f.deps.Log.Warn("memory and store differ; it is looked at again", zap.Uint64("revision", uint64(c.Revision)),
			zap.Int("differences", c.Differences), zap.Strings("named", c.Named))
		if !rest(ctx, confirmAfter) {
			return context.Cause(ctx)
		}
		if c, err = f.compare(ctx, true); err != nil {
			return err
		}
		if c.Differences > 0 {
			f.heal(ctx, &c)
		} else {
			f.deps.Log.Info("memory and store are the same again")
		}
	}
	f.compared.Store(&c)
	f.meter.compared.Set(float64(c.At.UnixNano()) / 1e9)
	f.meter.comparedAt.Set(float64(c.Revision))
	f.meter.comparisons.Inc()
	return nil
}

// heal loads the world anew: the store is the only source of truth.
func (f *Follower) heal(ctx context.Context, c *Comparison) {
	c.Confirmed = true
	f.meter.differences.Add(float64(c.Differences))
	f.deps.Log.Error("memory and store differ; the world is loaded anew", zap.Uint64("revision", uint64(c.Revision)),
		zap.Int("differences", c.Differences), zap.Strings("named", c.Named))
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.reload(ctx, "memory and store differed", false)
	switch {
	case errors.Is(err, errShrink):
		c.Kept = errShrink.Error()
	case err != nil:
		c.Kept = "the store could not be read"
		f.deps.Log.Error("the world could not be loaded anew", zap.Error(err))
	}
}

// Compared returns the last comparison, nil before the first.
func (f *Follower) Compared() *Comparison { return f.compared.Load() }

// compare reads the store and compares each object with memory at the same
// revision. Nothing that commits wait for is held while the store is read.
// What only memory has is counted; finding out what it is takes memory, so it
// is named only when that is asked for.
func (f *Follower) compare(ctx context.Context, name bool) (c Comparison, err error) {
	f.keep(true)
	defer f.keep(false)
	var world *registry.Snapshot
	found, seen := 0, map[naming.Object]struct{}{}
	pace := pacer{ctx: ctx, began: time.Now()}
	err = f.deps.Feed.Scan(ctx, func(at naming.Revision) (err error) {
		c.Revision = at
		world, err = f.at(ctx, at)
		return err
	}, func(stored naming.Object) error {
		c.Objects++
		here := world.Object(stored.ObjectKind(), stored.ObjectKey())
		switch {
		case here == nil:
			c.differ(stored, "is only in the store")
		case !naming.Same(here, stored):
			c.differ(stored, changes(here, stored))
		}
		if here != nil {
			found++
			if name {
				seen[here] = struct{}{}
			}
		}
		return pace.step()
	})
	if err != nil {
		return c, err
	}
	missing := world.Len() - found
	if missing > 0 && name {
		missing = 0
		for here := range world.Objects() {
			if _, stored := seen[here]; !stored {
				c.differ(here, "is not in the store")
			}
		}
	}
	c.Differences += missing
	c.At = time.Now()
	f.deps.Log.Debug("memory was compared with the store", zap.Uint64("revision", uint64(c.Revision)), zap.Int("objects", c.Objects),
		zap.Duration("worked", pace.worked), zap.Duration("took", time.Since(pace.began)))
	return c, nil
}

// keep begins to keep snapshots, or ends it.
func (f *Follower) keep(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept = nil; on {
		f.kept = []*registry.Snapshot{f.deps.Registry.Snapshot()}
	}
}

// at returns the world at a stored revision, which may be newer than what is
// visible, and is seldom older than what was when compare began. Then no
// snapshots are kept any more.
func (f *Follower) at(ctx context.Context, rev naming.Revision) (*registry.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.kept = nil }()
	if f.visible() < rev {
		if err := f.catchUp(ctx, rev, true); err != nil {
			return nil, err
		}
	}
	for _, s := range f.kept {
		if s.Revision() == rev {
			return s, nil
		}
	}
	return nil, fmt.Errorf("the world of revision %d is not known any more", rev)
}

// differ counts a difference, and names it while there are few.
func (c *Comparison) differ(o naming.Object, how string) {
	if c.Differences++; len(c.Named) < maxNamed {
		s := naming.SubjectOf(o)
		words := slices.DeleteFunc([]string{s.Kind, s.Service.Namespace, s.Service.Name, s.Host, s.ID, how}, func(w string) bool { return w == "" })
		c.Named = append(c.Named, strings.Join(words, " "))
	}
}

// changes tells in words what memory and store have otherwise.
func changes(here, stored naming.Object) string {
	diffs := naming.Differences(&naming.Change{Before: here, After: stored})
	if len(diffs) == 0 {
		return fmt.Sprintf("differs in times or revision, %d here, %d in the store", here.ObjectRevision(), stored.ObjectRevision())
	}
	var out []string
	for _, d := range diffs {
		out = append(out, fmt.Sprintf("%s: %.64s here, %.64s in the store", d.Field, fmt.Sprint(d.Before), fmt.Sprint(d.After)))
	}
	return "differs in " + strings.Join(out[:min(len(out), 3)], "; ")
}

// pacer keeps a comparison from taking more than its share of the time.
type pacer struct {
	ctx    context.Context //nolint:containedctx // it lives as long as one call
	began  time.Time
	resume time.Time // when the last rest ended; zero: there was none
	n      int
	worked time.Duration
}

// step rests after some objects.
func (p *pacer) step() error {
	if p.n++; p.n%stride > 0 {
		return nil
	}
	since := p.resume
	if since.IsZero() {
		since = p.began
	}
	busy := time.Since(since)
	p.worked += busy
	if !rest(p.ctx, min((share-1)*busy, maxRest)) {
		return context.Cause(p.ctx)
	}
	p.resume = time.Now()
	return nil
}
