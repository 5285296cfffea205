package ads

import (
	"maps"
	"slices"
	"strings"
	"time"

	"polestar/xds/resource"
)

func (c *collections) waiting() bool { return c.active && len(c.due) > 0 }
func (c *collections) news() bool    { return false }

// removing is false: members go with the response that their successors come
// in, as they would in a list.
func (c *collections) removing() bool { return false }
func (c *collections) remove() *draft { return nil }
func (c *collections) all() bool      { return false }

func (c *collections) add(now time.Time, _ bool) *draft {
	if c.quarantine.waiting() > 0 && (len(c.due) == 0 || !c.tried) {
		if d := c.trial(now); d != nil {
			c.tried = true
			return d
		}
	}
	c.tried = false
	d := &draft{flight: flight{at: now}}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(c.due)) {
		// A collection is never cut: with a part of it a cluster would be warm. Only
		// Envoys subscribe to some, and they take messages of any size.
		if n := c.take(d, name, c.due[name], MaxMessage-size); n >= 0 {
			size += n
			delete(c.due, name)
		}
		if size >= MaxMessage {
			break
		}
	}
	if len(c.due) == 0 {
		c.due = nil
	}
	if len(d.resources)+len(d.removed) == 0 {
		return c.trial(now) // what was due may be in doubt
	}
	return d
}

// take puts what is to be said of a collection into the draft and returns its
// size in bytes; -1 when it is too much for the room of a draft that holds
// something already.
func (c *collections) take(d *draft, name string, why reason, room int) int {
	s := c.starred[name]
	there := c.current(s)
	want := c.allowed(s, there)
	changed, removed := s.difference(there.members, want.members, why&asked != 0)
	if why&asked != 0 && len(there.members) == 0 {
		removed = append(removed, name) // xDS: there is nothing, and nothing to wait for
	}
	n := 0
	for _, m := range changed {
		n += fieldSize(len(m.Delta))
	}
	for _, gone := range removed {
		n += fieldSize(len(gone))
	}
	if n > room && len(d.resources)+len(d.removed) > 0 {
		return -1
	}
	want.at = d.flight.at.UnixNano()
	if len(changed)+len(removed) == 0 {
		s.unchanged(want)
		return 0
	}
	c.include(d, name, want, changed)
	d.removed = append(d.removed, removed...)
	d.flight.removed = append(d.flight.removed, removed...)
	d.flight.removes = d.flight.removes || len(removed) > 0
	return n
}

// unchanged notes that a newer revision of the service did not touch the
// collection.
func (s *collection) unchanged(want inventory) {
	if s.acked.version == s.sent.version {
		s.acked.version, s.acked.revision = want.version, want.revision
	}
	s.sent.version, s.sent.revision = want.version, want.revision
}

// include adds forms of one collection to a draft, after which the client has
// this list.
func (c *collections) include(d *draft, name string, list inventory, changed []*resource.Resource) {
	s := c.starred[name]
	s.sent = list
	d.flight.starred = append(d.flight.starred, s)
	d.resources = append(d.resources, changed...)
	for _, m := range changed {
		d.flight.forms = append(d.flight.forms, shipmentOf(m))
	}
}

// difference is what has to be sent so that the client has what is allowed of
// what is there; with whole, all of it.
func (s *collection) difference(there, want []*resource.Resource, whole bool) (changed []*resource.Resource, removed []string) {
	changed, gone := diff(s.sent.members, want)
	for _, m := range gone {
		removed = append(removed, m.Name)
	}
	if whole {
		changed = want
	}
	for name := range s.strays {
		if m, ok := find(want, name); ok && !whole {
			changed = append(changed, m)
		} else if _, exists := find(there, name); !exists {
			removed = append(removed, name)
		}
	}
	if len(s.strays) > 0 && !whole {
		slices.SortFunc(changed, byName)
		changed = slices.CompactFunc(changed, func(a, b *resource.Resource) bool { return a.Name == b.Name })
	}
	slices.Sort(removed)
	return changed, slices.Compact(removed)
}

// stray notes that the client may have a member, or not.
func (c *collections) stray(member string) {
	if s := c.starred[starOf(member)]; s != nil {
		if s.strays == nil {
			s.strays = map[string]struct{}{}
		}
		s.strays[member] = struct{}{}
	}
}

// settled notes that it is known what the client has of a member; not so if it
// gave the collection up meanwhile and asked for it again.
func (c *collections) settled(f *flight, member string) {
	if s := c.starred[starOf(member)]; s != nil && len(s.strays) > 0 && slices.Contains(f.starred, s) {
		delete(s.strays, member)
	}
}

// starOf is the name of the collection that a member belongs to.
func starOf(member string) string { return member[:strings.LastIndexByte(member, '/')+1] + wildcard }

// trial sends the next forms in doubt alone.
func (c *collections) trial(now time.Time) *draft {
	d := &draft{flight: flight{at: now}}
	for len(d.resources) < max(1, c.chunk) {
		next, ok := c.quarantine.next()
		if !ok {
			break
		}
		name := starOf(next.name)
		s := c.starred[name]
		if s == nil {
			continue
		}
		list := s.sent
		m, ok := find(c.current(s).members, next.name)
		if !ok || m.Version != next.version {
			continue // superseded
		}
		list.members = slices.DeleteFunc(slices.Clone(list.members), func(o *resource.Resource) bool { return o.Name == m.Name })
		list.members = append(list.members, m)
		slices.SortFunc(list.members, byName)
		c.include(d, name, list, []*resource.Resource{m})
	}
	if len(d.resources) == 0 {
		return nil
	}
	d.flight.trial = true
	return d
}

func (c *collections) settle(now time.Time, f *flight, accepted bool) error {
	guilty := f.forms
	if !accepted {
		guilty = slices.DeleteFunc(slices.Clone(f.forms), func(s shipment) bool {
			in := c.starred[starOf(s.name)]
			if in == nil {
				return false
			}
			old, ok := find(in.acked.members, s.name)
			return ok && old.Version == s.version
		})
	}
	if accepted || len(guilty) == 0 {
		// A refusal of what the client has accepted before is taken for an
		// answer: saying it again would not help.
		c.quarantine.accept(f.forms)
		for _, s := range f.starred {
			s.acked = s.sent
			s.acked.at = now.UnixNano()
		}
		for _, s := range f.forms {
			c.settled(f, s.name)
		}
		for _, name := range f.removed {
			c.settled(f, name)
		}
		return nil
	}
	for _, s := range f.starred {
		s.sent = s.acked
		if name := s.prefix + wildcard; c.starred[name] == s {
			c.look(name, touched)
		}
	}
	// The client may have any part of the response, or none.
	for _, s := range f.forms {
		c.stray(s.name)
	}
	for _, name := range f.removed {
		c.stray(name)
	}
	if f.trial || len(guilty) == 1 {
		return c.quarantine.refuse(guilty)
	}
	err := c.quarantine.suspect(guilty)
	c.chunk = (c.quarantine.waiting() + maxTrials - 1) / maxTrials
	return err
}
