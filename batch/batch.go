package batch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// The errors of [Batcher.Do] beside those of the commit function.
var (
	// ErrFull: the queue is full; nothing was done.
	ErrFull = errors.New("batch: the queue is full")
	// ErrClosed: the batcher has stopped; nothing was done.
	ErrClosed = errors.New("batch: stopped")
	// ErrNotDone: the caller's context ended while the item was still queued;
	// it will never be written.
	ErrNotDone = errors.New("batch: not done")
	// ErrOutcomeUnknown: the caller's context ended while the item's group was
	// being committed.
	ErrOutcomeUnknown = errors.New("batch: outcome unknown")
	// ErrPanicked: the commit function panicked; the outcome is unknown.
	ErrPanicked = errors.New("batch: the commit panicked")
)

// Config bounds a [Batcher].
type Config struct {
	QueueSize     int           // waiting items at most, 1…1,000,000
	MaxGroup      int           // items in one commit at most, 1…10,000
	CommitTimeout time.Duration // context deadline of one commit, 10 ms…5 min
}

// Default returns the bounds that fit most servers.
func Default() Config {
	return Config{QueueSize: 10240, MaxGroup: 512, CommitTimeout: 3 * time.Second}
}

// Validate returns an error that names the field and its bound.
func (c Config) Validate() error {
	switch {
	case c.QueueSize < 1 || c.QueueSize > 1_000_000:
		return fmt.Errorf("batch.queue-size: %d is not between 1 and 1000000", c.QueueSize)
	case c.MaxGroup < 1 || c.MaxGroup > 10_000:
		return fmt.Errorf("batch.max-group: %d is not between 1 and 10000", c.MaxGroup)
	case c.CommitTimeout < 10*time.Millisecond || c.CommitTimeout > 5*time.Minute:
		return fmt.Errorf("batch.commit-timeout: %s is not between 10ms and 5m", c.CommitTimeout)
	}
	return nil
}

// Deps are what a [Batcher] calls.
type Deps[T, R any] struct {
	// Commit writes one group and returns one result per item, or an error for
	// the whole group.
	Commit func(ctx context.Context, items []T) ([]R, error)
	// Splittable reports whether a group that failed with err may be tried
	// again in halves, so that only the guilty item fails. It must be false
	// when some of the group may have been done.
	Splittable func(err error) bool
	Metrics    prometheus.Registerer
	Log        *zap.Logger
}

// Batcher gathers items into groups and commits them one group at a time, in
// arrival order.
type Batcher[T, R any] struct {
	cfg   Config
	deps  Deps[T, R]
	meter meter
	wake  chan struct{} // buffered 1: "there are items"; carries no data

	mu     sync.Mutex
	queue  []*waiter[T, R]
	closed bool
}

// The states of a waiter.
const (
	queued  int32 = iota
	claimed       // its group is being committed
	gone          // its caller gave up before that
)

// waiter is one item and its caller.
type waiter[T, R any] struct {
	item  T
	state atomic.Int32
	done  chan struct{} // closed when result and err are set
	res   R
	err   error
}

// New makes a Batcher; nothing is committed before [Batcher.Run].
func New[T, R any](cfg Config, d Deps[T, R]) (*Batcher[T, R], error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Batcher[T, R]{cfg: cfg, deps: d, meter: newMeter(), wake: make(chan struct{}, 1)}
	return b, b.meter.register(d.Metrics)
}

// Do queues an item and waits for its result. When ctx ends first, the error
// wraps [ErrNotDone] or [ErrOutcomeUnknown], and the context's cause.
func (b *Batcher[T, R]) Do(ctx context.Context, item T) (R, error) {
	var none R
	if ctx.Err() != nil {
		b.meter.refused.WithLabelValues("caller gone").Inc()
		return none, fmt.Errorf("%w: %w", ErrNotDone, context.Cause(ctx))
	}
	w := &waiter[T, R]{item: item, done: make(chan struct{})}
	if err := b.enqueue(w); err != nil {
		return none, err
	}
	select {
	case <-w.done:
		return w.res, w.err
	case <-ctx.Done():
	}
	if w.state.CompareAndSwap(queued, gone) {
		b.meter.refused.WithLabelValues("caller gone").Inc()
		return none, fmt.Errorf("%w: %w", ErrNotDone, context.Cause(ctx))
	}
	select {
	case <-w.done: // it was decided at the same moment: the answer is better than a doubt
		return w.res, w.err
	default:
		return none, fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.Cause(ctx))
	}
}

func (b *Batcher[T, R]) enqueue(w *waiter[T, R]) error {
	b.mu.Lock()
	switch {
	case b.closed:
		b.mu.Unlock()
		b.meter.refused.WithLabelValues("closed").Inc()
		return ErrClosed
	case len(b.queue) >= b.cfg.QueueSize:
		b.mu.Unlock()
		b.meter.refused.WithLabelValues("full").Inc()
		return ErrFull
	}
	b.queue = append(b.queue, w)
	b.meter.queue.Set(float64(len(b.queue)))
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return nil
}

// Run commits groups until ctx ends. It then refuses new items, answers
// everything queued, and returns.
func (b *Batcher[T, R]) Run(ctx context.Context) error {
	commits := context.WithoutCancel(ctx) // what was queued is still committed at the end
	for {
		select {
		case <-b.wake:
			b.drain(commits)
		case <-ctx.Done():
			b.mu.Lock()
			b.closed = true
			b.mu.Unlock()
			b.drain(commits)
			return nil
		}
	}
}

// drain commits until the queue is empty.
func (b *Batcher[T, R]) drain(ctx context.Context) {
	for group := b.take(); len(group) > 0; group = b.take() {
		b.meter.group.Observe(float64(len(group)))
		b.commit(ctx, group)
	}
}

// take claims the next group, leaving out those whose callers gave up.
func (b *Batcher[T, R]) take() []*waiter[T, R] {
	b.mu.Lock()
	defer b.mu.Unlock()
	var group []*waiter[T, R]
	n := 0
	for ; n < len(b.queue) && len(group) < b.cfg.MaxGroup; n++ {
		if w := b.queue[n]; w.state.CompareAndSwap(queued, claimed) {
			group = append(group, w)
		}
	}
	rest := copy(b.queue, b.queue[n:])
	clear(b.queue[rest:])
	b.queue = b.queue[:rest]
	b.meter.queue.Set(float64(rest))
	return group
}

// commit writes a group, in halves when it fails in a way that lets the
// guilty item be found, and answers every waiter.
func (b *Batcher[T, R]) commit(ctx context.Context, group []*waiter[T, R]) {
	results, err := b.try(ctx, group)
	if err != nil && len(group) > 1 && !errors.Is(err, ErrPanicked) && b.deps.Splittable(err) {
		half := len(group) / 2
		b.commit(ctx, group[:half])
		b.commit(ctx, group[half:])
		return
	}
	for n, w := range group {
		if err != nil {
			w.err = err
		} else {
			w.res = results[n]
		}
		close(w.done)
	}
}

func (b *Batcher[T, R]) try(ctx context.Context, group []*waiter[T, R]) (results []R, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.CommitTimeout)
	defer cancel()
	timer := prometheus.NewTimer(b.meter.commit)
	defer timer.ObserveDuration()
	defer func() {
		if p := recover(); p != nil {
			b.deps.Log.Error("a commit panicked", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("%w: %v", ErrPanicked, p)
		}
	}()
	items := make([]T, len(group))
	for n, w := range group {
		items[n] = w.item
	}
	results, err = b.deps.Commit(ctx, items)
	if err == nil && len(results) != len(items) {
		err = fmt.Errorf("%w: %d results for %d items", ErrPanicked, len(results), len(items))
	}
	return results, err
}
