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
	// Since returns the commits after a revision in order and without gaps, at
	// most limit of them. An error of kind NotFound: the log does not reach back
	// so far.
	Since(ctx context.Context, after naming.Revision, limit int) ([]naming.Commit, error)
	// Load visits everything as of the revision that it returns.
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

// Hint says that a revision exists; the follower looks at once if it is newer
// than what is visible.
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
	if newest <= f.visible() {
		return nil // it was so before, or the log was read in between
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch now := f.visible(); {
	case newest <= now:
		return nil
	case c.Revision == now+1 && newest == c.Revision:
		return f.apply(&c)
	}
	f.meter.gaps.Inc()
	return f.catchUp(ctx, newest)
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
	if err := f.catchUp(ctx, 0); err != nil {
		f.deps.Log.Debug("the store cannot be read", zap.Error(err))
	}
}

// Run follows the store until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	timer := time.NewTimer(f.cfg.Poll)
	defer timer.Stop()
	for attempt := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
			attempt = 0
		case <-timer.C:
		}
		f.look(ctx)
		wait := f.cfg.Poll
		if uint64(f.deps.Registry.World().Revision()) < f.hint.Load() && attempt < len(again) {
			wait = again[attempt]
			attempt++
		}
		timer.Reset(wait)
	}
}

// look reads what is new.
func (f *Follower) look(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.catchUp(ctx, 0)
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
// revision is visible. The caller holds mu.
func (f *Follower) catchUp(ctx context.Context, until naming.Revision) error {
	for attempt := 0; ; {
		f.looks.Add(1)
		commits, err := f.deps.Feed.Since(ctx, f.visible(), batchSize)
		if naming.KindOf(err) == naming.NotFound {
			err = f.reload(ctx, "the change log does not reach back far enough")
		}
		if err != nil {
			return err
		}
		for n := range commits {
			if err := f.apply(&commits[n]); err != nil {
				return err
			}
		}
		switch {
		case len(commits) == batchSize:
		case f.visible() >= until:
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

func (f *Follower) apply(c *naming.Commit) error {
	if err := f.deps.Registry.Apply(*c); err != nil {
		return err
	}
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

// reload reads the whole world. The caller holds mu.
func (f *Follower) reload(ctx context.Context, why string) error {
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
	if instances < before-before*f.cfg.MaxShrink/100 {
		f.meter.shrinks.Inc()
		f.refused = time.Now()
		f.deps.Log.Error(errShrink.Error(), zap.Int("visible", before), zap.Int("stored", instances))
		return errShrink
	}
	if err := l.Publish(head); err != nil {
		return err
	}
	f.deps.Log.Warn("the world was loaded anew", zap.String("why", why), zap.Uint64("revision", uint64(head)))
	f.deps.Loaded()
	return nil
}
