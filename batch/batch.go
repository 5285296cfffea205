package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// The errors of [Batcher.Do] beside those of the commit function.
var (
	// ErrFull: the queue of the kind is full; nothing was done.
	ErrFull = errors.New("batch: the queue is full")
	// ErrClosed: the batcher has stopped; nothing was done.
	ErrClosed = errors.New("batch: stopped")
	// ErrNotDone: the caller gave up, or the item waited for too long, before its
	// commit began; it will never be written.
	ErrNotDone = errors.New("batch: not done")
	// ErrOutcomeUnknown: the caller gave up, or waited for too long, while the
	// item was being committed.
	ErrOutcomeUnknown = errors.New("batch: outcome unknown")
	// ErrPanicked: the commit function panicked; the outcome is unknown.
	ErrPanicked = errors.New("batch: the commit panicked")
)

// Deps are what a [Batcher] calls.
type Deps[T, R any] struct {
	// Commit writes one group and returns one result per item, or an error for
	// the whole group.
	Commit func(ctx context.Context, items []T) ([]R, error)
	// Splittable reports whether a group that failed with err may be tried
	// again in halves, so that only the guilty item fails. It must be false
	// when some of the group may have been done.
	Splittable func(err error) bool
	// Parallel is how many commits may run at once, 1…128.
	Parallel int
	// Key names what an item changes. Two groups with items of one key never
	// run at once. Only asked when Parallel is above 1.
	Key     func(item T) string
	Metrics prometheus.Registerer
	Log     *zap.Logger
}

// Batcher gathers items into groups and commits them.
type Batcher[T, R any] struct {
	cfg   Config
	deps  Deps[T, R]
	meter *meter
	wake  chan struct{} // buffered 1: "something may be due"; carries no data

	mu     sync.Mutex // guards everything below, the queues and the state of the waiters
	kinds  []*kind[T, R]
	turns  [][]*kind[T, R] // what may share a group; closed kinds have turns of their own
	turn   int             // whose turn it was
	seq    uint64          // of the last item that came
	busy   map[string]struct{}
	closed bool
}

// New makes a Batcher; nothing is committed before [Batcher.Run].
func New[T, R any](cfg Config, d Deps[T, R]) (*Batcher[T, R], error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if d.Parallel < 1 || d.Parallel > 128 {
		return nil, fmt.Errorf("batch: %d commits at once are not between 1 and 128", d.Parallel)
	}
	b := &Batcher[T, R]{cfg: cfg, deps: d, meter: newMeter(), wake: make(chan struct{}, 1), busy: map[string]struct{}{}}
	shared := []*kind[T, R]{}
	for _, c := range cfg.Kinds {
		k := &kind[T, R]{cfg: c, patience: c.patience(cfg.CommitTimeout), meter: b.meter.kind(c.Name)}
		b.kinds = append(b.kinds, k)
		if c.Open {
			shared = append(shared, k)
		} else {
			b.turns = append(b.turns, []*kind[T, R]{k})
		}
	}
	b.turns = append(b.turns, shared)
	return b, b.meter.register(d.Metrics)
}

// Do queues an item of a kind, the index in [Config.Kinds], and waits for its
// result. An error that wraps [ErrFull], [ErrClosed] or [ErrNotDone] means that
// the item was not written and never will be; [ErrOutcomeUnknown] and
// [ErrPanicked] that it may have been. Others are those of the commit. When ctx
// ended first, its cause is wrapped too.
func (b *Batcher[T, R]) Do(ctx context.Context, kind int, item T) (R, error) {
	var none R
	k := b.kinds[kind]
	if ctx.Err() != nil {
		k.meter.left.Inc()
		return none, fmt.Errorf("%w: %w", ErrNotDone, context.Cause(ctx))
	}
	w := &waiter[T, R]{item: item, kind: k, came: time.Now(), done: make(chan struct{})}
	if err := b.enqueue(w); err != nil {
		return none, err
	}
	timer := time.NewTimer(k.patience)
	defer timer.Stop()
	select {
	case <-w.done:
		return w.res, w.err
	case <-ctx.Done():
		return b.leave(ctx, w)
	case <-timer.C:
	}
	if b.withdraw(w) {
		k.meter.expired.Inc()
		return none, fmt.Errorf("%w: it waited for %s", ErrNotDone, k.patience)
	}
	timer.Reset(b.cfg.CommitTimeout - k.patience)
	select {
	case <-w.done:
		return w.res, w.err
	case <-ctx.Done():
		return b.leave(ctx, w)
	case <-timer.C:
		return none, fmt.Errorf("%w: it is not done after %s", ErrOutcomeUnknown, b.cfg.CommitTimeout)
	}
}

// leave answers a caller that gave up.
func (b *Batcher[T, R]) leave(ctx context.Context, w *waiter[T, R]) (R, error) {
	var none R
	if b.withdraw(w) {
		w.kind.meter.left.Inc()
		return none, fmt.Errorf("%w: %w", ErrNotDone, context.Cause(ctx))
	}
	select {
	case <-w.done: // it was decided at the same moment: the answer is better than a doubt
		return w.res, w.err
	default:
		return none, fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.Cause(ctx))
	}
}
