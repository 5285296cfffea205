package naming_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"polestar/naming"
)

// shelf is the smallest stored world: maps that Plan reads and that its
// commits are put into.
type shelf struct {
	head       naming.Revision
	namespaces map[string]*naming.Namespace
	services   map[naming.ServiceKey]*naming.Service
	instances  map[string]*naming.Instance
	clients    map[string]*naming.Client
	contracts  map[string]*naming.Contract
	overrides  map[string]*naming.Override
	epochs     map[string]uint64
	access     map[string]naming.Object // by kind and id
	fail       error                    // what every read answers
}

func newShelf() *shelf {
	return &shelf{
		namespaces: map[string]*naming.Namespace{}, services: map[naming.ServiceKey]*naming.Service{},
		instances: map[string]*naming.Instance{}, clients: map[string]*naming.Client{},
		contracts: map[string]*naming.Contract{}, overrides: map[string]*naming.Override{}, access: map[string]naming.Object{},
	}
}

func (s *shelf) Namespace(name string) (*naming.Namespace, error) { return s.namespaces[name], s.fail }

func (s *shelf) Service(key naming.ServiceKey) (*naming.Service, error) {
	return s.services[key], s.fail
}

func (s *shelf) Instance(id string) (*naming.Instance, error) { return s.instances[id], s.fail }

func (s *shelf) Client(id string) (*naming.Client, error) { return s.clients[id], s.fail }

func (s *shelf) Contract(key naming.ServiceKey, id string) (*naming.Contract, error) {
	return s.contracts[naming.ContractKey(key, id)], s.fail
}

func (s *shelf) Override(id string) (*naming.Override, error) { return s.overrides[id], s.fail }

func (s *shelf) Usage(key naming.ServiceKey) (naming.Usage, error) {
	var u naming.Usage
	for _, i := range s.instances {
		if i.Service == key {
			u.Instances++
		}
	}
	for _, svc := range s.services {
		if svc.AliasFor == key {
			u.Aliases++
		}
	}
	return u, s.fail
}

func (s *shelf) ServicesIn(namespace string, visit func(naming.ServiceKey) bool) error {
	for key := range s.services {
		if key.Namespace == namespace && !visit(key) {
			break
		}
	}
	return s.fail
}

func (s *shelf) ContractsOf(key naming.ServiceKey, visit func(*naming.Contract)) error {
	for _, c := range s.contracts {
		if c.Service == key {
			visit(c)
		}
	}
	return s.fail
}

func (s *shelf) Epoch(duty string) (uint64, error) { return s.epochs[duty], s.fail }

func (s *shelf) Access(visit func(naming.Object)) error {
	for _, o := range s.access {
		visit(o)
	}
	return s.fail
}

// apply decides one group and stores what came out, at a time that follows
// from the revision.
func (s *shelf) apply(t fataler, writes ...naming.Write) (naming.Commit, []naming.Result) {
	t.Helper()
	next := s.head + 1
	commit, results, err := naming.Plan(next, at(next), s, writes)
	if err != nil {
		t.Fatalf("Plan: %v", err)
	}
	s.put(commit)
	return commit, results
}

// at is the wall clock of a shelf's commit.
func at(r naming.Revision) naming.Micros { return naming.Micros(1000 * r) }

func (s *shelf) put(commit naming.Commit) {
	s.head = max(s.head, commit.Revision)
	for n := range commit.Changes {
		c := &commit.Changes[n]
		switch x := c.Object().(type) {
		case *naming.Namespace:
			keep(s.namespaces, x.Name, x, c)
		case *naming.Service:
			keep(s.services, x.Key, x, c)
		case *naming.Instance:
			keep(s.instances, x.ID, x, c)
		case *naming.Client:
			keep(s.clients, x.ID, x, c)
		case *naming.Contract:
			keep(s.contracts, x.ObjectKey(), x, c)
		case *naming.Override:
			keep(s.overrides, x.InstanceID, x, c)
		case *naming.Refusal: // in the log only
		default:
			keep(s.access, x.ObjectKind().String()+x.ObjectKey(), x, c)
		}
	}
}

// fataler is what *testing.T and *rapid.T have in common here.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func keep[K comparable, V any](m map[K]V, k K, v V, c *naming.Change) {
	if c.Deleted() {
		delete(m, k)
	} else {
		m[k] = v
	}
}

// Do makes a shelf a naming.Writer of groups of one.
func (s *shelf) Do(_ context.Context, w naming.Write) (naming.Result, error) {
	commit, results, err := naming.Plan(s.head+1, at(s.head+1), s, []naming.Write{w})
	if err != nil {
		return naming.Result{}, err
	}
	s.put(commit)
	return results[0], nil
}

// World shows the instances of the shelf; the use cases ask for nothing else.
func (s *shelf) World() naming.World { return lookup{nil, s} }

type lookup struct {
	naming.World // nil: any other question is a bug of the test
	shelf        *shelf
}

func (l lookup) Instance(id string) *naming.Instance { return l.shelf.instances[id] }

func (l lookup) Client(id string) *naming.Client { return l.shelf.clients[id] }

func (l lookup) Service(key naming.ServiceKey) *naming.ServiceState {
	st := &naming.ServiceState{Service: l.shelf.services[key]}
	for _, id := range slices.Sorted(maps.Keys(l.shelf.instances)) {
		if i := l.shelf.instances[id]; i.Service == key {
			st.Instances = append(st.Instances, i)
		}
	}
	if st.Service == nil {
		return nil
	}
	return st
}

// beats notes whose lease was renewed; only the ids in it have one.
type beats map[string]int

func (b beats) Beat(id string) bool {
	if _, known := b[id]; !known {
		return false
	}
	b[id]++
	return true
}

// registration is a valid one with every field within its bounds.
func registration() naming.Registration {
	return naming.Registration{
		Service: naming.ServiceKey{Namespace: "default", Name: "orders"}, Host: "10.0.0.1", Port: new(uint32(8080)),
	}
}

// registrar makes the use cases on a fresh shelf.
func registrar(t *testing.T) (*naming.Registrar, *shelf, beats) {
	t.Helper()
	s, b := newShelf(), beats{}
	return naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: s, World: s, Beats: b}), s, b
}
