package cache

import (
	"slices"

	"polestar/xds/resource"
)

// Refresh rebuilds the named resources in every scope that somebody watches
// and tells the watchers of those that changed. It costs O(resources touched ×
// their watchers); nothing in it depends on how many others there are.
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
	c.mu.Unlock()

	var byType [types][]string
	for _, ref := range refs {
		byType[ref.Type] = append(byType[ref.Type], ref.Name)
	}
	var woken []*Watcher
	var gone [types][]resource.Key
	for _, t := range resource.Types() {
		for _, name := range byType[t] {
			for _, key := range c.interested(t, name) {
				var removed bool
				if woken, removed = c.rebuild(key, false, woken); removed {
					gone[t] = append(gone[t], key)
				}
			}
		}
	}
	for _, t := range slices.Backward(resource.Types()) {
		for _, key := range gone[t] {
			woken, _ = c.rebuild(key, true, woken)
		}
	}
	for _, w := range woken {
		w.notify()
	}
}

// interested lists the scopes in which somebody watches a name. A wildcard is
// interested in every name that can be a member of one.
func (c *Cache) interested(t resource.Type, name string) []resource.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []resource.Key
	for _, e := range c.index[t][name] {
		keys = append(keys, e.key)
	}
	if (resource.Ref{Type: t, Name: name}).ByNameOnly() {
		return keys
	}
	for scope := range c.sets[t] {
		if key := (resource.Key{Type: t, Scope: scope, Name: name}); c.find(key) == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// rebuild builds a resource from the newest world and marks it at its watchers
// when it changed. One that existed and is gone is left as it is, and reported,
// unless remove is set.
func (c *Cache) rebuild(key resource.Key, remove bool, woken []*Watcher) (more []*Watcher, gone bool) {
	e := c.hold(key)
	if e == nil {
		return woken, false
	}
	e.build.Lock()
	defer e.build.Unlock()
	r := c.builder.Build(e.key)

	c.mu.Lock()
	defer c.mu.Unlock()
	e.held = false
	defer c.release(e)
	if r == nil && e.resource != nil && !remove {
		return woken, true
	}
	if c.publish(e, r) {
		woken = c.mark(e, e.watchers, woken)
		if s := c.sets[e.key.Type][e.key.Scope]; s != nil {
			woken = c.mark(e, s.watchers, woken)
		}
	}
	return woken, false
}

// hold returns the entry of a key, and keeps it from being dropped: whoever
// subscribes meanwhile must not build another one at the same time. It is nil
// when nobody watches the key any more.
func (c *Cache) hold(key resource.Key) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.find(key)
	if e == nil && c.sets[key.Type][key.Scope] != nil {
		e = c.ensure(key)
	}
	if e != nil {
		e.held = true
	}
	return e
}

// mark notes the change at the watchers and collects those that this round
// has not seen yet. c.mu is held.
func (c *Cache) mark(e *entry, watchers map[*Watcher]struct{}, woken []*Watcher) []*Watcher {
	for w := range watchers {
		w.mark(e.key.Type, e.key.Name)
		if w.round != c.round {
			w.round = c.round
			woken = append(woken, w)
		}
	}
	return woken
}
