package registry

import (
	"iter"
	"strings"

	"github.com/tidwall/btree"

	"polestar/naming"
)

// Snapshot is the world at one revision. It implements naming.World.
//
// The trees share their nodes between snapshots: a commit copies only the
// paths that it touches.
type Snapshot struct {
	revision         naming.Revision
	loads            uint64
	servicesRevision naming.Revision
	namespaces       *btree.Map[string, *naming.Namespace]
	services         *btree.Map[string, *naming.ServiceState] // by naming.ServiceKey.StoreKey
	byID             *btree.Map[string, *naming.Instance]
	clients          *btree.Map[string, *naming.Client]
	contracts        *btree.Map[string, *naming.Contract] // by naming.ContractKey
	overrides        *btree.Map[string, *naming.Override]
	names            *btree.Map[string, naming.ServiceKey] // name, NUL, namespace → service
	exporting        *btree.Map[string, naming.ServiceKey] // services with an ExportTo, by naming.ServiceKey.StoreKey
	aliases          *btree.Map[string, *naming.Service]   // of the service, NUL, of the alias: naming.ServiceKey.StoreKey
	access           access
}

var _ naming.World = (*Snapshot)(nil)

func newSnapshot() *Snapshot {
	return &Snapshot{
		namespaces: new(btree.Map[string, *naming.Namespace]),
		services:   new(btree.Map[string, *naming.ServiceState]),
		byID:       new(btree.Map[string, *naming.Instance]),
		clients:    new(btree.Map[string, *naming.Client]),
		contracts:  new(btree.Map[string, *naming.Contract]),
		overrides:  new(btree.Map[string, *naming.Override]),
		names:      new(btree.Map[string, naming.ServiceKey]),
		exporting:  new(btree.Map[string, naming.ServiceKey]),
		aliases:    new(btree.Map[string, *naming.Service]),
		access:     newAccess(),
	}
}

// edit returns a copy that may be changed until it is published.
func (s *Snapshot) edit() *Snapshot {
	next := *s
	next.namespaces = s.namespaces.Copy()
	next.services = s.services.Copy()
	next.byID = s.byID.Copy()
	next.clients = s.clients.Copy()
	next.contracts = s.contracts.Copy()
	next.overrides = s.overrides.Copy()
	next.names = s.names.Copy()
	next.exporting = s.exporting.Copy()
	next.aliases = s.aliases.Copy()
	next.access = s.access.edit()
	return &next
}

// index keeps what finds a service by other things than its key.
func (s *Snapshot) index(svc *naming.Service, gone bool) {
	place(s.names, svc.Key.Name+"\x00"+svc.Key.Namespace, svc.Key, gone)
	place(s.exporting, svc.Key.StoreKey(), svc.Key, gone || len(svc.ExportTo) == 0)
	if svc.IsAlias() {
		place(s.aliases, svc.AliasFor.StoreKey()+"\x00"+svc.Key.StoreKey(), svc, gone)
	}
}

// Revision implements naming.World.
func (s *Snapshot) Revision() naming.Revision { return s.revision }

// Loads implements naming.World.
func (s *Snapshot) Loads() uint64 { return s.loads }

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

// Client implements naming.World.
func (s *Snapshot) Client(id string) *naming.Client {
	c, _ := s.clients.Get(id)
	return c
}

// Clients implements naming.World.
func (s *Snapshot) Clients() iter.Seq[*naming.Client] {
	return func(yield func(*naming.Client) bool) {
		s.clients.Scan(func(_ string, c *naming.Client) bool { return yield(c) })
	}
}

// Named implements naming.World.
func (s *Snapshot) Named(name string) iter.Seq[*naming.ServiceState] {
	return func(yield func(*naming.ServiceState) bool) {
		for key := range under(s.names, name+"\x00") {
			if st := s.Service(key); st != nil && !yield(st) {
				return
			}
		}
	}
}

// ExportedTo implements naming.World. It looks only at services that export.
func (s *Snapshot) ExportedTo(namespace string) iter.Seq[*naming.ServiceState] {
	return func(yield func(*naming.ServiceState) bool) {
		for n := range s.Namespaces() {
			if n.Name == namespace {
				continue
			}
			for st := range s.exporters(n) {
				if named, _ := naming.ExportsTo(s, st.Service, namespace); named && !yield(st) {
					return
				}
			}
		}
	}
}

// exporters walks the services of a namespace that have an ExportTo, of their
// own or their namespace's.
func (s *Snapshot) exporters(n *naming.Namespace) iter.Seq[*naming.ServiceState] {
	if len(n.ServiceExportTo) > 0 {
		return s.Services(n.Name)
	}
	return func(yield func(*naming.ServiceState) bool) {
		for key := range under(s.exporting, n.Name+"\x00") {
			if st := s.Service(key); st != nil && !yield(st) {
				return
			}
		}
	}
}

// AliasesOf implements naming.World.
func (s *Snapshot) AliasesOf(key naming.ServiceKey) iter.Seq[*naming.Service] {
	return under(s.aliases, key.StoreKey()+"\x00")
}

// Contract implements naming.World.
func (s *Snapshot) Contract(key naming.ServiceKey, id string) *naming.Contract {
	c, _ := s.contracts.Get(naming.ContractKey(key, id))
	return c
}

// Contracts implements naming.World.
func (s *Snapshot) Contracts(key naming.ServiceKey) iter.Seq[*naming.Contract] {
	return under(s.contracts, naming.ContractKey(key, ""))
}

// Overrides implements naming.World.
func (s *Snapshot) Overrides() iter.Seq[*naming.Override] { return under(s.overrides, "") }

// Object finds an object of any kind by its key, nil when there is none.
func (s *Snapshot) Object(kind naming.Kind, key string) naming.Object {
	switch kind {
	case naming.KindNamespace:
		return object(s.namespaces, key)
	case naming.KindService:
		if st, ok := s.services.Get(key); ok {
			return st.Service
		}
	case naming.KindInstance:
		return object(s.byID, key)
	case naming.KindClient:
		return object(s.clients, key)
	case naming.KindContract:
		return object(s.contracts, key)
	case naming.KindOverride:
		return object(s.overrides, key)
	default:
		return s.access.object(kind, key)
	}
	return nil
}

// object finds one; nothing is a nil interface.
func object[V naming.Object](in *btree.Map[string, V], key string) naming.Object {
	if v, ok := in.Get(key); ok {
		return v
	}
	return nil
}

// Objects walks all objects, kind by kind.
func (s *Snapshot) Objects() iter.Seq[naming.Object] {
	return func(yield func(naming.Object) bool) {
		_ = each(s.namespaces, yield) &&
			each(s.services, func(st *naming.ServiceState) bool { return yield(st.Service) }) &&
			each(s.byID, yield) && each(s.clients, yield) && each(s.contracts, yield) && each(s.overrides, yield) &&
			s.access.each(yield)
	}
}

// each visits all values until the visitor returns false, and reports whether
// it never did.
func each[V any, O any](in *btree.Map[string, V], yield func(O) bool) bool {
	going := true
	in.Scan(func(_ string, v V) bool {
		going = yield(any(v).(O))
		return going
	})
	return going
}

// Len returns how many objects there are of all kinds.
func (s *Snapshot) Len() int {
	return s.namespaces.Len() + s.services.Len() + s.byID.Len() + s.clients.Len() + s.contracts.Len() + s.overrides.Len() + s.access.len()
}

// under walks the values whose keys begin with prefix, in order.
func under[V any](m *btree.Map[string, V], prefix string) iter.Seq[V] {
	return func(yield func(V) bool) {
		m.Ascend(prefix, func(key string, v V) bool { return strings.HasPrefix(key, prefix) && yield(v) })
	}
}

// Counts returns how many namespaces, services, instances and clients there are.
func (s *Snapshot) Counts() (namespaces, services, instances, clients int) {
	return s.namespaces.Len(), s.services.Len(), s.byID.Len(), s.clients.Len()
}
