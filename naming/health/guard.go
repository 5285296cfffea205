package health

import (
	"slices"
	"sync"
	"time"
)

// guard holds expiries that come in a mass. The sweeper judges; Release and
// the end of an outage change it too.
type guard struct {
	mu     sync.Mutex // guards everything below; taken before a shard's mutex
	events map[*group]*event
	all    event // of all leases; holds nothing itself
}

// event is what the guard remembers of a group while leases of it expire or
// are held.
type event struct {
	recent []time.Duration // for each lease that expired: when that is one TTL ago
	due    []candidate     // late in this sweep
	held   []held          // suspects in the order of their arrival; some have been heard since
	began  time.Duration   // when it began to hold
	holds  bool
	lost   int           // expired in the TTL before it began to hold, and since
	calm   time.Duration // since when so little is missing that it would not begin to hold; only while it holds
	calmed bool
}

type held struct {
	candidate
	since time.Duration
}

// allowance is how many of n leases may expire within one TTL.
func (c Config) allowance(n int) int { return max(c.GuardMin, n*c.GuardShare/100) }

// update prunes and notes, before a judgement, whether what is missing is more
// than may be: c are the group's counts, due is how many are late now. Both
// the TTL that ends now and the one that begins now are looked at.
func (e *event) update(cfg Config, c *counts, due int, now time.Duration) {
	e.recent = slices.DeleteFunc(e.recent, func(until time.Duration) bool { return until <= now })
	suspects := int(c.suspects.Load())
	if e.holds && suspects+due == 0 {
		e.holds = false
	}
	if !e.holds {
		e.lost = len(e.recent)
	}
	missing := suspects + max(e.lost+due, int(c.overdue.Load()))
	fits := missing <= cfg.allowance(int(c.live.Load())+e.lost)
	switch {
	case !e.holds && !fits && suspects+due > 0:
		e.holds, e.began, e.calmed = true, now, false
	case e.holds && fits && !e.calmed:
		e.calmed, e.calm = true, now
	case e.holds && !fits:
		e.calmed = false
	}
}

// passes reports whether a late lease may expire. After a mass loss that ended
// it may when it had, since then, its full time to be heard.
func (e *event) passes(full, now time.Duration) bool {
	return !e.holds || e.calmed && now > e.calm+full
}

// budget is how many may expire now although the event holds.
func (e *event) budget(cfg Config, c *counts) int {
	return cfg.allowance(int(c.live.Load())+e.lost) - len(e.recent)
}
