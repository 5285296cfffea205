package ads

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"polestar/xds/cache"
	"polestar/xds/resource"
)

// collections is the incremental channel of endpoints that are told one by one
// (LEDS). A client subscribes to a collection by a name that ends in a star;
// what it is sent are the members. Of each collection the stream keeps the list
// that the client has, which is a piece of one that all streams share: it costs
// a pointer, not an entry per endpoint.
//
// A client that asks anew, or that was sent the load assignment of a warming
// cluster, gets every member: until then such a cluster has none.
type collections struct {
	flow
	starred   map[string]*collection // by the name that the client subscribed to
	peak      int                    // of starred
	ofService map[string]int         // collections by load assignment; watched once
	tally     tally
	due       map[string]reason
	tried     bool // the last response was a trial
	chunk     int  // forms per trial
}

// collection is what a stream knows of one.
type collection struct {
	assignment string // whose endpoints they are; empty: a name that is never served
	prefix     string // of the members' names
	ghost      bool   // it was empty when it was asked for

	sent, acked inventory
	// strays are members of which the client may have another form than acked
	// says: it refused one, or has one from an earlier stream.
	strays map[string]struct{}
}

// inventory is a list of members that a client has, and of when.
type inventory struct {
	delivery
	members []*resource.Resource // sorted by name; shared, never modified
}

func newCollections(src Source) *collections {
	return &collections{
		flow: flow{typ: resource.LbEndpoint, src: src}, starred: map[string]*collection{}, ofService: map[string]int{},
	}
}

func (c *collections) base() *flow { return &c.flow }

func (c *collections) request(r Request, first bool) error {
	for _, name := range r.Unsubscribe {
		c.unsubscribe(name)
	}
	for _, name := range r.Subscribe {
		if err := c.subscribe(name); err != nil {
			return err
		}
	}
	if first {
		c.resume(r.Initial)
	}
	return nil
}

func (c *collections) subscribe(name string) error {
	if c.starred[name] == nil {
		c.tally.add(name)
		if err := c.check(&c.tally); err != nil {
			return err
		}
		s := &collection{}
		if assignment, prefix, ok := resource.CollectionOf(name); ok {
			s.assignment, s.prefix = assignment, prefix
			if c.ofService[assignment]++; c.ofService[assignment] == 1 {
				c.src.Subscribe(c.typ, assignment)
			}
		}
		if s.ghost = len(c.current(s).members) == 0; s.ghost {
			c.src.Ghosts(1)
		}
		c.starred[name] = s
		c.peak = max(c.peak, len(c.starred))
		if c.flight != nil { // given up and asked for again: what is on its way is taken
			for _, f := range c.flight.forms {
				if starOf(f.name) == name {
					c.stray(f.name)
				}
			}
		}
	}
	c.look(name, asked)
	return nil
}

func (c *collections) unsubscribe(name string) {
	s := c.starred[name]
	if s == nil {
		return
	}
	c.tally.drop(name)
	if s.ghost {
		c.src.Ghosts(-1)
	}
	delete(c.starred, name)
	c.starred = cache.Shrunk(c.starred, &c.peak)
	delete(c.due, name)
	if s.assignment == "" {
		return
	}
	if c.ofService[s.assignment]--; c.ofService[s.assignment] == 0 {
		delete(c.ofService, s.assignment)
		c.src.Unsubscribe(c.typ, s.assignment)
	}
}

// resume takes over what the client has from an earlier stream: only what
// differs is sent of a collection of which it has something.
func (c *collections) resume(initial map[string]string) {
	had := map[string][]string{}
	for member := range initial {
		if s := c.starred[starOf(member)]; s != nil && s.assignment != "" {
			had[starOf(member)] = append(had[starOf(member)], member)
		}
	}
	for name, members := range had {
		s := c.starred[name]
		there := c.current(s)
		same := make([]*resource.Resource, 0, len(there.members))
		for _, member := range members {
			if m, ok := find(there.members, member); ok && m.Version == initial[member] {
				same = append(same, m)
			} else {
				c.stray(member)
			}
		}
		slices.SortFunc(same, byName)
		if s.sent.members = same; len(same) == len(there.members) && len(s.strays) == 0 {
			s.sent = there
		}
		s.acked = s.sent
		c.due[name] = touched
	}
}

// force makes the members of collections follow the load assignments of warming
// clusters: a client creates their subscriptions anew and does not always ask.
func (c *collections) force(assignments []string) {
	if len(assignments) == 0 {
		return
	}
	for name, s := range c.starred {
		if slices.Contains(assignments, s.assignment) {
			c.look(name, asked)
		}
	}
}

// follow forces the collections that the client has from an earlier stream if
// their load assignments may belong to clusters that warm: those that it was
// sent on this stream, or all, if it did not ask for clusters yet.
func (c *collections) follow(endpoints *partial, all bool) {
	for name, s := range c.starred {
		if all || endpoints.names[s.assignment].live {
			c.look(name, asked)
		}
	}
}

func (c *collections) look(name string, why reason) {
	if c.due == nil {
		c.due = map[string]reason{}
	}
	c.due[name] |= why
}

func (c *collections) changed(names []string) {
	for _, assignment := range names {
		if c.ofService[assignment] == 0 {
			continue
		}
		for name, s := range c.starred {
			if s.assignment == assignment {
				c.look(name, touched)
			}
		}
	}
}

// current is the newest list of members, and a delivery of it.
func (c *collections) current(s *collection) inventory {
	if s.assignment == "" {
		return inventory{}
	}
	r := c.src.Get(c.typ, s.assignment)
	if r == nil {
		return inventory{}
	}
	from := sort.Search(len(r.Members), func(i int) bool { return r.Members[i].Name >= s.prefix })
	to := from + sort.Search(len(r.Members)-from, func(i int) bool { return !strings.HasPrefix(r.Members[from+i].Name, s.prefix) })
	return inventory{delivery{version: r.Version, revision: uint64(r.Revision)}, r.Members[from:to:to]}
}

// allowed is the list that the client should have of what is there. A form that
// it refused is replaced by the one that it accepted before, if any.
func (c *collections) allowed(s *collection, there inventory) inventory {
	if c.quarantine.empty() {
		return there
	}
	list := make([]*resource.Resource, 0, len(there.members))
	for _, m := range there.members {
		if !c.quarantine.blocks(form{m.Name, m.Version}) {
			list = append(list, m)
		} else if old, ok := find(s.acked.members, m.Name); ok {
			list = append(list, old)
		}
	}
	there.members = list
	return there
}

func (c *collections) describe(s *TypeStatus) { s.Names = len(c.starred) }

// holds describes the endpoints of a service: all its collections as one.
func (c *collections) holds(assignment string) NameStatus {
	n := NameStatus{Named: c.ofService[assignment] > 0}
	first := true
	for _, s := range c.starred {
		if s.assignment != assignment {
			continue
		}
		if first || s.sent.revision < n.Sent.Revision {
			n.Sent = s.sent.status()
		}
		if first || s.acked.revision < n.Acked.Revision {
			n.Acked = s.acked.status()
		}
		first = false
	}
	return n
}

func (c *collections) list() []string { return slices.Collect(maps.Keys(c.ofService)) }
