package registry

import (
	"iter"

	"github.com/tidwall/btree"

	"polestar/naming"
)

// Snapshot is the world at one revision. It implements naming.World.
//
// The trees share their nodes between snapshots: a commit copies only the
// paths that it touches.
type Snapshot struct {
	revision         naming.Revision
	servicesRevision naming.Revision
	namespaces       *btree.Map[string, *naming.Namespace]
	services         *btree.Map[string, *naming.ServiceState] // by naming.ServiceKey.StoreKey
	byID             *btree.Map[string, *naming.Instance]
	clients          *btree.Map[string, *naming.Client]
}

var _ naming.World = (*Snapshot)(nil)

func newSnapshot() *Snapshot {
	return &Snapshot{
		namespaces: new(btree.Map[string, *naming.Namespace]),
		services:   new(btree.Map[string, *naming.ServiceState]),
		byID:       new(btree.Map[string, *naming.Instance]),
		clients:    new(btree.Map[string, *naming.Client]),
	}
}

// edit returns a copy that may be changed until it is published.
func (s *Snapshot) edit() *Snapshot {
	next := *s
	next.namespaces = s.namespaces.Copy()
	next.services = s.services.Copy()
	next.byID = s.byID.Copy()
	next.clients = s.clients.Copy()
	return &next
}

// Revision implements naming.World.
func (s *Snapshot) Revision() naming.Revision { return s.revision }

// ServicesRevision implements naming.World.
func (s *Snapshot) ServicesRevision() naming.Revision { return s.servicesRevision }

// Service implements naming.World.
func (s *Snapshot) Service(key naming.ServiceKey) *naming.ServiceState {
	st, _ := s.services.Get(key.StoreKey())
	return st
}

// Services implements naming.World.
func (s *Snapshot) Services(namespace string) iter.Seq[*naming.ServiceState] {
	return func(yield func(*naming.ServiceState) bool) {
		if namespace == "" {
			s.services.Scan(func(_ string, st *naming.ServiceState) bool { return yield(st) })
			return
		}
		s.services.Ascend(naming.ServiceKey{Namespace: namespace}.StoreKey(), func(_ string, st *naming.ServiceState) bool {
			return st.Service.Key.Namespace == namespace && yield(st)
		})
	}
}

// Namespace implements naming.World.
func (s *Snapshot) Namespace(name string) *naming.Namespace {
	n, _ := s.namespaces.Get(name)
	return n
}

// Namespaces implements naming.World.
func (s *Snapshot) Namespaces() iter.Seq[*naming.Namespace] {
	return func(yield func(*naming.Namespace) bool) {
		s.namespaces.Scan(func(_ string, n *naming.Namespace) bool { return yield(n) })
	}
}

// Instance implements naming.World.
func (s *Snapshot) Instance(id string) *naming.Instance {
	i, _ := s.byID.Get(id)
	return i
}

// Clients implements naming.World.
func (s *Snapshot) Clients() iter.Seq[*naming.Client] {
	return func(yield func(*naming.Client) bool) {
		s.clients.Scan(func(_ string, c *naming.Client) bool { return yield(c) })
	}
}

// Counts returns how many namespaces, services, instances and clients there are.
func (s *Snapshot) Counts() (namespaces, services, instances, clients int) {
	return s.namespaces.Len(), s.services.Len(), s.byID.Len(), s.clients.Len()
}
