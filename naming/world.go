package naming

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"slices"
)

// ServiceState is everything that is known of one service at one revision: an
// immutable value, replaced as a whole.
type ServiceState struct {
	Service   *Service
	Instances []*Instance // sorted by id; do not modify
	Sum       Digest      // sum of the instances' digests
	Revision  Revision    // of the last commit that changed the service or an instance of it
}

// Digest hashes the content of the service with its instances. Equal content
// has an equal digest on every server and after a restart: it is the revision
// that Discover compares.
func (s *ServiceState) Digest() Digest {
	own := s.Service.Digest()
	return sha256.Sum256(append(own[:], s.Sum[:]...))
}

// Digest hashes what clients see of the service itself, without its instances,
// times and revision.
func (s *Service) Digest() Digest {
	b := make([]byte, 0, 256)
	str := func(v string) { b = append(binary.AppendUvarint(b, uint64(len(v))), v...) }
	for _, v := range []string{
		s.ID, s.Key.Namespace, s.Key.Name, s.Ports, s.Business, s.Department, s.Comment, s.Owner,
		s.Cmdb[0], s.Cmdb[1], s.Cmdb[2], s.AliasFor.Namespace, s.AliasFor.Name,
	} {
		str(v)
	}
	b = binary.AppendUvarint(b, uint64(len(s.ExportTo)))
	for _, v := range s.ExportTo {
		str(v)
	}
	for _, p := range s.Metadata {
		str(p.Key)
		str(p.Value)
	}
	return sha256.Sum256(b)
}

// World is the registered world at one revision: an immutable snapshot.
// naming/registry implements it.
type World interface {
	// Revision of the newest commit in this snapshot.
	Revision() Revision
	// Loads counts how often this server loaded the world as a whole. Content of
	// one revision is the same within one load; a store that was damaged can give
	// another one at the next.
	Loads() uint64
	// Service returns the state of a service, nil when there is none.
	Service(key ServiceKey) *ServiceState
	// Services walks the services of a namespace in order of their name; the
	// empty namespace walks all, ordered by namespace and name.
	Services(namespace string) iter.Seq[*ServiceState]
	// ServicesRevision is the newest revision at which a service appeared,
	// disappeared or changed itself (not its instances).
	ServicesRevision() Revision
	// Namespace returns a namespace, nil when there is none.
	Namespace(name string) *Namespace
	// Namespaces walks the namespaces in order of their name.
	Namespaces() iter.Seq[*Namespace]
	// Instance finds an instance by its id, nil when there is none.
	Instance(id string) *Instance
	// Client finds a reported client by its id, nil when there is none.
	Client(id string) *Client
	// Clients walks the reported clients in order of their id.
	Clients() iter.Seq[*Client]
	// Named walks the services of one name in all namespaces, in their order.
	Named(name string) iter.Seq[*ServiceState]
	// ExportedTo walks the services of other namespaces that export to this one,
	// by its name or "*" (see [ExportsTo]), in order of their key.
	ExportedTo(namespace string) iter.Seq[*ServiceState]
	// AliasesOf walks the aliases of a service in order of their key.
	AliasesOf(key ServiceKey) iter.Seq[*Service]
	// Contract finds a contract by its service and id, nil when there is none.
	Contract(key ServiceKey, id string) *Contract
	// Contracts walks the contracts of a service in order of their id.
	Contracts(key ServiceKey) iter.Seq[*Contract]
	// Overrides walks what operators set on instances that are not registered
	// now, in order of the instances' ids.
	Overrides() iter.Seq[*Override]
	// Users walks the users in order of their id.
	Users() iter.Seq[*User]
	// Groups walks the groups in order of their id.
	Groups() iter.Seq[*Group]
	// Tokens walks the tokens in order of their id.
	Tokens() iter.Seq[*Token]
	// Policies walks the policies in order of their id.
	Policies() iter.Seq[*Policy]
	// AccessRevision is the newest revision at which a user, group, token or
	// policy came, went or changed.
	AccessRevision() Revision
}

// Resolve returns the state of a service, of an alias that of the service it
// stands for; nil when there is none.
func Resolve(w World, key ServiceKey) *ServiceState {
	st := w.Service(key)
	if st != nil && st.Service.IsAlias() {
		return w.Service(st.Service.AliasFor)
	}
	return st
}

// Exported returns the services of a name that other namespaces export to that
// of key, in order of their namespace; of an alias its source. Each is there
// once, under whatever names it is exported.
func Exported(w World, key ServiceKey) []*ServiceState {
	var out []*ServiceState
	for st := range w.Named(key.Name) {
		if st.Service.Key == key {
			continue
		}
		named, _ := ExportsTo(w, st.Service, key.Namespace)
		source := Resolve(w, st.Service.Key)
		if named && source != nil && !slices.Contains(out, source) {
			out = append(out, source)
		}
	}
	return out
}

// ExportList is the ExportTo that is in force for a service: its own, or that
// of its namespace.
func ExportList(w World, s *Service) []string {
	if len(s.ExportTo) > 0 {
		return s.ExportTo
	}
	if ns := w.Namespace(s.Key.Namespace); ns != nil {
		return ns.ServiceExportTo
	}
	return nil
}

// ExportsTo reports what s and its namespace say of another namespace: whether
// they name it ("*" names all), and whether they name any at all. Who names
// nobody is seen by everybody who asks for the full name.
func ExportsTo(w World, s *Service, namespace string) (named, restricted bool) {
	list := ExportList(w, s)
	return slices.Contains(list, namespace) || slices.Contains(list, "*"), len(list) > 0
}

// Visible reports whether a client of a namespace may see a service.
func Visible(w World, s *Service, namespace string) bool {
	named, restricted := ExportsTo(w, s, namespace)
	return s.Key.Namespace == namespace || named || !restricted
}
