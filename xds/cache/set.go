package cache

import (
	"slices"
	"strings"
	"sync"

	"polestar/xds/resource"
)

// set is a part of a wildcard (see [resource.Scope.Parts]).
type set struct {
	typ  resource.Type
	part resource.Scope

	fill   sync.Mutex // held while the first subscriber fills it
	filled bool       // (mu)

	members  map[string]*entry       // (mu) each has a resource
	watchers map[*Watcher]struct{}   // (mu)
	sorted   []*resource.Resource    // (mu) of the members by name, nil when out of date; never modified
	joined   []*resource.Resource    // (mu) with those of another part
	from     [2][]*resource.Resource // (mu) what joined was made of
}

// put makes an entry the member of its name; nil removes. c.mu is held.
func (s *set) put(name string, e *entry) {
	s.sorted = nil
	if old := s.members[name]; old != nil {
		old.members--
		delete(s.members, name)
	}
	if e != nil {
		e.members++
		s.members[name] = e
	}
}

// list returns the members sorted by name; the slice is made once per change
// and shared by all streams. c.mu is held.
func (s *set) list() []*resource.Resource {
	if s.sorted == nil {
		s.sorted = make([]*resource.Resource, 0, len(s.members))
		for _, e := range s.members {
			s.sorted = append(s.sorted, e.resource)
		}
		slices.SortFunc(s.sorted, byName)
	}
	return s.sorted
}

// with returns the members of both parts; where they differ on a name, this
// one is right: it moved here, and its removal there is not done yet. c.mu is
// held.
func (s *set) with(other []*resource.Resource) []*resource.Resource {
	own := s.list()
	if len(own) == 0 {
		return other
	}
	if !isSame(s.from[0], own) || !isSame(s.from[1], other) {
		s.from = [2][]*resource.Resource{own, other}
		s.joined = slices.Concat(own, other)
		slices.SortStableFunc(s.joined, byName)
		s.joined = slices.CompactFunc(s.joined, func(a, b *resource.Resource) bool { return a.Name == b.Name })
	}
	return s.joined
}

func isSame(a, b []*resource.Resource) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func byName(a, b *resource.Resource) int { return strings.Compare(a.Name, b.Name) }

// All returns the members of a wildcard that somebody watches, sorted by name.
// The scope is as [resource.Scope.For] makes it. The slice is shared: do not
// modify it.
func (c *Cache) All(t resource.Type, scope resource.Scope) []*resource.Resource {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*resource.Resource
	for _, part := range slices.Backward(scope.Parts()) {
		if s := c.sets[t][part]; s != nil {
			if out == nil {
				out = s.list()
			} else {
				out = s.with(out)
			}
		}
	}
	return out
}

// SubscribeAll adds a wildcard and returns its members sorted by name. The
// slice is shared: do not modify it.
func (w *Watcher) SubscribeAll(t resource.Type, scope resource.Scope) []*resource.Resource {
	for _, part := range scope.Parts() {
		w.join(t, part)
	}
	return w.cache.All(t, scope)
}

func (w *Watcher) join(t resource.Type, part resource.Scope) {
	c := w.cache
	c.mu.Lock()
	s := c.sets[t][part]
	if s == nil {
		s = &set{typ: t, part: part, members: map[string]*entry{}, watchers: map[*Watcher]struct{}{}}
		c.sets[t][part] = s
		for name, r := range c.index[t] { // what is known by name already; once per set
			if v, member := r.sharing.Member(part); member {
				if e := r.find(v); e != nil && e.resource != nil {
					s.put(name, e)
				}
			}
		}
	}
	s.watchers[w] = struct{}{}
	if w.sets == nil {
		w.sets = map[*set]struct{}{}
	}
	w.sets[s] = struct{}{}
	c.mu.Unlock()
	c.fill(s)
}

// fill builds the members of a new set. Names that appear meanwhile come with
// their Refresh, since the set is registered already.
func (c *Cache) fill(s *set) {
	s.fill.Lock()
	defer s.fill.Unlock()
	c.mu.Lock()
	filled := s.filled
	c.mu.Unlock()
	if filled {
		return
	}
	for _, name := range c.builder.Names(s.typ, s.part) {
		r := c.lockRecord(s.typ, name)
		v, member := r.sharing.Member(s.part)
		if !member {
			c.releaseRecord(r)
			c.mu.Unlock()
			continue
		}
		e := r.ensure(v)
		e.held++
		c.mu.Unlock()
		c.load(e)
		c.mu.Lock()
		e.held--
		c.release(e)
		c.mu.Unlock()
	}
	c.mu.Lock()
	s.filled = true
	c.mu.Unlock()
}

// UnsubscribeAll ends a wildcard; one that was not subscribed is ignored.
func (w *Watcher) UnsubscribeAll(t resource.Type, scope resource.Scope) {
	c := w.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, part := range scope.Parts() {
		s := c.sets[t][part]
		if s == nil {
			continue
		}
		if _, in := w.sets[s]; in {
			delete(w.sets, s)
			w.leave(s)
		}
	}
}

// leave takes the watcher out of a set, and frees it with the last one. c.mu
// is held.
func (w *Watcher) leave(s *set) {
	delete(s.watchers, w)
	c := w.cache
	if len(s.watchers) > 0 || c.sets[s.typ][s.part] != s {
		return
	}
	delete(c.sets[s.typ], s.part)
	for name, e := range s.members {
		s.put(name, nil)
		c.release(e)
	}
}
