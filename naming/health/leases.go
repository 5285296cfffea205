package health

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Config of the leases.
type Config struct {
	Factor    int           // an instance is late after Factor × TTL without a beat, 2…10
	Tick      time.Duration // how often deadlines are looked at, 10 ms…1 s
	Pause     time.Duration // a gap between ticks above this means that the server did not listen, > 2 × Tick
	Workers   int           // flips in flight at most, 1…1024
	RetryWait time.Duration // wait after a flip that could not be written
}

// Default returns Polaris' three TTLs, looked at four times a second.
func Default() Config {
	return Config{Factor: 3, Tick: 250 * time.Millisecond, Pause: time.Second, Workers: 128, RetryWait: time.Second}
}

// Validate returns an error that names the key and its bound.
func (c Config) Validate() error {
	switch {
	case c.Factor < 2 || c.Factor > 10:
		return fmt.Errorf("lease.factor: %d is not between 2 and 10", c.Factor)
	case c.Tick < 10*time.Millisecond || c.Tick > time.Second:
		return fmt.Errorf("lease.tick: %s is not between 10ms and 1s", c.Tick)
	case c.Pause <= 2*c.Tick:
		return fmt.Errorf("lease.pause: %s is not above two ticks (%s)", c.Pause, 2*c.Tick)
	case c.Workers < 1 || c.Workers > 1024:
		return fmt.Errorf("lease.workers: %d is not between 1 and 1024", c.Workers)
	case c.RetryWait < c.Tick:
		return fmt.Errorf("lease.retry-wait: %s is shorter than a tick (%s)", c.RetryWait, c.Tick)
	}
	return nil
}

// Deps are what the leases call.
type Deps struct {
	// Flip writes the health of an instance and returns when that is durable.
	// It is called by up to Config.Workers goroutines at once, never for the
	// same id twice at a time.
	Flip    func(ctx context.Context, id string, healthy bool) error
	Metrics prometheus.Registerer
	Log     *zap.Logger
}

const shardCount = 64

// Leases holds one lease per instance with a TTL.
type Leases struct {
	cfg    Config
	deps   Deps
	meter  *meter
	start  time.Time // zero of the leases' monotonic clock
	seed   maphash.Seed
	shards [shardCount]shard
	flips  chan *lease // bounded by the workers' pace; a full channel is retried at the next tick
}

type shard struct {
	mu   sync.Mutex // guards everything below and the leases in it
	byID map[string]*lease
	// due holds the leases to look at in each tick of the wheel.
	wheel map[int64][]*lease
	// at is the last tick that was swept.
	at int64
}

// lease is guarded by its shard's mutex.
type lease struct {
	id      string
	ttl     time.Duration // one beat interval
	beat    time.Duration // leases' clock at the last sign of life
	healthy bool          // as stored
	want    bool          // as it should be stored
	doubt   bool          // the last flip failed: what is stored is not sure, and nothing expires
	busy    bool          // a flip is queued or running
	gone    bool          // forgotten; only the wheel or a worker still holds it
	slot    int64         // the tick in whose list it stands
}

// New makes an empty set of leases; nothing expires before [Leases.Run].
func New(cfg Config, d Deps) (*Leases, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := &Leases{
		cfg: cfg, deps: d, start: time.Now(), seed: maphash.MakeSeed(), flips: make(chan *lease, 4096),
	}
	for n := range l.shards {
		l.shards[n].byID, l.shards[n].wheel = map[string]*lease{}, map[int64][]*lease{}
	}
	l.meter = newMeter(l)
	return l, l.meter.register(d.Metrics)
}

// now is monotonic: steps of the wall clock do not show in it.
func (l *Leases) now() time.Duration { return time.Since(l.start) }

func (l *Leases) shard(id string) *shard { return &l.shards[maphash.String(l.seed, id)%shardCount] }

// deadline is when a lease is late.
func (l *Leases) deadline(x *lease) time.Duration {
	return x.beat + time.Duration(l.cfg.Factor)*x.ttl
}

// Track starts or renews the lease of an instance that was just registered:
// a registration counts as a beat. ttl is in seconds; 0 forgets it.
func (l *Leases) Track(id string, ttl uint32, healthy bool) {
	if ttl == 0 {
		l.Forget(id)
		return
	}
	now := l.now()
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byID[id]
	if x == nil {
		x = &lease{id: id, slot: -1}
		s.byID[id] = x
	}
	x.ttl, x.beat = time.Duration(ttl)*time.Second, now
	x.healthy, x.want = healthy, healthy
	l.arm(s, x)
}

// Stored tells what health a commit stored for an instance that was not
// registered anew by it.
func (l *Leases) Stored(id string, healthy bool) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byID[id]
	if x == nil {
		return
	}
	x.healthy = healthy
	if !x.busy {
		l.arm(s, x) // what is wanted may differ now
	}
}

// Forget drops the lease of an instance that was deregistered.
func (l *Leases) Forget(id string) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.byID[id]; x != nil {
		x.gone = true
		delete(s.byID, id)
	}
}

// Beat renews a lease. It returns false, and keeps nothing, for an instance
// without one. The first beat of an unhealthy instance makes it healthy.
func (l *Leases) Beat(id string) bool {
	now := l.now()
	s := l.shard(id)
	s.mu.Lock()
	x := s.byID[id]
	if x == nil {
		s.mu.Unlock()
		l.meter.beatUnknown.Inc()
		return false
	}
	x.beat = now
	if !x.want {
		x.want = true
		l.arm(s, x)
	}
	l.settle(x)
	s.mu.Unlock()
	l.meter.beatKnown.Inc()
	return true
}

// settle queues a flip when what is stored is not what it should be. The
// caller holds the shard's mutex.
func (l *Leases) settle(x *lease) {
	if x.busy || x.gone || x.settled() {
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

// arm puts a lease into the wheel at its deadline, or at the next tick when
// there is something to settle. The caller holds the shard's mutex.
func (l *Leases) arm(s *shard, x *lease) {
	at := l.deadline(x)
	if !x.settled() {
		at = l.now()
	} else if !x.want {
		return // unhealthy: a beat arms it again
	}
	slot := max(int64(at/l.cfg.Tick), s.at) + 1 // the tick after: being exactly in time is in time
	if x.slot >= 0 && x.slot <= slot && x.slot > s.at {
		return // it is looked at before that anyway, and moved on then
	}
	x.slot = slot
	s.wheel[slot] = append(s.wheel[slot], x)
}

// State is what is known of one lease.
type State struct {
	TTL     time.Duration
	Since   time.Duration // since the last sign of life
	Healthy bool          // as stored
}

// State returns the lease of an instance; false when it has none.
func (l *Leases) State(id string) (State, bool) {
	now := l.now()
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byID[id]
	if x == nil {
		return State{}, false
	}
	return State{TTL: x.ttl, Since: max(0, now-x.beat), Healthy: x.healthy}, true
}
