package cache

import (
	"slices"

	"polestar/xds/resource"
)

// Refresh rebuilds the named resources in every form that somebody watches,
// and tells the watchers of those that changed. Where a name is shared in
// another way than before, its watchers move to the form that they see now. It
// costs O(forms touched × their watchers); nothing in it depends on how many
// others there are.
//
// What is new or changed becomes visible in sending order (clusters first),
// what is gone in the reverse (clusters last). A stream that runs in the middle
// therefore never learns of a route before its cluster, and never loses a
// cluster before its route. Each watcher is woken once, at the end.
func (c *Cache) Refresh(refs []resource.Ref) {
	c.refresh.Lock()
	defer c.refresh.Unlock()
	c.mu.Lock()
	c.round++
	told := bell{round: c.round}
	c.mu.Unlock()

	var byType [types][]string
	for _, ref := range refs {
		byType[ref.Type] = append(byType[ref.Type], ref.Name)
	}
	var gone [types][]string
	for _, t := range resource.Types() {
		for _, name := range byType[t] {
			if c.update(t, name, false, &told) {
				gone[t] = append(gone[t], name)
			}
		}
	}
	for _, t := range slices.Backward(resource.Types()) {
		for _, name := range gone[t] {
			c.update(t, name, true, &told)
		}
	}
	told.ring()
}

// update rebuilds one name. What somebody would lose by it is left as it is,
// and reported, unless remove is set.
func (c *Cache) update(t resource.Type, name string, remove bool, b *bell) (rest bool) {
	c.mu.Lock()
	watched := c.index[t][name] != nil || len(c.sets[t]) > 0
	c.mu.Unlock()
	if !watched {
		return false
	}
	sharing := c.builder.Sharing(t, name)
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.index[t][name]
	switch {
	case r == nil && !c.belongs(t, &sharing):
		return false
	case r == nil:
		r = c.newRecord(t, name, sharing)
	}
	r.held++
	var done []*entry
	for {
		due := c.due(r, &sharing, done)
		if len(due) == 0 {
			break
		}
		done = append(done, due...)
		c.mu.Unlock()
		for _, e := range due {
			rest = c.rebuild(e, remove, b) || rest
		}
		c.mu.Lock()
	}
	if !sharing.Equal(&r.sharing) {
		if c.move(r, &sharing, remove, b) {
			rest = true
		} else {
			r.sharing = sharing
		}
	}
	r.held--
	for _, e := range done {
		e.held--
	}
	for _, e := range slices.Clone(r.entries) {
		c.release(e)
	}
	c.releaseRecord(r)
	return rest
}

// belongs reports whether a set can have a member that is shared so. c.mu is
// held.
func (c *Cache) belongs(t resource.Type, sharing *resource.Sharing) bool {
	for part := range c.sets[t] {
		if _, member := sharing.Member(part); member {
			return true
		}
	}
	return false
}

// due lists the entries that somebody needs by the new sharing and that are
// not done, and holds them: whoever subscribes meanwhile must not build another
// one at the same time. c.mu is held.
func (c *Cache) due(r *record, sharing *resource.Sharing, done []*entry) []*entry {
	var out []*entry
	add := func(e *entry) {
		if !slices.Contains(done, e) && !slices.Contains(out, e) {
			e.held++
			out = append(out, e)
		}
	}
	if sharing.Equal(&r.sharing) {
		for _, e := range r.entries {
			add(e)
		}
	} else {
		for _, e := range slices.Clone(r.entries) {
			for _, scope := range e.watchers {
				add(r.ensure(sharing.Variant(*scope)))
			}
		}
	}
	for part := range c.sets[r.typ] {
		if v, member := sharing.Member(part); member {
			add(r.ensure(v))
		}
	}
	return out
}

// rebuild builds an entry from the newest world and tells its watchers when it
// changed. One that existed and is gone is left as it is, and reported, unless
// remove is set.
func (c *Cache) rebuild(e *entry, remove bool, b *bell) (gone bool) {
	e.build.Lock()
	defer e.build.Unlock()
	r := c.builder.Build(e.form())

	c.mu.Lock()
	defer c.mu.Unlock()
	if r == nil && e.resource != nil && !remove {
		return true
	}
	before := e.resource
	c.publish(e, r, b)
	if e.resource != before {
		mark(e.record, e.watchers, b)
	}
	return false
}

// move brings watchers and sets to the entries that they have by the new
// sharing; all of those are built. c.mu is held.
func (c *Cache) move(r *record, sharing *resource.Sharing, remove bool, b *bell) (rest bool) {
	for _, e := range slices.Clone(r.entries) {
		for w, scope := range e.watchers {
			to := r.find(sharing.Variant(*scope))
			switch {
			case to == e:
				continue
			case to.resource == nil && e.resource != nil && !remove:
				rest = true
				continue
			}
			e.remove(w)
			to.add(w, scope)
			if to.resource != e.resource {
				b.mark(r, w)
			}
		}
	}
	for part, s := range c.sets[r.typ] {
		var to *entry
		if v, member := sharing.Member(part); member {
			if to = r.find(v); to.resource == nil {
				to = nil
			}
		}
		switch old := s.members[r.name]; {
		case to == old:
		case to == nil && !remove:
			rest = true
		default:
			s.put(r.name, to)
			mark(r, s.watchers, b)
		}
	}
	return rest
}

// bell gathers the watchers to wake once c.mu is no longer held.
type bell struct {
	round uint64 // of the Refresh that gathers, so that each is in it once; 0: of none
	woken []*Watcher
}

// mark notes a change of a name at watchers. Cache.mu is held.
func mark[V any](r *record, watchers map[*Watcher]V, b *bell) {
	for w := range watchers {
		b.mark(r, w)
	}
}

func (b *bell) mark(r *record, w *Watcher) {
	w.mark(r.typ, r.name)
	if b.round > 0 && w.round == b.round {
		return
	}
	if b.round > 0 {
		w.round = b.round
	}
	b.woken = append(b.woken, w)
}

func (b *bell) ring() {
	for _, w := range b.woken {
		w.notify()
	}
}
