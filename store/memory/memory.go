package memory

import (
	"context"
	"maps"
	"sync"
	"time"

	"polestar/naming"
	"polestar/store"
)

// Store keeps everything in maps.
type Store struct {
	bounds store.LogBounds

	mu         sync.Mutex // guards everything below
	head       naming.Revision
	log        []naming.Commit // the newest commits, in order
	namespaces map[string]*naming.Namespace
	services   map[naming.ServiceKey]*naming.Service
	instances  map[string]*naming.Instance
	clients    map[string]*naming.Client
	touched    map[naming.ServiceKey]naming.Revision
}

var _ store.Store = (*Store)(nil)

// New makes an empty store.
func New(bounds store.LogBounds) *Store {
	return &Store{
		bounds: bounds, namespaces: map[string]*naming.Namespace{}, services: map[naming.ServiceKey]*naming.Service{},
		instances: map[string]*naming.Instance{}, clients: map[string]*naming.Client{},
		touched: map[naming.ServiceKey]naming.Revision{},
	}
}

// view implements naming.View on the maps.
type view struct{ *Store }

func (v view) Namespace(name string) (*naming.Namespace, error) { return v.namespaces[name], nil }

func (v view) Service(key naming.ServiceKey) (*naming.Service, error) { return v.services[key], nil }

func (v view) Instance(id string) (*naming.Instance, error) { return v.instances[id], nil }
func (v view) Client(id string) (*naming.Client, error)     { return v.clients[id], nil }

// Apply implements store.Writer.
func (s *Store) Apply(ctx context.Context, writes []naming.Write) (naming.Commit, []naming.Result, error) {
	if ctx.Err() != nil {
		return naming.Commit{}, nil, &naming.Error{Kind: naming.NotDone, Err: context.Cause(ctx)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	commit, results, err := naming.Plan(s.head+1, naming.Micros(time.Now().UnixMicro()), view{s}, writes)
	if err != nil || commit.Revision == 0 {
		return commit, results, err
	}
	s.head = commit.Revision
	for n := range commit.Changes {
		s.put(&commit.Changes[n], commit.Revision)
	}
	s.log = append(s.log, commit)
	if over := len(s.log) - int(s.bounds.MaxRevisions); over > 0 {
		s.log = s.log[over:]
	}
	return commit, results, nil
}

func (s *Store) put(c *naming.Change, rev naming.Revision) {
	switch x := c.Object().(type) {
	case *naming.Namespace:
		set(s.namespaces, x.Name, x, c)
	case *naming.Service:
		set(s.services, x.Key, x, c)
		s.touched[x.Key] = rev
		if c.Deleted() {
			delete(s.touched, x.Key)
		}
	case *naming.Instance:
		set(s.instances, x.ID, x, c)
		s.touched[x.Service] = rev
	case *naming.Client:
		set(s.clients, x.ID, x, c)
	}
}

func set[K comparable, V any](m map[K]V, k K, v V, c *naming.Change) {
	if c.Deleted() {
		delete(m, k)
	} else {
		m[k] = v
	}
}

// Load implements store.Loader.
func (s *Store) Load(_ context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
	s.mu.Lock()
	head := s.head
	var all []naming.Object
	for _, o := range s.namespaces {
		all = append(all, o)
	}
	for _, o := range s.services {
		all = append(all, o)
	}
	for _, o := range s.instances {
		all = append(all, o)
	}
	for _, o := range s.clients {
		all = append(all, o)
	}
	marks := maps.Clone(s.touched)
	s.mu.Unlock()
	for _, o := range all {
		if err := visit(o); err != nil {
			return 0, err
		}
	}
	for key, rev := range marks {
		if err := touched(naming.Touched{Service: key, Revision: rev}); err != nil {
			return 0, err
		}
	}
	return head, nil
}

// Since implements store.Feed.
func (s *Store) Since(_ context.Context, after naming.Revision, limit int) ([]naming.Commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if after >= s.head {
		return nil, nil
	}
	if len(s.log) == 0 || s.log[0].Revision > after+1 {
		return nil, store.ErrCompacted
	}
	rest := s.log[after+1-s.log[0].Revision:]
	return rest[:min(limit, len(rest))], nil
}

// Head implements store.Store.
func (s *Store) Head(context.Context) (naming.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, nil
}

// Check implements store.Store: maps cannot be inconsistent with themselves.
func (s *Store) Check(context.Context, func(string)) error { return nil }

// Close implements store.Store.
func (s *Store) Close() error { return nil }
