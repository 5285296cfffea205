package health

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"polestar/naming"
)

const shardCount = 64

// Leases holds one lease per instance with a TTL.
type Leases struct {
	cfg   Config
	deps  Deps
	meter *meter
	// clock is monotonic, from zero at New: steps of the wall clock do not show
	// in it. Tests replace it to jump over a pause of the process.
	clock func() time.Duration
	seed  maphash.Seed
	// anew is when all leases last got their full time: an epoch for all
	// deadlines, so that granting it costs nothing per lease.
	anew   atomic.Int64
	outage outage
	held   atomic.Bool // by [Leases.Hold]
	groups groups
	all    counts
	guard  guard
	last   time.Duration // the sweeper's last tick; its own
	flips  chan *lease   // bounded; what finds it full is looked at again at the next tick
	shards [shardCount]shard
}

type shard struct {
	mu    sync.Mutex // guards everything below and the leases in it
	byID  table
	wheel wheel
	// troubled remembers flips that failed; nil while there are none.
	troubled map[*lease]trouble
	beats    uint64 // of known ids
	unknown  uint64 // beats of ids without a lease
}

// lease is guarded by its shard's mutex. It fits into 64 bytes.
type lease struct {
	id         string
	group      *group
	next, prev *lease        // in the list of its slot
	beat       time.Duration // leases' clock at the last sign of life
	ttl        uint32        // seconds
	slot       uint16        // in the wheel, plus one; 0: in no slot
	stage      stage
	healthy    bool // as stored
	want       bool // as it should be stored
	doubt      bool // the last flip failed: what is stored is not sure, and it does not expire
	busy       bool // a flip is queued or running
	probe      bool // that flip is to find out whether an outage is over
	gone       bool // forgotten while busy; the worker drops it
	unheard    bool // when it last gave a sign of life was forgotten
	here       bool // the last sign of life was a beat, and came here
}

// stage says how silent a lease is that should be healthy.
type stage uint8

const (
	onTime  stage = iota
	overdue       // would expire within one TTL
	suspect       // late, and held by the guard
)

// New makes an empty set of leases; nothing expires before [Leases.Run].
func New(cfg Config, d Deps) (*Leases, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	start := time.Now()
	l := &Leases{
		cfg: cfg, deps: d, clock: func() time.Duration { return time.Since(start) },
		seed: maphash.MakeSeed(), flips: make(chan *lease, 4096),
		groups: groups{byKey: map[naming.ServiceKey]*group{}},
		guard:  guard{events: map[*group]*event{}},
	}
	l.meter = newMeter(l)
	return l, l.meter.register(d.Metrics)
}

func (l *Leases) hash(id string) uint64 { return maphash.String(l.seed, id) }

// shard returns where an id belongs, and its hash.
func (l *Leases) shard(id string) (*shard, uint64) {
	h := l.hash(id)
	return &l.shards[h%shardCount], h
}

// full is the time that one beat gives.
func (l *Leases) full(x *lease) time.Duration {
	return time.Duration(l.cfg.Factor) * x.interval()
}

// interval is the time between two beats.
func (x *lease) interval() time.Duration { return time.Duration(x.ttl) * time.Second }

// deadline is when a lease is late.
func (l *Leases) deadline(x *lease) time.Duration {
	return max(x.beat, time.Duration(l.anew.Load())) + l.full(x)
}

// Track is [Leases.TrackIn] for callers that do not say the service: a known
// lease stays in its service, a new one only counts among all.
func (l *Leases) Track(id string, ttl uint32, healthy bool) {
	l.track(id, nil, ttl, healthy)
}

// TrackIn starts or renews the lease of an instance that was just registered:
// a registration counts as a beat, whatever it changed. Changes that are no
// sign of life, our own flips above all, go to [Leases.Stored] instead.
//
// service is whose share the mass-loss guard watches. ttl is in seconds; 0
// forgets the lease. healthy is what the registration stored.
func (l *Leases) TrackIn(id string, service naming.ServiceKey, ttl uint32, healthy bool) {
	l.track(id, &service, ttl, healthy)
}

func (l *Leases) track(id string, service *naming.ServiceKey, ttl uint32, healthy bool) {
	if ttl == 0 {
		l.Forget(id)
		return
	}
	now := l.clock()
	s, h := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byID.find(h, id)
	switch {
	case x == nil:
		x = &lease{id: id}
		s.byID.add(x, l.hash)
		l.admit(x, service)
	case x.gone:
		x.gone = false
		l.admit(x, service)
	case service != nil && x.group.key != *service:
		l.dismiss(x)
		l.admit(x, service)
	}
	x.ttl, x.beat = ttl, now
	x.healthy, x.doubt, x.unheard, x.here = healthy, false, false, false
	delete(s.troubled, x)
	l.setStage(x, onTime)
	l.setWant(x, healthy)
	l.arm(s, x)
}

// Stored tells what health a commit stored for an instance that was not
// registered anew by it. It renews nothing. What was stored against the beats
// is written again: beats decide.
func (l *Leases) Stored(id string, healthy bool) {
	s, h := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byID.find(h, id)
	if x == nil || x.gone {
		return
	}
	x.healthy = healthy
	if !x.busy {
		l.arm(s, x) // what is wanted may differ now
	}
}

// Flipped tells of a commit that a flip made, of this server or of another one:
// for a moment two servers may watch over one lease, when its owner changes or
// one of them stood still. Who has heard a beat in time decides as
// [Leases.Stored] says. Who has not takes the other's word, so that the two do
// not write against each other; that it is alive is worth a full time.
func (l *Leases) Flipped(id string, healthy bool) {
	s, h := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byID.find(h, id)
	if x == nil || x.gone {
		return
	}
	x.healthy = healthy
	if x.busy {
		return // it may be ours; the worker looks at it
	}
	now := l.clock()
	if heard := x.here && now <= x.beat+l.full(x); x.want != healthy && !x.doubt && !heard {
		if healthy {
			x.beat = now
		}
		l.setStage(x, onTime)
		l.setWant(x, healthy)
	}
	l.arm(s, x) // what is wanted may differ now
}

// Retain forgets every lease that keep does not say yes to: what came and went
// was not told one by one. No lock is held while keep is asked.
func (l *Leases) Retain(keep func(id string) bool) {
	for n := range l.shards {
		for _, id := range l.shards[n].ids() {
			if !keep(id) {
				l.Forget(id)
			}
		}
	}
}

// ids lists the leases of a shard.
func (s *shard) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]string, 0, s.byID.n)
	for _, x := range s.byID.slots {
		if x != nil {
			out = append(out, x.id)
		}
	}
	return out
}

// Forget drops the lease of an instance that was deregistered.
func (l *Leases) Forget(id string) {
	s, h := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byID.find(h, id)
	if x == nil || x.gone {
		return
	}
	l.dismiss(x)
	s.wheel.remove(x)
	delete(s.troubled, x)
	x.doubt = false
	if x.busy {
		x.gone = true // stays, so that no second flip of the id can start beside it
		return
	}
	s.byID.remove(x, l.hash)
}

// Beat renews a lease in constant time. It returns false, and keeps nothing,
// for an instance without one. The first beat of an unhealthy instance starts
// the flip to healthy at once.
func (l *Leases) Beat(id string) bool {
	now := l.clock()
	s, h := l.shard(id)
	s.mu.Lock()
	x := s.byID.find(h, id)
	if x == nil || x.gone {
		s.unknown++
		s.mu.Unlock()
		return false
	}
	s.beats++
	x.beat, x.unheard, x.here = now, false, true
	if x.stage != onTime {
		l.setStage(x, onTime)
	}
	if !x.want {
		l.setWant(x, true)
		l.settle(s, x)
	}
	if x.slot == 0 && !x.busy { // it was unhealthy or held: nobody looks at those
		l.arm(s, x)
	}
	s.mu.Unlock()
	return true
}

// settle queues a flip when what is stored is not what it should be. The
// caller holds the shard's mutex.
func (l *Leases) settle(s *shard, x *lease) {
	if x.busy || x.gone || x.settled() || l.outage.lasts() || l.clock() < s.troubled[x].next {
		return
	}
	select {
	case l.flips <- x:
		x.busy = true
	default: // the workers are behind; the sweeper looks again
	}
}

// settled reports whether what is stored is what should be.
func (x *lease) settled() bool { return !x.doubt && x.want == x.healthy }

// arm puts a lease into the wheel at the next time to look at it: at once when
// there is something to settle. The caller holds the shard's mutex.
func (l *Leases) arm(s *shard, x *lease) {
	switch {
	case x.gone:
	case !x.settled() && l.outage.lasts():
		l.armAt(s, x, l.clock()+l.cfg.RetryWait)
	case !x.settled():
		l.armAt(s, x, max(l.clock(), s.troubled[x].next))
	case !x.want, x.stage == suspect: // a beat arms it again
	case x.stage == overdue:
		l.armAt(s, x, l.deadline(x))
	default:
		l.armAt(s, x, l.deadline(x)-x.interval())
	}
}

// armAt puts a lease into the slot of the first tick after at: whoever is
// exactly in time is in time. The caller holds the shard's mutex.
func (l *Leases) armAt(s *shard, x *lease, at time.Duration) {
	s.wheel.put(x, int64(at/l.cfg.Tick)+1)
}
