package registry

import (
	"cmp"
	"fmt"
	"slices"

	"polestar/naming"
)

// Loader collects a stored world and publishes it in one step. It is used by
// one goroutine.
type Loader struct {
	into     *Registry
	next     *Snapshot
	services map[naming.ServiceKey]*naming.ServiceState
	touched  map[naming.ServiceKey]naming.Revision
}

// Load begins a load; nothing is visible before [Loader.Publish].
func (r *Registry) Load() *Loader {
	return &Loader{
		into: r, next: newSnapshot(),
		services: map[naming.ServiceKey]*naming.ServiceState{},
		touched:  map[naming.ServiceKey]naming.Revision{},
	}
}

func (l *Loader) state(key naming.ServiceKey) *naming.ServiceState {
	st := l.services[key]
	if st == nil {
		st = &naming.ServiceState{}
		l.services[key] = st
	}
	return st
}

// Add takes one stored object, in any order.
func (l *Loader) Add(o naming.Object) error {
	switch x := o.(type) {
	case *naming.Namespace:
		l.next.namespaces.Set(x.Name, x)
	case *naming.Service:
		l.state(x.Key).Service = x
		l.next.index(x, false)
	case *naming.Instance:
		st := l.state(x.Service)
		st.Instances = append(st.Instances, x)
		l.next.byID.Set(x.ID, x)
	case *naming.Client:
		l.next.clients.Set(x.ID, x)
	case *naming.Contract:
		l.next.contracts.Set(x.ObjectKey(), x)
	case *naming.Override:
		l.next.overrides.Set(x.InstanceID, x)
	default:
		if !l.next.access.put(o, false, o.ObjectRevision()) {
			return fmt.Errorf("registry: unknown kind of object %T", o)
		}
	}
	return nil
}

// Touched takes the revision at which a service or its instances last changed.
func (l *Loader) Touched(t naming.Touched) error {
	l.touched[t.Service] = t.Revision
	return nil
}

// Publish makes the loaded world visible as revision head, marking every
// service for all subscribers; a Loader is of no use afterwards. Two errors
// leave the world as it was: an instance without its service (the store
// promises that there is none), and a head older than what is visible already.
func (l *Loader) Publish(head naming.Revision) error { return l.publish(head, false) }

// Replace is Publish for a store that was cut back: what is visible and newer
// than head is taken back.
func (l *Loader) Replace(head naming.Revision) error { return l.publish(head, true) }

func (l *Loader) publish(head naming.Revision, back bool) error {
	for key, st := range l.services {
		if st.Service == nil {
			return fmt.Errorf("registry: %d instances of service %s, which is not stored", len(st.Instances), key)
		}
		slices.SortFunc(st.Instances, func(a, b *naming.Instance) int { return cmp.Compare(a.ID, b.ID) })
		st.Revision = max(st.Service.Revision, l.touched[key])
		for _, i := range st.Instances {
			st.Sum = st.Sum.Add(i.Digest())
			st.Revision = max(st.Revision, i.Revision)
		}
		st.Instances = slices.Clip(st.Instances)
		l.next.services.Set(key.StoreKey(), st)
	}
	// When a service last disappeared is not stored: the head is never too old.
	l.next.revision, l.next.servicesRevision = head, head
	l.next.access.revision = head // nor is when a user or a token went

	r := l.into
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.current.Load().revision; head < now && !back {
		return fmt.Errorf("registry: revision %d was loaded, but %d is visible already", head, now)
	}
	l.next.loads = r.current.Load().loads + 1
	dirty := map[naming.ServiceKey]bool{}
	for key := range l.services {
		dirty[key] = true
	}
	for st := range r.current.Load().Services("") {
		dirty[st.Service.Key] = true
	}
	r.current.Store(l.next)
	r.published(dirty)
	return nil
}
