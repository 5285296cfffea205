package registry

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"

	"polestar/naming"
)

// Registry publishes the registered world.
type Registry struct {
	current atomic.Pointer[Snapshot]

	mu   sync.Mutex // held while a commit is applied; readers never take it
	subs map[*Subscription]struct{}
	next chan struct{} // closed when the next revision is visible; nil while nobody waits
}

// New makes an empty registry at revision 0.
func New() *Registry {
	r := &Registry{subs: map[*Subscription]struct{}{}}
	r.current.Store(newSnapshot())
	return r
}

// World returns the newest published snapshot.
func (r *Registry) World() naming.World { return r.current.Load() }

// Snapshot returns the newest published snapshot.
func (r *Registry) Snapshot() *Snapshot { return r.current.Load() }

// Apply publishes the next commit. A commit that is already in (by revision)
// is ignored, so that a retry is harmless; a gap is an error, and the caller
// reloads.
func (r *Registry) Apply(c naming.Commit) error {
	if c.Revision == 0 {
		return nil // nothing changed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.current.Load()
	if c.Revision <= now.revision {
		return nil
	}
	if c.Revision != now.revision+1 {
		return fmt.Errorf("registry: revision %d came after %d: the ones between are missing", c.Revision, now.revision)
	}
	e := editor{next: now.edit(), touched: map[naming.ServiceKey]*delta{}}
	e.next.revision = c.Revision
	for n := range c.Changes {
		e.apply(&c.Changes[n])
	}
	dirty := e.finish(c.Revision)
	r.current.Store(e.next)
	r.published(dirty)
	return nil
}

// delta is what one commit does to one service.
type delta struct {
	service    *naming.Service             // set when the service itself changed
	gone       bool                        // the service was deleted
	instances  map[string]*naming.Instance // by id; nil value: removed
	membership bool
}

type editor struct {
	next    *Snapshot
	touched map[naming.ServiceKey]*delta
}

func (e *editor) delta(key naming.ServiceKey) *delta {
	d := e.touched[key]
	if d == nil {
		d = &delta{instances: map[string]*naming.Instance{}}
		e.touched[key] = d
	}
	return d
}

func (e *editor) apply(c *naming.Change) {
	switch x := c.Object().(type) {
	case *naming.Namespace:
		place(e.next.namespaces, x.Name, x, c.Deleted())
		e.exports(c)
	case *naming.Service:
		e.next.index(x, c.Deleted())
		d := e.delta(x.Key)
		d.membership, d.gone, d.service = true, c.Deleted(), x
	case *naming.Instance:
		d := e.delta(x.Service)
		if c.Deleted() {
			d.instances[x.ID] = nil
			e.next.byID.Delete(x.ID)
		} else {
			d.instances[x.ID] = x
			e.next.byID.Set(x.ID, x)
		}
	case *naming.Client:
		place(e.next.clients, x.ID, x, c.Deleted())
	case *naming.Contract:
		place(e.next.contracts, x.ObjectKey(), x, c.Deleted())
	case *naming.Override:
		place(e.next.overrides, x.InstanceID, x, c.Deleted())
	default:
		e.next.access.put(c.Object(), c.Deleted(), e.next.revision)
	}
}

// place puts an object into a tree, or takes it out.
func place[V any](into *btree.Map[string, V], key string, v V, gone bool) {
	if gone {
		into.Delete(key)
	} else {
		into.Set(key, v)
	}
}

// exports marks the services of a namespace that changed whom it shows them:
// they look the same, but not to everybody.
func (e *editor) exports(c *naming.Change) {
	before, _ := c.Before.(*naming.Namespace)
	after, _ := c.After.(*naming.Namespace)
	if before == nil || after == nil || slices.Equal(before.ServiceExportTo, after.ServiceExportTo) {
		return // a namespace comes without services and goes without them
	}
	for st := range e.next.Services(after.Name) {
		e.delta(st.Service.Key).membership = true
	}
}

// finish replaces each touched service once, however many of its instances
// changed, and returns what followers must look at.
func (e *editor) finish(rev naming.Revision) map[naming.ServiceKey]bool {
	dirty := make(map[naming.ServiceKey]bool, len(e.touched))
	for key, d := range e.touched {
		dirty[key] = d.membership
		if d.membership {
			e.next.servicesRevision = rev
		}
		old := e.next.Service(key)
		if d.gone {
			e.next.services.Delete(key.StoreKey())
			continue
		}
		st := &naming.ServiceState{Revision: rev, Service: d.service}
		if old != nil {
			st.Instances, st.Sum = old.Instances, old.Sum
			if st.Service == nil {
				st.Service = old.Service
			}
		}
		if st.Service == nil {
			continue // a removal of the last instance raced the service's deletion in one commit
		}
		st.Instances, st.Sum = merge(st.Instances, st.Sum, d.instances)
		e.next.services.Set(key.StoreKey(), st)
	}
	return dirty
}

// merge returns old with the changes put in, sorted by id, and the new sum.
func merge(old []*naming.Instance, sum naming.Digest, changes map[string]*naming.Instance) ([]*naming.Instance, naming.Digest) {
	if len(changes) == 0 {
		return old, sum
	}
	ids := make([]string, 0, len(changes))
	for id := range changes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	out := make([]*naming.Instance, 0, len(old)+len(ids))
	for _, id := range ids {
		at, found := slices.BinarySearchFunc(old, id, func(i *naming.Instance, id string) int { return cmp.Compare(i.ID, id) })
		out = append(out, old[:at]...)
		old = old[at:]
		if found {
			sum = sum.Sub(old[0].Digest())
			old = old[1:]
		}
		if i := changes[id]; i != nil {
			sum = sum.Add(i.Digest())
			out = append(out, i)
		}
	}
	return append(out, old...), sum
}
