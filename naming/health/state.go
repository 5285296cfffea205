package health

import (
	"slices"
	"time"

	"polestar/naming"
)

// State is what is known of one lease.
type State struct {
	TTL     time.Duration // one beat interval
	Since   time.Duration // since the last sign of life, or since the server was started
	Left    time.Duration // until it is late; negative: late since
	Healthy bool          // as stored
	Suspect bool          // late, but held healthy by the mass-loss guard
}

// State returns the lease of an instance; false when it has none.
func (l *Leases) State(id string) (State, bool) {
	now := l.clock()
	s, h := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byID.find(h, id)
	if x == nil || x.gone {
		return State{}, false
	}
	return State{
		TTL: x.interval(), Since: max(0, now-x.beat), Left: l.deadline(x) - now,
		Healthy: x.healthy, Suspect: x.stage == suspect,
	}, true
}

// LastBeat is how long ago an instance gave its last sign of life; false when
// it has no lease, or when that was forgotten.
func (l *Leases) LastBeat(id string) (ago time.Duration, heard bool) {
	now := l.clock()
	s, h := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byID.find(h, id)
	if x == nil || x.gone || x.unheard {
		return 0, false
	}
	return max(0, now-x.beat), true
}

// ForgetBeat forgets when an instance gave its last sign of life. Its deadline
// stays: it expires neither sooner nor later for it.
func (l *Leases) ForgetBeat(id string) {
	s, h := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.byID.find(h, id); x != nil {
		x.unheard = true
	}
}

// Suspects is a service of which the mass-loss guard holds leases.
type Suspects struct {
	Service naming.ServiceKey // zero: leases whose service was not told
	Held    int
	Leases  int           // of the service in all
	Since   time.Duration // since the first of those still held came
}

// Suspects lists the services with held leases, most of them first.
func (l *Leases) Suspects() []Suspects {
	now := l.clock()
	g := &l.guard
	g.mu.Lock()
	var out []Suspects
	for gr, e := range g.events {
		if n := int(gr.suspects.Load()); n > 0 && len(e.held) > 0 {
			out = append(out, Suspects{Service: gr.key, Held: n, Leases: int(gr.size.Load()), Since: now - e.held[0].since})
		}
	}
	g.mu.Unlock()
	slices.SortFunc(out, func(a, b Suspects) int {
		if a.Held != b.Held {
			return b.Held - a.Held
		}
		return a.Service.Compare(b.Service)
	})
	return out
}

// Held lists the suspects of a service in the order in which they fell silent.
func (l *Leases) Held(service naming.ServiceKey) (ids []string) {
	g := &l.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	for gr, e := range g.events {
		if gr.key != service {
			continue
		}
		for _, h := range e.held {
			if l.stands(gr, h) {
				ids = append(ids, h.x.id)
			}
		}
	}
	return ids
}

// Release lets the suspects of a service expire now, by an operator's wish,
// and returns how many. It does not count against the guard's rate. While
// flips cannot be written it releases none.
func (l *Leases) Release(service naming.ServiceKey) int {
	g := &l.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for gr, e := range g.events {
		if gr.key != service || l.outage.lasts() {
			continue
		}
		for _, h := range e.held {
			if l.expire(gr, h.x, l.clock(), h.since) {
				n++
			}
		}
		e.held = nil
	}
	return n
}

// Outage is how long this node has not been able to write flips; 0 when it can.
// Nothing expires in that time.
func (l *Leases) Outage() time.Duration {
	since := l.outage.since.Load()
	if since == 0 {
		return 0
	}
	return l.clock() - time.Duration(since-1)
}
