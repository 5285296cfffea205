package cluster

import (
	"hash/fnv"
	"slices"
	"time"

	"polestar/naming"
)

// view is what one server knows of the members. It is pure: time comes in as
// an argument, from a monotonic clock.
type view struct {
	self string
	dead time.Duration // without a new beat for so long, a member is dead
	last time.Duration // when the members were last seen
	seen map[string]*sighting
}

type sighting struct {
	member naming.Member
	at     time.Duration // when its beat last changed, as we saw it
}

func newView(self string, dead time.Duration) *view {
	return &view{self: self, dead: dead, seen: map[string]*sighting{}}
}

// observe takes the members as the store has them. It returns those whose rows
// nobody needs any more. While the store answers nobody, nobody's beat can be
// seen: that time is not held against them.
func (v *view) observe(now time.Duration, members []naming.Member) (gone []naming.Member) {
	if blind := now - v.last; blind > v.dead/2 {
		for _, s := range v.seen {
			s.at += blind
		}
	}
	v.last = now
	here := map[string]bool{}
	for _, m := range members {
		here[m.ID] = true
		s := v.seen[m.ID]
		switch {
		case s == nil || s.member.Beat != m.Beat:
			v.seen[m.ID] = &sighting{m, now}
		case now-s.at > forget*v.dead:
			gone = append(gone, m)
		default:
			s.member = m
		}
	}
	for id := range v.seen {
		if !here[id] {
			delete(v.seen, id) // it left, or was forgotten
		}
	}
	return gone
}

// forget is after how many times the time of death a row is removed.
const forget = 12

// live lists the members that live, sorted by id. The server itself always
// does: a server that is not sure of that holds its leases.
func (v *view) live(now time.Duration) []naming.Member {
	out := []naming.Member{{ID: v.self}}
	for id, s := range v.seen {
		switch {
		case id == v.self:
			out[0] = s.member
		case now-s.at <= v.dead:
			out = append(out, s.member)
		}
	}
	slices.SortFunc(out, func(a, b naming.Member) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}

// deaf lists the live members that cannot reach this one.
func (v *view) deaf(now time.Duration) (ids []string) {
	for _, m := range v.live(now) {
		if m.ID != v.self && slices.Contains(m.DeafTo, v.self) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// ring finds owners among a fixed set of members.
type ring struct {
	self  int
	ids   []string
	seeds []uint64
}

func newRing(self string, members []naming.Member) *ring {
	r := &ring{}
	for n, m := range members {
		if m.ID == self {
			r.self = n
		}
		r.ids, r.seeds = append(r.ids, m.ID), append(r.seeds, sum(m.ID))
	}
	return r
}

func sum(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum64()
}

// owner returns the index of the member that owns a key: the one whose mix
// with it is greatest. A member more or less moves only its own share.
func (r *ring) owner(key string) int {
	if len(r.ids) == 1 {
		return 0
	}
	k, best, at := sum(key), uint64(0), 0
	for n, seed := range r.seeds {
		if w := mix(k ^ seed); n == 0 || w > best {
			best, at = w, n
		}
	}
	return at
}

// mix spreads every bit over all others (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func (r *ring) same(o *ring) bool { return o != nil && slices.Equal(r.ids, o.ids) }

// addresses of members by id, without the server itself.
func addresses(self string, members []naming.Member) map[string]string {
	out := map[string]string{}
	for _, m := range members {
		if m.ID != self && m.Address != "" {
			out[m.ID] = m.Address
		}
	}
	return out
}
