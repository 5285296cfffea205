package health

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// trouble is what is known of a lease whose flip failed.
type trouble struct {
	at     time.Duration // of the last failure
	next   time.Duration // not tried again before
	n      int           // failures
	change bool          // one of them was a change, not a probe
	own    bool          // it fails while the flips of others work: no outage
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
	s, _ := l.shard(x.id)
	s.mu.Lock()
	now := l.clock()
	if !x.gone && !x.want && (l.outage.lasts() || now <= l.deadline(x)) {
		l.setWant(x, true) // decided before an outage or a pause: it starts anew
	}
	want := x.want
	if x.gone || x.settled() {
		l.release(s, x)
		s.mu.Unlock()
		return
	}
	if l.outage.lasts() && !x.probe { // it was queued before the outage
		l.release(s, x)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	if err := l.deps.Flip(ctx, x.id, want); err != nil {
		if ctx.Err() == nil { // else the server is stopping
			l.failed(s, x, want, err)
		}
		return
	}
	l.written(s, x, want)
}

// release ends a flip: another may begin, and the wheel has the lease again.
// The caller holds the shard's mutex.
func (l *Leases) release(s *shard, x *lease) {
	x.busy, x.probe = false, false
	if x.gone {
		s.byID.remove(x, l.hash)
		return
	}
	l.settle(s, x) // a beat, or a registration, may have come while it was written
	if !x.busy {
		l.arm(s, x)
	}
}

// written handles a flip that is durable.
func (l *Leases) written(s *shard, x *lease, want bool) {
	now := l.clock()
	l.outage.worked.Store(int64(now))
	l.resume(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.doubt {
		x.doubt = false
		if !s.troubled[x].change { // else its trouble is over when a change is written
			delete(s.troubled, x)
		}
	} else {
		delete(s.troubled, x)
		if want {
			l.meter.recoveries.Inc()
		} else {
			l.meter.expirations.Inc()
		}
	}
	x.healthy = want
	l.release(s, x)
}

// failed handles a flip that could not be written: nobody expires while this
// node cannot commit.
func (l *Leases) failed(s *shard, x *lease, want bool, err error) {
	l.meter.failures.Inc()
	now := l.clock()
	s.mu.Lock()
	t := s.troubled[x]
	refused := refusal(err)
	if worked := time.Duration(l.outage.worked.Load()); t.change && worked > t.at && now-t.at < 2*l.full(x)+time.Minute {
		t.own = true // others were written since: it must not hold everybody up
	}
	begins := !refused && !t.own && !x.gone && l.outage.since.CompareAndSwap(0, int64(now)+1)
	if begins {
		l.outage.probe.Store(int64(now + l.cfg.RetryWait))
	}
	if !x.gone {
		l.hold(s, x, &t, refused, now)
	}
	l.release(s, x)
	s.mu.Unlock()
	switch {
	case begins:
		l.deps.Log.Warn("changes of health cannot be written; nothing expires until they can",
			zap.String("instance", x.id), zap.Bool("healthy", want), zap.Error(err))
	case refused || t.own:
		l.deps.Log.Warn("a change of health was not written; it is tried again",
			zap.String("instance", x.id), zap.Bool("healthy", want), zap.Duration("in", t.next-now), zap.Error(err))
	}
}

// hold keeps a lease whose flip failed until its next try. The caller holds
// the shard's mutex.
func (l *Leases) hold(s *shard, x *lease, t *trouble, refused bool, now time.Duration) {
	wait := l.cfg.RetryWait
	if t.n++; refused || t.own {
		wait = min(wait<<min(t.n, 6), time.Minute)
	}
	t.at, t.next, t.change = now, now+wait, t.change || !x.doubt
	if s.troubled == nil {
		s.troubled = map[*lease]trouble{}
	}
	s.troubled[x] = *t
	if !refused {
		// The flip may have been written after all: the wish for healthy is
		// written until that works.
		l.setWant(x, true)
		l.setStage(x, onTime)
		x.doubt = true
		l.meter.heldStore.Inc()
	}
}
