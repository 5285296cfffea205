package health

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Run sweeps deadlines and writes flips until ctx ends; call it once. Every
// lease that exists at its start gets its full time anew: nobody could beat
// while the server was down.
func (l *Leases) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range l.cfg.Workers {
		workers.Go(func() { l.flipper(ctx) })
	}
	defer workers.Wait()
	ticker := time.NewTicker(l.cfg.Tick)
	defer ticker.Stop()
	l.last = l.clock()
	l.renew(l.last)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			l.step(l.clock())
		}
	}
}

// step is one tick of the sweeper. Everything in it is decided by the same
// now, whose gap to the tick before was checked: were the process to pause
// amid the sweep, the time lost must not be taken for silence.
func (l *Leases) step(now time.Duration) {
	gap := now - l.last
	l.last = now
	if gap > l.cfg.Pause {
		l.deps.Log.Warn("the server paused; all leases start anew", zap.Duration("gap", gap))
		l.meter.pauses.Inc()
		l.renew(now)
	}
	l.judge(now, l.sweep(now))
	l.probe(now)
}

// renew gives every lease its full time from now, suspects too.
func (l *Leases) renew(now time.Duration) {
	for {
		old := l.anew.Load()
		if old >= int64(now) || l.anew.CompareAndSwap(old, int64(now)) {
			break
		}
	}
	l.acquit()
}

// candidate is a lease that was late when it was looked at.
type candidate struct {
	x     *lease
	group *group
	full  time.Duration // its time without a beat
}

// sweep looks at what is due up to now and returns who is late.
func (l *Leases) sweep(now time.Duration) []candidate {
	tick := int64(now / l.cfg.Tick)
	var late []candidate
	for n := range l.shards {
		s := &l.shards[n]
		s.mu.Lock()
		for s.wheel.at < tick {
			s.wheel.turn(func(x *lease) {
				if l.look(s, x, now) {
					late = append(late, candidate{x, x.group, l.full(x)})
				}
			})
		}
		s.mu.Unlock()
	}
	return late
}

// look moves a lease on whose tick has come, and reports whether it is late.
// The caller holds the shard's mutex.
func (l *Leases) look(s *shard, x *lease, now time.Duration) bool {
	if x.gone {
		return false
	}
	if x.want && !x.doubt && x.stage != suspect {
		if l.outage.lasts() { // nothing expires, and nobody is called silent
			at := now + l.cfg.RetryWait
			if x.settled() {
				at = max(at, l.deadline(x)-x.interval())
			}
			l.armAt(s, x, at)
			return false
		}
		deadline := l.deadline(x)
		switch {
		case now > deadline:
			l.setStage(x, overdue)
			return true
		case now > deadline-x.interval():
			l.setStage(x, overdue)
		default:
			l.setStage(x, onTime)
		}
	}
	l.settle(s, x)
	if !x.busy { // else the worker arms it when the flip is done
		l.arm(s, x)
	}
	return false
}
