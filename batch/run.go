package batch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Run commits groups until ctx ends. It then refuses new items, answers
// everything queued, and returns.
func (b *Batcher[T, R]) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range b.deps.Parallel {
		all.Go(func() { b.work(ctx) })
	}
	all.Wait()
	return nil
}

// work commits one group after the other.
func (b *Batcher[T, R]) work(ctx context.Context) {
	commits := context.WithoutCancel(ctx) // what was queued is still committed at the end
	timer := time.NewTimer(0)
	defer timer.Stop()
	ended := ctx.Done()
	for {
		group, wait := b.take()
		if len(group) > 0 {
			if b.deps.Parallel > 1 {
				b.signal() // there may be more, for another one of us
			}
			observe(group)
			b.commit(commits, group)
			b.finish(group)
			continue
		}
		if ended == nil {
			return // what may be left waits for a running group, whose goroutine takes it
		}
		var due <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-b.wake:
		case <-due:
		case <-ended:
			b.close()
			ended = nil
		}
	}
}

// observe counts a group that is about to be committed.
func observe[T, R any](group []*waiter[T, R]) {
	now := time.Now()
	for _, w := range group {
		w.kind.meter.wait.Observe(now.Sub(w.came).Seconds())
	}
	for k, n := range count(group) {
		k.meter.group.Observe(float64(n))
	}
}

func (b *Batcher[T, R]) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

// commit writes a group, in halves when it fails in a way that lets the
// guilty item be found, and answers every waiter.
func (b *Batcher[T, R]) commit(ctx context.Context, group []*waiter[T, R]) {
	if len(group) == 0 {
		return
	}
	results, err := b.try(ctx, group)
	if err != nil && len(group) > 1 && !errors.Is(err, ErrPanicked) && b.deps.Splittable(err) {
		b.meter.commits.WithLabelValues("split").Inc()
		first, second := group[:len(group)/2], group[len(group)/2:]
		b.park(second)
		b.commit(ctx, first)
		b.commit(ctx, b.resume(second))
		return
	}
	switch {
	case err == nil:
		b.meter.commits.WithLabelValues("done").Inc()
	case errors.Is(err, ErrPanicked):
		b.meter.commits.WithLabelValues("panicked").Inc()
	default:
		b.meter.commits.WithLabelValues("failed").Inc()
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

// park marks waiters whose commit has to begin again: nothing of it was done.
func (b *Batcher[T, R]) park(group []*waiter[T, R]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range group {
		w.state = parked
	}
}

// resume claims parked waiters again, without those whose callers gave up.
func (b *Batcher[T, R]) resume(group []*waiter[T, R]) []*waiter[T, R] {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := make([]*waiter[T, R], 0, len(group))
	for _, w := range group {
		if w.state == parked {
			w.state = running
			left = append(left, w)
		}
	}
	return left
}

func (b *Batcher[T, R]) try(ctx context.Context, group []*waiter[T, R]) (results []R, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.CommitTimeout)
	defer cancel()
	began := time.Now()
	defer func() {
		for k := range count(group) {
			k.meter.commit.Observe(time.Since(began).Seconds())
		}
	}()
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
