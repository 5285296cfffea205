package ratelimit

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Config of the buckets of one kind.
type Config struct {
	PerSecond int // 0: no bound; at most 1,000,000
	Burst     int // at once, after a rest; 0: as many as in a second
}

// Validate returns an error that names the key and its bound; keys begin with
// prefix, as "polaris.rate", and end with what is counted, as "ip".
func (c Config) Validate(prefix, of string) error {
	const most = 1_000_000
	switch {
	case c.PerSecond < 0 || c.PerSecond > most:
		return fmt.Errorf("%s-per-%s: %d is not between 0 and %d", prefix, of, c.PerSecond, most)
	case c.Burst < 0 || c.Burst > most:
		return fmt.Errorf("%s-burst-per-%s: %d is not between 0 and %d", prefix, of, c.Burst, most)
	case c.Burst > 0 && c.PerSecond == 0:
		return fmt.Errorf("%s-burst-per-%s: %d has no meaning without %[1]s-per-%[2]s", prefix, of, c.Burst)
	}
	return nil
}

// generation is how many buckets one of two generations has at most. What was
// not used while a whole generation of others came is forgotten: its bucket
// would be full again unless it was refused just before.
const generation = 50_000

// Buckets has one bucket for each key. The nil Buckets bound nothing.
type Buckets struct {
	limit   rate.Limit
	burst   int
	refused func()

	mu         sync.Mutex // guards everything below
	fresh, old map[string]*rate.Limiter
}

// New makes buckets, nil without a bound. refused is told of each refusal.
func New(c Config, refused func()) *Buckets {
	if c.PerSecond == 0 {
		return nil
	}
	burst := c.Burst
	if burst == 0 {
		burst = c.PerSecond
	}
	return &Buckets{limit: rate.Limit(c.PerSecond), burst: burst, refused: refused, fresh: map[string]*rate.Limiter{}}
}

// Allow reports whether key may go on now. If it may not, wait is the time
// after which it may.
func (b *Buckets) Allow(key string) (ok bool, wait time.Duration) {
	if b == nil {
		return true, 0
	}
	r := b.of(key).Reserve()
	if wait = r.Delay(); wait == 0 {
		return true, 0
	}
	r.Cancel()
	b.refused()
	return false, wait
}

// Wait returns when key may go on, at once with false when that takes longer
// than most, or with false when ctx ends.
func (b *Buckets) Wait(ctx context.Context, key string, most time.Duration) bool {
	if b == nil {
		return true
	}
	r := b.of(key).Reserve()
	wait := r.Delay()
	switch {
	case wait == 0:
		return true
	case wait > most:
		r.Cancel()
		b.refused()
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		r.Cancel()
		return false
	}
}

// of returns the bucket of a key.
func (b *Buckets) of(key string) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.fresh[key]; l != nil {
		return l
	}
	l := b.old[key]
	if l == nil {
		l = rate.NewLimiter(b.limit, b.burst)
	}
	if len(b.fresh) == generation {
		b.fresh, b.old = map[string]*rate.Limiter{}, b.fresh
	}
	b.fresh[key] = l
	return l
}

// Peer is the key of an ip: of IPv6 its /64, all of which is often one machine.
func Peer(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr.WithZone(""), 64).Masked().String()
}
