package health

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Run sweeps deadlines and writes flips until ctx ends. Every lease that exists
// at its start gets its full time anew: nobody could beat while the server was
// down.
func (l *Leases) Run(ctx context.Context) error {
	l.renewAll()
	var workers sync.WaitGroup
	for range l.cfg.Workers {
		workers.Go(func() { l.flipper(ctx) })
	}
	defer workers.Wait()
	ticker := time.NewTicker(l.cfg.Tick)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		gap := time.Since(last)
		last = last.Add(gap)
		l.step(gap)
	}
}

// step is one tick of the sweeper, gap after the one before.
func (l *Leases) step(gap time.Duration) {
	if gap <= l.cfg.Pause {
		l.sweep()
		return
	}
	// This process did not run, so it heard no beats.
	l.deps.Log.Warn("the server paused; all leases start anew", zap.Duration("gap", gap))
	l.meter.pauses.Inc()
	l.renewAll()
}

// renewAll gives every lease its full time from now.
func (l *Leases) renewAll() {
	now := l.now()
	for n := range l.shards {
		s := &l.shards[n]
		s.mu.Lock()
		for _, x := range s.byID {
			if x.want {
				x.beat = max(x.beat, now)
			}
		}
		s.mu.Unlock()
	}
}

// sweep looks at what is due up to now.
func (l *Leases) sweep() {
	tick := int64(l.now() / l.cfg.Tick)
	for n := range l.shards {
		s := &l.shards[n]
		s.mu.Lock()
		for s.at < tick {
			s.at++
			due := s.wheel[s.at]
			delete(s.wheel, s.at)
			for _, x := range due {
				if x.slot == s.at { // else it was armed for another tick since
					l.look(s, x)
				}
			}
		}
		s.mu.Unlock()
	}
}

// look decides on one lease whose tick has come. The caller holds the mutex.
func (l *Leases) look(s *shard, x *lease) {
	x.slot = -1
	if x.gone {
		return
	}
	if x.want && !x.doubt && l.now() > l.deadline(x) {
		x.want = false
	}
	l.settle(x)
	if !x.busy { // else the worker arms it when the flip is done
		l.arm(s, x)
	}
}

// flipper writes queued flips.
func (l *Leases) flipper(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-l.flips:
			l.flip(ctx, x)
		}
	}
}

// flip writes the wanted health of one instance, and arms its lease again for
// whatever became of it meanwhile.
func (l *Leases) flip(ctx context.Context, x *lease) {
	s := l.shard(x.id)
	s.mu.Lock()
	want, gone := x.want, x.gone
	if gone || x.settled() {
		x.busy = false
		if !gone {
			l.arm(s, x)
		}
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	err := l.deps.Flip(ctx, x.id, want)
	if err != nil {
		l.failed(ctx, x, want, err)
		return
	}
	if want {
		l.meter.recoveries.Inc()
	} else {
		l.meter.expirations.Inc()
	}
	s.mu.Lock()
	if x.doubt {
		x.doubt, x.beat = false, l.now() // writes work again: full time
	}
	x.healthy, x.busy = want, false
	l.settle(x) // a beat, or a registration, may have come while it was written
	if !x.gone && !x.busy {
		l.arm(s, x)
	}
	s.mu.Unlock()
}

// failed handles a flip that could not be written: nobody expires while this
// node cannot commit, and everybody gets full time after that.
func (l *Leases) failed(ctx context.Context, x *lease, want bool, err error) {
	l.meter.failures.Inc()
	l.deps.Log.Warn("a change of health could not be written; the lease is held",
		zap.String("instance", x.id), zap.Bool("healthy", want), zap.Error(err))
	timer := time.NewTimer(l.cfg.RetryWait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	s := l.shard(x.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	x.busy = false
	if x.gone {
		return
	}
	// Held as healthy. The flip may have been written after all, so the wish
	// for healthy is written until that works.
	x.want, x.doubt = true, true
	l.settle(x)
	if !x.busy {
		l.arm(s, x)
	}
}
