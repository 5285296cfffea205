package naming

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
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
	for _, v := range []string{s.ID, s.Key.Namespace, s.Key.Name, s.Ports, s.Business, s.Department, s.Comment, s.Owner} {
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
	// Clients walks the reported clients in order of their id.
	Clients() iter.Seq[*Client]
}
