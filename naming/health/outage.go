package health

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"polestar/naming"
)

// outage is a time in which this node cannot write flips. Nothing expires in
// it, and one flip per RetryWait probes whether it is over.
type outage struct {
	since  atomic.Int64 // leases' clock when it began, plus one; 0: flips can be written
	probe  atomic.Int64 // leases' clock from which on the next flip may probe
	worked atomic.Int64 // leases' clock when a flip was last written
}

// lasts reports whether flips cannot be written.
func (o *outage) lasts() bool { return o.since.Load() != 0 }

// Hold keeps everything from expiring until it is called with false; who had
// no chance to be heard meanwhile gets full time then. Flips to healthy go on.
func (l *Leases) Hold(on bool) {
	if !on {
		l.renew(l.clock())
	}
	l.held.Store(on)
}

// resume ends an outage. Who had no chance to be heard properly gets full time;
// an outage shorter than a pause that matters is none.
func (l *Leases) resume(now time.Duration) {
	since := l.outage.since.Load()
	if since == 0 {
		return
	}
	lasted := now - time.Duration(since-1)
	if lasted >= l.cfg.Pause {
		l.renew(now) // before the outage ends: no sweep may see the old deadlines then
	}
	if l.outage.since.CompareAndSwap(since, 0) {
		l.deps.Log.Info("changes of health can be written again", zap.Duration("after", lasted))
	}
}

// probe tries, from time to time in an outage, to write what some lease should
// have. Any lease but one that is to be unhealthy will do, and another one each
// time: the one that failed first may be the only one that cannot be written.
func (l *Leases) probe(now time.Duration) {
	if !l.outage.lasts() || int64(now) < l.outage.probe.Load() {
		return
	}
	l.outage.probe.Store(int64(now + l.cfg.RetryWait))
	first := rand.N(shardCount) //nolint:gosec // any will do
	for n := range l.shards {
		if l.probeShard(&l.shards[(first+n)%shardCount]) {
			return
		}
	}
}

// probeShard queues the probe of some lease of a shard; false when it found
// none.
func (l *Leases) probeShard(s *shard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	slots := s.byID.slots
	if len(slots) == 0 {
		return false
	}
	first := rand.N(len(slots)) //nolint:gosec // any will do
	for n := range slots {
		x := slots[(first+n)%len(slots)]
		if x == nil || !x.want || x.busy || x.gone {
			continue
		}
		select {
		case l.flips <- x:
			x.busy, x.probe = true, true
			if x.settled() {
				x.doubt = true // else there would be nothing to write
			}
		default: // full of flips that go back to the wheel
		}
		return true
	}
	return false
}

// refusal reports whether an error speaks of one flip only. Everything else,
// unknown errors included, is taken for an outage: that is the side on which
// nobody is condemned.
func refusal(err error) bool {
	switch naming.KindOf(err) {
	case naming.Invalid, naming.NotFound, naming.Conflict, naming.Denied, naming.NoHealthCheck:
		return true
	case naming.Internal, naming.Overloaded, naming.StoreFailed, naming.NotDone, naming.OutcomeUnknown, naming.NotReady:
		return false
	default:
		return false
	}
}
