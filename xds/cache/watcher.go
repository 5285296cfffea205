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
	dirty  Dirty
	named  map[*entry]struct{}
	scopes []*resource.Scope // who it asks as: a few at most
	sets   map[*set]struct{}
	round  uint64 // newest Refresh that marked something here
	peak   int    // of named
	absent int    // names that do not exist
	holder *holder
	who    string
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
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers++
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
	c := w.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := range w.named {
		delete(e.watchers, w)
		c.release(e)
	}
	for s := range w.sets {
		w.leave(s)
	}
	if w.named != nil {
		c.leaveHolder(w)
	}
	w.named, w.sets, w.dirty = nil, nil, Dirty{}
}

// Subscribe adds one resource, which need not exist, and returns its newest
// form. A watcher asks for one name of a type in one scope. It is registered
// before the resource is built: a concurrent Refresh is either seen in the
// result or marked.
func (w *Watcher) Subscribe(key resource.Key) *resource.Resource {
	c := w.cache
	r := c.lockRecord(key.Type, key.Name)
	e := r.of(w)
	if e == nil {
		e = r.ensure(r.sharing.Variant(key.Scope))
		e.add(w, w.scope(key.Scope))
	}
	built, res := e.built, e.resource
	c.mu.Unlock()
	if built {
		return res
	}
	return c.load(e)
}

// scope returns a pointer to an equal scope that all subscriptions share. c.mu
// is held.
func (w *Watcher) scope(s resource.Scope) *resource.Scope {
	for _, known := range w.scopes {
		if *known == s {
			return known
		}
	}
	w.scopes = append(w.scopes, &s)
	return &s
}

// Unsubscribe ends the subscription of one resource; one that was not
// subscribed is ignored.
func (w *Watcher) Unsubscribe(key resource.Key) {
	c := w.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.index[key.Type][key.Name]; r != nil {
		if e := r.of(w); e != nil {
			e.remove(w)
			c.release(e)
		}
	}
}

// Get returns the newest form of a resource that the watcher subscribed to, by
// name or by a wildcard; nil when it does not exist.
func (w *Watcher) Get(t resource.Type, name string) *resource.Resource {
	c := w.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.index[t][name]; r != nil {
		if e := r.of(w); e != nil {
			return e.resource
		}
	}
	var found *entry
	for s := range w.sets {
		if e := s.members[name]; s.typ == t && e != nil && (found == nil || s.part.Namespace != "") {
			found = e // what only some see is right: see set.with
		}
	}
	if found == nil {
		return nil
	}
	return found.resource
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
