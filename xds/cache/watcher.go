package cache

import (
	"slices"

	"polestar/xds/resource"
)

// Watcher is one stream's subscriptions and the set of those that changed
// since the stream looked. One goroutine calls its methods.
type Watcher struct {
	cache *Cache
	wake  chan struct{} // buffered 1: "take again"; carries no data

	// Guarded by Cache.mu.
	dirty Dirty
	named map[*entry]struct{}
	sets  map[*set]struct{}
	round uint64 // newest Refresh that marked something here
}

// Dirty holds, by type, the names that changed, in no order; a name can be in
// it twice, or no longer be subscribed.
type Dirty [types][]string

// Empty reports whether nothing changed.
func (d *Dirty) Empty() bool {
	for _, names := range d {
		if len(names) > 0 {
			return false
		}
	}
	return true
}

// NewWatcher makes a watcher without subscriptions. The caller closes it.
func (c *Cache) NewWatcher() *Watcher {
	return &Watcher{cache: c, wake: make(chan struct{}, 1), named: map[*entry]struct{}{}}
}

// Wake holds a value when something changed since the last Take.
func (w *Watcher) Wake() <-chan struct{} { return w.wake }

// Take returns what changed since the last call.
func (w *Watcher) Take() Dirty {
	w.cache.mu.Lock()
	defer w.cache.mu.Unlock()
	d := w.dirty
	w.dirty = Dirty{}
	return d
}

// Close ends all subscriptions. The watcher must not be used afterwards.
func (w *Watcher) Close() {
	w.cache.mu.Lock()
	defer w.cache.mu.Unlock()
	for e := range w.named {
		delete(e.watchers, w)
		w.cache.release(e)
	}
	for s := range w.sets {
		w.leave(s)
	}
	w.named, w.sets, w.dirty = nil, nil, Dirty{}
}

// Subscribe adds one resource, which need not exist, and returns its newest
// form. The watcher is registered before the resource is built: a concurrent
// Refresh is either seen in the result or marked.
func (w *Watcher) Subscribe(key resource.Key) *resource.Resource {
	c := w.cache
	c.mu.Lock()
	e := c.ensure(key)
	if e.watchers == nil {
		e.watchers = map[*Watcher]struct{}{}
	}
	e.watchers[w] = struct{}{}
	w.named[e] = struct{}{}
	built, r := e.built, e.resource
	c.mu.Unlock()
	if built {
		return r
	}
	return c.load(e)
}

// Unsubscribe ends the subscription of one resource; one that was not
// subscribed is ignored.
func (w *Watcher) Unsubscribe(key resource.Key) {
	c := w.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.find(key)
	if e == nil {
		return
	}
	delete(e.watchers, w)
	delete(w.named, e)
	c.release(e)
}

// SubscribeAll adds a wildcard and returns its members sorted by name. The
// slice is shared: do not modify it.
func (w *Watcher) SubscribeAll(t resource.Type, scope resource.Scope) []*resource.Resource {
	c := w.cache
	c.mu.Lock()
	s := c.sets[t][scope]
	if s == nil {
		s = &set{
			typ: t, scope: scope,
			members:  map[string]*resource.Resource{},
			watchers: map[*Watcher]struct{}{},
		}
		c.sets[t][scope] = s
		for _, entries := range c.index[t] { // what is known by name already; once per wildcard
			for _, e := range entries {
				if e.key.Scope == scope && e.resource != nil {
					s.put(e.key.Name, e.resource)
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
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.list()
}

// fill builds the members of a new wildcard. Names that appear meanwhile come
// with their Refresh, since the set is registered already.
func (c *Cache) fill(s *set) {
	s.fill.Lock()
	defer s.fill.Unlock()
	if s.filled {
		return
	}
	for _, name := range c.builder.Names(s.typ, s.scope) {
		c.mu.Lock()
		e := c.ensure(resource.Key{Type: s.typ, Scope: s.scope, Name: name})
		c.mu.Unlock()
		if c.load(e) == nil {
			c.mu.Lock()
			c.release(e)
			c.mu.Unlock()
		}
	}
	s.filled = true
}

// UnsubscribeAll ends a wildcard; one that was not subscribed is ignored.
func (w *Watcher) UnsubscribeAll(t resource.Type, scope resource.Scope) {
	c := w.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sets[t][scope]
	if s == nil {
		return
	}
	if _, in := w.sets[s]; in {
		delete(w.sets, s)
		w.leave(s)
	}
}

// leave takes the watcher out of a wildcard, and frees it with the last one.
// c.mu is held.
func (w *Watcher) leave(s *set) {
	delete(s.watchers, w)
	c := w.cache
	if len(s.watchers) > 0 || c.sets[s.typ][s.scope] != s {
		return
	}
	delete(c.sets[s.typ], s.scope)
	for name := range s.members {
		if e := c.find(resource.Key{Type: s.typ, Scope: s.scope, Name: name}); e != nil {
			c.release(e)
		}
	}
}

// mark notes a change. Cache.mu is held. However often names change, the list
// stays shorter than four times their number.
func (w *Watcher) mark(t resource.Type, name string) {
	d := w.dirty[t]
	if n := len(d); n > 0 && d[n-1] == name {
		return
	}
	if len(d) == cap(d) && len(d) >= minCompact {
		slices.Sort(d)
		d = slices.Compact(d)
		if len(d) > cap(d)/2 {
			d = slices.Grow(d, cap(d))
		}
	}
	w.dirty[t] = append(d, name)
}

// minCompact is the length from which it is worth to look for repeated names.
const minCompact = 16

func (w *Watcher) notify() {
	select {
	case w.wake <- struct{}{}:
	default: // it knows already
	}
}
