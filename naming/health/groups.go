package health

import (
	"sync"
	"sync/atomic"

	"polestar/naming"
)

// counts of leases, of one service or of all. They change under the mutex of a
// lease's shard, so a reader may see them amid a change, off by one.
type counts struct {
	size     atomic.Int32 // leases
	live     atomic.Int32 // that should be healthy
	overdue  atomic.Int32 // of those, would expire within one TTL
	suspects atomic.Int32 // of those, late and held
}

// group is a service's share of the leases.
type group struct {
	counts
	key naming.ServiceKey // zero: leases whose service was not told
}

// groups are the services that have leases.
type groups struct {
	mu    sync.Mutex // guards everything below, and that size 0 means removed
	byKey map[naming.ServiceKey]*group
}

// admit counts x in, for a service; nil: the one that it was in before. The
// caller holds the shard's mutex.
func (l *Leases) admit(x *lease, service *naming.ServiceKey) {
	var key naming.ServiceKey
	switch {
	case service != nil:
		key = *service
	case x.group != nil:
		key = x.group.key
	}
	g := &l.groups
	g.mu.Lock()
	x.group = g.byKey[key]
	if x.group == nil {
		x.group = &group{key: key}
		g.byKey[key] = x.group
	}
	x.group.size.Add(1)
	g.mu.Unlock()
	l.all.size.Add(1)
	x.want, x.stage = false, onTime
}

// dismiss counts x out. The caller holds the shard's mutex.
func (l *Leases) dismiss(x *lease) {
	l.setWant(x, false)
	l.all.size.Add(-1)
	g := &l.groups
	g.mu.Lock()
	if x.group.size.Add(-1) == 0 {
		delete(g.byKey, x.group.key)
	}
	g.mu.Unlock()
}

// setWant says what health should be stored. The caller holds the shard's
// mutex.
func (l *Leases) setWant(x *lease, want bool) {
	if x.want == want {
		return
	}
	d := int32(1)
	if !want {
		l.setStage(x, onTime)
		d = -1
	}
	x.want = want
	x.group.live.Add(d)
	l.all.live.Add(d)
}

// setStage says how silent a lease is. The caller holds the shard's mutex.
func (l *Leases) setStage(x *lease, to stage) {
	if x.stage == to {
		return
	}
	for _, c := range [...]*counts{&x.group.counts, &l.all} {
		c.of(x.stage, -1)
		c.of(to, 1)
	}
	x.stage = to
}

func (c *counts) of(st stage, d int32) {
	switch st {
	case overdue:
		c.overdue.Add(d)
	case suspect:
		c.suspects.Add(d)
	case onTime: // the rest is not counted
	}
}
