package follow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/registry"
)

// Config of a follower.
type Config struct {
	Poll time.Duration // between two looks without a hint, 10 ms…1 min
	// MaxShrink is the share of instances, in percent, that may be missing from
	// a world that is loaded anew, 1…100. More is taken for a damaged store: the
	// old world stays.
	MaxShrink int
	// Compare is the time between two comparisons of memory and store, 1 s…24 h;
	// 0: never.
	Compare time.Duration
}

// Default returns a poll of 500 ms, 30 percent, and a comparison each minute.
func Default() Config {
	return Config{Poll: 500 * time.Millisecond, MaxShrink: 30, Compare: time.Minute}
}

// Validate returns an error that names the key and its bound.
func (c Config) Validate() error {
	switch {
	case c.Poll < 10*time.Millisecond || c.Poll > time.Minute:
		return fmt.Errorf("cluster.poll: %s is not between 10ms and 1m", c.Poll)
	case c.MaxShrink < 1 || c.MaxShrink > 100:
		return fmt.Errorf("cluster.max-shrink: %d is not between 1 and 100 percent", c.MaxShrink)
	case c.Compare != 0 && (c.Compare < time.Second || c.Compare > 24*time.Hour):
		return fmt.Errorf("cluster.compare: %s is neither 0 nor between 1s and 24h", c.Compare)
	}
	return nil
}

// Feed is what a follower reads of the store.
type Feed interface {
	// Tail returns the log from a revision on, with at most limit commits. An error
	// of kind NotFound: the log does not reach back so far.
	Tail(ctx context.Context, after naming.Revision, limit int) (naming.Tail, error)
	// Sync returns the newest revision, and then no crash takes it back.
	Sync(ctx context.Context) (naming.Revision, error)
	// Load visits everything as of the revision that it returns, which no crash
	// takes back.
	Load(ctx context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error)
	// Scan visits every object as of the revision that it tells first, without
	// stopping writers; it holds no more than a page of them in memory.
	Scan(ctx context.Context, at func(naming.Revision) error, visit func(naming.Object) error) error
}

// Deps are what a follower reads, fills and tells.
type Deps struct {
	Feed     Feed
	Registry *registry.Registry
	// Applied is told each commit after it became visible, in order.
	Applied func(c *naming.Commit)
	// Loaded is told that the world was loaded anew.
	Loaded  func()
	Metrics prometheus.Registerer
	Log     *zap.Logger
}

// Follower keeps one registry up to date.
type Follower struct {
	cfg   Config
	deps  Deps
	meter meter
	wake  chan struct{} // buffered 1: "look now"; carries no data
	hint  atomic.Uint64 // the newest revision that somebody spoke of
	looks atomic.Uint64 // readings of the log that have begun
	since atomic.Int64  // unix nanoseconds since when the store cannot be read; 0: it can

	compared atomic.Pointer[Comparison] // the last one

	mu   sync.Mutex           // held while commits are applied; guards everything below
	kept []*registry.Snapshot // those since a comparison asked for them; nil: nobody did
	sure naming.Revision      // no crash takes it back, nor what is before it
	last naming.Record        // of the newest revision that is visible; zero: not known yet
	// When a loaded world was refused last; zero: never.
	refused time.Time
}

// batchSize is how many commits are read at a time.
const batchSize = 500

// again are the waits before the log is read again after a hint that it does
// not confirm yet: the reading database node may lag behind the writing one.
var again = [...]time.Duration{2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond}

// New makes a follower; nothing happens before [Follower.Run].
func New(cfg Config, d Deps) (*Follower, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	f := &Follower{cfg: cfg, deps: d, meter: newMeter(), wake: make(chan struct{}, 1)}
	return f, f.meter.register(d.Metrics)
}

// Hint says that a revision was committed and answered, so that it is on the
// disk; the follower looks at once if it is newer than what is visible.
func (f *Follower) Hint(r naming.Revision) {
	for {
		old := f.hint.Load()
		if uint64(r) <= old {
			return
		}
		if f.hint.CompareAndSwap(old, uint64(r)) {
			break
		}
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Commit makes an own commit visible, and those of others before it; one that
// changed nothing has revision 0. On return without an error everything up to
// the revision newest is visible.
func (f *Follower) Commit(ctx context.Context, c naming.Commit, newest naming.Revision) error {
	if c.Revision == 0 && newest <= f.visible() {
		return nil // it was so before
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.visible()
	switch {
	case newest <= now && (c.Revision == 0 || c.Revision == now && !c.Record.Differs(f.last)):
		return nil // the log was read in between
	case c.Revision == now+1 && newest == c.Revision && !c.After.Differs(f.last):
		return f.apply(&c)
	}
	if newest > now {
		f.meter.gaps.Inc()
	}
	f.sure = max(f.sure, newest)
	return f.catchUp(ctx, newest, false)
}

// Fresh makes everything visible that was committed before the call, if the
// store can be read in time.
func (f *Follower) Fresh(ctx context.Context) {
	began := f.looks.Load()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looks.Load() > began {
		return // another look began and ended meanwhile
	}
	if err := f.catchUp(ctx, 0, true); err != nil {
		f.deps.Log.Debug("the store cannot be read", zap.Error(err))
	}
}

// Run follows the store until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	timer := time.NewTimer(f.cfg.Poll)
	defer timer.Stop()
	wait := f.cfg.Poll
	for attempt := 0; ; {
		all := false
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
			attempt = 0
		case <-timer.C:
			all = wait == f.cfg.Poll
		}
		f.look(ctx, all)
		wait = f.cfg.Poll
		if uint64(f.deps.Registry.World().Revision()) < f.hint.Load() && attempt < len(again) {
			wait = again[attempt]
			attempt++
		}
		timer.Reset(wait)
	}
}

// look reads what is new: all, or what is known to be on the disk.
func (f *Follower) look(ctx context.Context, all bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.catchUp(ctx, 0, all)
	switch was := f.since.Load(); {
	case ctx.Err() != nil:
	case err == nil && was != 0:
		f.since.Store(0)
		f.deps.Log.Info("the store can be read again", zap.Duration("after", time.Since(time.Unix(0, was))))
	case err != nil && was == 0:
		f.since.Store(time.Now().UnixNano())
		f.deps.Log.Error("the store cannot be read; this node goes on with what it has", zap.Error(err))
	case err != nil:
		f.deps.Log.Debug("the store still cannot be read", zap.Error(err))
	}
	f.meter.cutOff.Set(float64(f.since.Load()) / 1e9)
}

// CutOff returns since when the store cannot be read; the zero time when it
// can.
func (f *Follower) CutOff() time.Time {
	if at := f.since.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

func (f *Follower) visible() naming.Revision { return f.deps.Registry.World().Revision() }

// catchUp applies commits of the log until there are no more, and until a
// revision is visible; what is not known to be on the disk only when all is
// asked for. The caller holds mu.
func (f *Follower) catchUp(ctx context.Context, until naming.Revision, all bool) error {
	for attempt := 0; ; {
		if all {
			f.looks.Add(1)
		}
		t, err := f.tail(ctx, all)
		short := err == nil && t.Head < f.visible()
		switch {
		case naming.KindOf(err) == naming.NotFound:
			err = f.reload(ctx, "the change log does not reach back far enough", false)
		case err != nil:
		case short && attempt == len(again), !short && t.At.Differs(f.last):
			err = f.takeBack(ctx, &t)
			t, short = naming.Tail{}, false
		case !short:
			err = f.applyAll(&t)
		}
		if err != nil {
			return err
		}
		switch {
		case len(t.Commits) == batchSize:
		case f.visible() >= until && !short:
			return nil
		case attempt == len(again):
			return fmt.Errorf("revision %d is not in the change log yet", until)
		default:
			if !rest(ctx, again[attempt]) {
				return context.Cause(ctx)
			}
			attempt++
		}
	}
}

// tail reads the log. A commit can be read a moment before it is on the disk,
// and a database that crashes just then forgets it. Nobody is to be shown such a
// one: it is left out, or, when all is asked for, waited for.
func (f *Follower) tail(ctx context.Context, all bool) (naming.Tail, error) {
	t, err := f.deps.Feed.Tail(ctx, f.visible(), batchSize)
	if err == nil && all && f.countSure(&t) < len(t.Commits) {
		head, bad := f.deps.Feed.Sync(ctx)
		if bad != nil { // what is sure can be shown all the same
			f.deps.Log.Debug("the store does not say what is on its disk", zap.Error(bad))
		}
		f.sure = max(f.sure, head)
		t, err = f.deps.Feed.Tail(ctx, f.visible(), batchSize) // what was read before may be gone
	}
	t.Commits = t.Commits[:f.countSure(&t)]
	return t, err
}

// countSure counts the commits that no crash takes back.
func (f *Follower) countSure(t *naming.Tail) int {
	sure := max(f.sure, naming.Revision(f.hint.Load()))
	n := len(t.Commits)
	for n > 0 && t.Commits[n-1].Revision > sure {
		n--
	}
	return n
}

func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// applyAll applies the commits that a look found.
func (f *Follower) applyAll(t *naming.Tail) error {
	if f.last == (naming.Record{}) {
		f.last = t.At // after a load the log says what was loaded
	}
	for n := range t.Commits {
		if err := f.apply(&t.Commits[n]); err != nil {
			return err
		}
	}
	return nil
}

// takeBack loads the world anew because the log has something else where this
// server has been: the database crashed, or was restored, and forgot what it
// had shown. Nobody was told that it was done, for a commit is answered when it
// is on the disk; but what was decided since has the same revisions.
func (f *Follower) takeBack(ctx context.Context, t *naming.Tail) error {
	visible := f.visible()
	if err := f.reload(ctx, "the change log was rewritten", true); err != nil {
		return err
	}
	f.meter.rewrites.Inc()
	f.deps.Log.Error("the change log was rewritten: the database forgot commits that this server had shown",
		zap.Uint64("visible", uint64(visible)), zap.Uint64("stored", uint64(t.Head)))
	return nil
}

func (f *Follower) apply(c *naming.Commit) error {
	if err := f.deps.Registry.Apply(*c); err != nil {
		return err
	}
	f.last = c.Record
	if f.kept != nil && len(f.kept) < maxKept {
		f.kept = append(f.kept, f.deps.Registry.Snapshot())
	}
	f.deps.Applied(c)
	return nil
}

// errShrink says that a loaded world lacks too much.
var errShrink = errors.New("too many instances are missing from the store without a record of their removal; this node keeps what it has")

// refusedRest is how long nothing is loaded after a loaded world was refused:
// every look and every write would read all of the store again.
const refusedRest = 10 * time.Second

// few is how many instances a database that crashed may have forgotten of a
// small world. It never forgets all.
const few = 10

// reload reads the whole world, which may be an older one when the log went
// back. The caller holds mu.
func (f *Follower) reload(ctx context.Context, why string, back bool) error {
	if !f.refused.IsZero() && time.Since(f.refused) < refusedRest {
		return errShrink
	}
	f.meter.reloads.Inc()
	l := f.deps.Registry.Load()
	instances := 0
	head, err := f.deps.Feed.Load(ctx, func(o naming.Object) error {
		if o.ObjectKind() == naming.KindInstance {
			instances++
		}
		return l.Add(o)
	}, l.Touched)
	if err != nil {
		return err
	}
	_, _, before, _ := f.deps.Registry.Snapshot().Counts()
	allowed := before * f.cfg.MaxShrink / 100
	if back && instances > 0 {
		allowed = max(allowed, few)
	}
	if before-instances > allowed {
		f.meter.shrinks.Inc()
		f.refused = time.Now()
		f.deps.Log.Error(errShrink.Error(), zap.Int("visible", before), zap.Int("stored", instances))
		return errShrink
	}
	publish := l.Publish
	if back {
		publish = l.Replace
	}
	if err := publish(head); err != nil {
		return err
	}
	f.last = naming.Record{}
	if f.kept != nil {
		f.kept = []*registry.Snapshot{f.deps.Registry.Snapshot()}
	}
	f.sure = head
	if back {
		f.hint.Store(min(f.hint.Load(), uint64(head)))
	}
	f.deps.Log.Warn("the world was loaded anew", zap.String("why", why), zap.Uint64("revision", uint64(head)))
	f.deps.Loaded()
	return nil
}
