package cache

import (
	"strings"
	"sync"

	"polestar/xds/resource"
)

// Builder makes resources from the newest published world. Each call loads the
// world inside, so it is never stale.
type Builder interface {
	// Build returns one form of a resource as it is in the newest world, nil
	// when it does not exist. It is called by many goroutines, but never twice
	// at once for one form.
	Build(f resource.Form) *resource.Resource
	// Sharing says which clients have which form of a resource.
	Sharing(t resource.Type, name string) resource.Sharing
	// Names lists what can belong to a part of a wildcard, sorted; see
	// [resource.Sharing.Member].
	Names(t resource.Type, part resource.Scope) []string
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
	index [types]map[string]*record
	sets  [types]map[resource.Scope]*set
	round uint64     // number of the newest Refresh
	peaks [types]int // of the index: see [Shrunk]

	watchers  int // not closed
	absent    int // names of all of them that do not exist
	maxAbsent int
	holders   map[string]*holder
}

// New makes an empty cache.
func New(b Builder) *Cache {
	c := &Cache{builder: b, maxAbsent: DefaultMaxAbsent, holders: map[string]*holder{}}
	for t := range types {
		c.index[t] = map[string]*record{}
		c.sets[t] = map[resource.Scope]*set{}
	}
	return c
}

// Get returns the newest form of a resource, as clients of the key's scope see
// it; nil when nobody watches that form, or when it does not exist.
func (c *Cache) Get(key resource.Key) *resource.Resource {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.index[key.Type][key.Name]; r != nil {
		if e := r.find(r.sharing.Variant(key.Scope)); e != nil {
			return e.resource
		}
	}
	return nil
}

// Current returns a form as it was last built; nil when nobody watches it, or
// when it does not exist.
func (c *Cache) Current(f resource.Form) *resource.Resource {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.index[f.Type][f.Name]; r != nil {
		if e := r.find(f.Variant); e != nil {
			return e.resource
		}
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

// Len is the number of forms held, those that are watched for but do not
// exist included.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for t := range types {
		for _, r := range c.index[t] {
			n += len(r.entries)
		}
	}
	return n
}

// record is one name of one type, in all its forms.
type record struct {
	typ     resource.Type
	name    string
	sharing resource.Sharing // (mu) by which watchers are at their entries
	entries []*entry         // (mu)
	held    int              // (mu) a Refresh is at it: it stays in the index
}

// entry is one form of a resource.
type entry struct {
	*record
	variant resource.Variant

	// build is held around "load the world, build, publish", so that of two
	// builders of one form the later one always has the newer world.
	build sync.Mutex

	built    bool                         // (mu)
	dropped  bool                         // (mu) no longer in its record
	held     int                          // (mu) somebody is building it: it stays in its record
	resource *resource.Resource           // (mu) nil: does not exist
	watchers map[*Watcher]*resource.Scope // (mu) named subscriptions, and who asked
	members  int                          // (mu) number of sets that it is in
}

// lockRecord returns the record of a name, made when missing, with c.mu held.
// The builder is asked without the lock, and asked again when a Refresh began
// meanwhile: it has not seen the record.
func (c *Cache) lockRecord(t resource.Type, name string) *record {
	c.mu.Lock()
	for {
		if r := c.index[t][name]; r != nil {
			return r
		}
		round := c.round
		c.mu.Unlock()
		sharing := c.builder.Sharing(t, name)
		c.mu.Lock()
		if c.index[t][name] == nil && c.round == round {
			return c.newRecord(t, name, sharing)
		}
	}
}

// newRecord puts a record into the index. c.mu is held.
func (c *Cache) newRecord(t resource.Type, name string, s resource.Sharing) *record {
	// The name may be a piece of a much longer message; the cache outlives it.
	r := &record{typ: t, name: strings.Clone(name), sharing: s}
	c.index[t][r.name] = r
	c.peaks[t] = max(c.peaks[t], len(c.index[t]))
	return r
}

// find returns the entry of a variant, nil when there is none. c.mu is held.
func (r *record) find(v resource.Variant) *entry {
	for _, e := range r.entries {
		if e.variant == v {
			return e
		}
	}
	return nil
}

// ensure returns the entry of a variant, made when missing. c.mu is held.
func (r *record) ensure(v resource.Variant) *entry {
	e := r.find(v)
	if e == nil {
		e = &entry{record: r, variant: v}
		r.entries = append(r.entries, e)
	}
	return e
}

// of returns the entry that a watcher subscribed to, nil when there is none.
// c.mu is held.
func (r *record) of(w *Watcher) *entry {
	for _, e := range r.entries {
		if _, in := e.watchers[w]; in {
			return e
		}
	}
	return nil
}

func (e *entry) form() resource.Form {
	return resource.Form{Type: e.typ, Variant: e.variant, Name: e.name}
}

// add subscribes a watcher. c.mu is held.
func (e *entry) add(w *Watcher, scope *resource.Scope) {
	if e.watchers == nil {
		e.watchers = map[*Watcher]*resource.Scope{}
	}
	e.watchers[w] = scope
	w.named[e] = struct{}{}
	w.peak = max(w.peak, len(w.named))
	if e.resource == nil {
		w.cache.count(w, 1)
	}
}

// remove ends a subscription. c.mu is held.
func (e *entry) remove(w *Watcher) {
	delete(e.watchers, w)
	delete(w.named, e)
	w.named = Shrunk(w.named, &w.peak)
	if e.resource == nil {
		w.cache.count(w, -1)
	}
}

// release drops an entry, and its record, when nobody needs it any more. c.mu
// is held.
func (c *Cache) release(e *entry) {
	if e.dropped || e.held > 0 || e.members > 0 || len(e.watchers) > 0 {
		return
	}
	e.dropped = true
	r := e.record
	for n, o := range r.entries {
		if o == e {
			r.entries[n] = r.entries[len(r.entries)-1]
			r.entries[len(r.entries)-1] = nil
			r.entries = r.entries[:len(r.entries)-1]
			break
		}
	}
	c.releaseRecord(r)
}

func (c *Cache) releaseRecord(r *record) {
	if r.held == 0 && len(r.entries) == 0 && c.index[r.typ][r.name] == r {
		delete(c.index[r.typ], r.name)
		c.index[r.typ] = Shrunk(c.index[r.typ], &c.peaks[r.typ])
	}
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
	r = c.builder.Build(e.form())
	var b bell
	c.mu.Lock()
	c.publish(e, r, &b)
	r = e.resource
	c.mu.Unlock()
	b.ring()
	return r
}

// publish makes r the newest form, and tells those who have the entry through
// a wildcard when it differs from the one before. e.build and c.mu are held.
func (c *Cache) publish(e *entry, r *resource.Resource, b *bell) {
	before := e.resource
	e.built = true
	if before == r || before != nil && r != nil && before.Version == r.Version {
		return // streams compare pointers: keep the known one
	}
	e.resource = r
	if (before == nil) != (r == nil) {
		n := -1
		if r == nil {
			n = 1
		}
		for w := range e.watchers {
			c.count(w, n)
		}
	}
	for part, s := range c.sets[e.typ] {
		switch v, member := e.sharing.Member(part); {
		case s.members[e.name] == e:
			s.put(e.name, unless(r == nil, e))
		case r != nil && member && v == e.variant && s.members[e.name] == nil:
			s.put(e.name, e)
		default:
			continue
		}
		if s.filled { // else its watchers will look anyway
			mark(e.record, s.watchers, b)
		}
	}
}

func unless(no bool, e *entry) *entry {
	if no {
		return nil
	}
	return e
}
