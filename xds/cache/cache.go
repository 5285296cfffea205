package cache

import (
	"slices"
	"strings"
	"sync"

	"polestar/xds/resource"
)

// Builder makes resources from the newest published world.
type Builder interface {
	// Build returns the resource as it is in the newest world, nil when it does
	// not exist. It loads the world inside the call, so it is never stale. It
	// is called by many goroutines, but never twice at once for one key.
	Build(key resource.Key) *resource.Resource
	// Names lists the members of a wildcard subscription of a type, sorted. A
	// name of such a type is a member if and only if Build makes it.
	Names(t resource.Type, s resource.Scope) []string
}

const types = int(resource.Route) + 1

// Cache holds what somebody subscribed to.
//
// Locks are taken in this order: set.fill or Cache.refresh, entry.build,
// Cache.mu. Only the first two are held while building; each belongs to the
// one thing that is built.
type Cache struct {
	builder Builder
	refresh sync.Mutex // one Refresh at a time, so that its marks keep their order

	mu    sync.Mutex // short: guards everything below and all fields marked (mu)
	index [types]map[string][]*entry
	sets  [types]map[resource.Scope]*set
	round uint64 // number of the running Refresh
}

// entry is one resource in one scope.
type entry struct {
	key resource.Key

	// build is held around "load the world, build, publish", so that of two
	// builders of one key the later one always has the newer world.
	build sync.Mutex

	built    bool                  // (mu)
	held     bool                  // (mu) Refresh is building it
	dropped  bool                  // (mu) no longer in the index
	resource *resource.Resource    // (mu) nil: does not exist
	watchers map[*Watcher]struct{} // (mu) named subscriptions
}

// set is one wildcard: all resources of a type in a scope.
type set struct {
	typ   resource.Type
	scope resource.Scope

	fill   sync.Mutex // held while the first subscriber fills it
	filled bool       // guarded by fill

	members  map[string]*resource.Resource // (mu)
	sorted   []*resource.Resource          // (mu) members by name, nil when out of date; never modified
	watchers map[*Watcher]struct{}         // (mu)
}

// New makes an empty cache.
func New(b Builder) *Cache {
	c := &Cache{builder: b}
	for t := range types {
		c.index[t] = map[string][]*entry{}
		c.sets[t] = map[resource.Scope]*set{}
	}
	return c
}

// Get returns the newest form of a resource that somebody watches; nil when
// nobody does, or when it does not exist.
func (c *Cache) Get(key resource.Key) *resource.Resource {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.find(key); e != nil {
		return e.resource
	}
	return nil
}

// All returns the members of a wildcard that somebody watches, sorted by name.
// The slice is shared: do not modify it.
func (c *Cache) All(t resource.Type, scope resource.Scope) []*resource.Resource {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sets[t][scope]; s != nil {
		return s.list()
	}
	return nil
}

// Names lists the names of a type that somebody watches, in any scope, in no
// order.
func (c *Cache) Names(t resource.Type) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]string, 0, len(c.index[t]))
	for name := range c.index[t] {
		out = append(out, name)
	}
	return out
}

// Len is the number of resources held, those that are watched for but do not
// exist included.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for t := range types {
		for _, scopes := range c.index[t] {
			n += len(scopes)
		}
	}
	return n
}

// find returns the entry of a key, nil when there is none. c.mu is held.
func (c *Cache) find(key resource.Key) *entry {
	for _, e := range c.index[key.Type][key.Name] {
		if e.key.Scope == key.Scope {
			return e
		}
	}
	return nil
}

// ensure returns the entry of a key, made when missing. c.mu is held.
func (c *Cache) ensure(key resource.Key) *entry {
	if e := c.find(key); e != nil {
		return e
	}
	// The name may be a piece of a much longer message; the cache outlives it.
	key.Name = strings.Clone(key.Name)
	e := &entry{key: key}
	c.index[key.Type][key.Name] = append(c.index[key.Type][key.Name], e)
	return e
}

// release drops the entry when nobody needs it any more. c.mu is held.
func (c *Cache) release(e *entry) {
	if e.dropped || e.held || len(e.watchers) > 0 {
		return
	}
	if s := c.sets[e.key.Type][e.key.Scope]; s != nil && (!e.built || e.resource != nil) {
		return // a member of a wildcard, or about to be known as one
	}
	e.dropped = true
	scopes := c.index[e.key.Type][e.key.Name]
	scopes = slices.DeleteFunc(scopes, func(o *entry) bool { return o == e })
	if len(scopes) == 0 {
		delete(c.index[e.key.Type], e.key.Name)
		return
	}
	c.index[e.key.Type][e.key.Name] = scopes
}

// load builds the entry if nobody did before.
func (c *Cache) load(e *entry) *resource.Resource {
	e.build.Lock()
	defer e.build.Unlock()
	c.mu.Lock()
	built, r := e.built, e.resource
	c.mu.Unlock()
	if built {
		return r
	}
	r = c.builder.Build(e.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publish(e, r)
	return e.resource
}

// publish makes r the newest form and reports whether it differs from the one
// before. e.build and c.mu are held.
func (c *Cache) publish(e *entry, r *resource.Resource) bool {
	before := e.resource
	e.built = true
	if before != nil && r != nil && before.Version == r.Version {
		return false // streams compare pointers: keep the known one
	}
	e.resource = r
	if s := c.sets[e.key.Type][e.key.Scope]; s != nil {
		s.put(e.key.Name, r)
	}
	return before != r
}

// put changes one member. c.mu is held.
func (s *set) put(name string, r *resource.Resource) {
	if s.members[name] == r {
		return
	}
	s.sorted = nil
	if r == nil {
		delete(s.members, name)
		return
	}
	s.members[name] = r
}

// list returns the members sorted by name; the slice is made once per change
// and shared by all streams. c.mu is held.
func (s *set) list() []*resource.Resource {
	if s.sorted == nil {
		s.sorted = make([]*resource.Resource, 0, len(s.members))
		for _, r := range s.members {
			s.sorted = append(s.sorted, r)
		}
		slices.SortFunc(s.sorted, func(a, b *resource.Resource) int { return strings.Compare(a.Name, b.Name) })
	}
	return s.sorted
}
