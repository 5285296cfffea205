package memory

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"polestar/naming"
	"polestar/store"
)

// Store keeps everything in one map.
type Store struct {
	bounds store.LogBounds

	mu      sync.Mutex // guards everything below
	head    naming.Revision
	seq     uint64          // of the last record
	log     []naming.Commit // the newest commits, in order
	objects map[id]naming.Object
	touched map[naming.ServiceKey]naming.Revision
	duties  map[string]*duty
}

// duty is who has one, and until when.
type duty struct {
	naming.Leader
	until time.Time
}

type id struct {
	kind naming.Kind
	key  string
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Scanner   = (*Store)(nil)
	_ store.Elections = (*Store)(nil)
)

// New makes an empty store.
func New(bounds store.LogBounds) *Store {
	return &Store{bounds: bounds, objects: map[id]naming.Object{}, touched: map[naming.ServiceKey]naming.Revision{}, duties: map[string]*duty{}}
}

// view implements naming.View on the map.
type view struct{ *Store }

func get[T naming.Object](v view, kind naming.Kind, key string) T {
	x, _ := v.objects[id{kind, key}].(T)
	return x
}

func (v view) Namespace(name string) (*naming.Namespace, error) {
	return get[*naming.Namespace](v, naming.KindNamespace, name), nil
}

func (v view) Service(key naming.ServiceKey) (*naming.Service, error) {
	return get[*naming.Service](v, naming.KindService, key.StoreKey()), nil
}

func (v view) Instance(id string) (*naming.Instance, error) {
	return get[*naming.Instance](v, naming.KindInstance, id), nil
}

func (v view) Client(id string) (*naming.Client, error) {
	return get[*naming.Client](v, naming.KindClient, id), nil
}

func (v view) Contract(key naming.ServiceKey, id string) (*naming.Contract, error) {
	return get[*naming.Contract](v, naming.KindContract, naming.ContractKey(key, id)), nil
}

func (v view) Override(instanceID string) (*naming.Override, error) {
	return get[*naming.Override](v, naming.KindOverride, instanceID), nil
}

func (v view) Usage(key naming.ServiceKey) (sum naming.Usage, err error) {
	for _, o := range v.objects {
		if of, u, ok := naming.UsageOf(&naming.Change{After: o}); ok && of == key {
			sum = sum.Add(u)
		}
	}
	return sum, nil
}

func (v view) ServicesIn(namespace string, visit func(naming.ServiceKey) bool) error {
	for _, o := range v.objects {
		if s, ok := o.(*naming.Service); ok && s.Key.Namespace == namespace && !visit(s.Key) {
			break
		}
	}
	return nil
}

func (v view) ContractsOf(key naming.ServiceKey, visit func(*naming.Contract)) error {
	for _, o := range v.objects {
		if c, ok := o.(*naming.Contract); ok && c.Service == key {
			visit(c)
		}
	}
	return nil
}

func (v view) Epoch(name string) (uint64, error) {
	if d := v.duties[name]; d != nil {
		return d.Epoch, nil
	}
	return 0, nil
}

// Lead implements store.Elections.
func (s *Store) Lead(_ context.Context, name, server string, term time.Duration) (naming.Leader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	d := s.duties[name]
	if d == nil {
		d = &duty{Leader: naming.Leader{Duty: name}}
		s.duties[name] = d
	}
	if d.ID != server && !now.Before(d.until) {
		d.ID, d.Epoch, d.Since = server, d.Epoch+1, naming.Micros(now.UnixMicro())
	}
	if d.ID == server {
		d.until = now.Add(term)
	}
	return d.Leader, nil
}

// Resign implements store.Elections.
func (s *Store) Resign(_ context.Context, l naming.Leader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.duties[l.Duty]; d != nil && d.ID == l.ID && d.Epoch == l.Epoch {
		d.ID, d.until = "", time.Time{}
	}
	return nil
}

func (v view) Access(visit func(naming.Object)) error {
	for at, o := range v.objects {
		if at.kind.Access() {
			visit(o)
		}
	}
	return nil
}

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
	s.seq++
	commit.Record, commit.After = naming.Record{Writer: 1, Seq: s.seq}, s.recordAt(s.head)
	s.head = commit.Revision
	for n := range commit.Changes {
		s.put(&commit.Changes[n], commit.Revision)
	}
	s.log = append(s.log, commit)
	if over := len(s.log) - int(s.bounds.MaxRevisions); over > 0 {
		s.log = s.log[over:]
	}
	for s.bounds.MaxAge > 0 && len(s.log) > 1 && s.log[0].Time < commit.Time-naming.Micros(s.bounds.MaxAge.Microseconds()) {
		s.log = s.log[1:]
	}
	return commit, results, nil
}

func (s *Store) put(c *naming.Change, rev naming.Revision) {
	o := c.Object()
	if !o.ObjectKind().Kept() {
		return
	}
	if at := (id{o.ObjectKind(), o.ObjectKey()}); c.Deleted() {
		delete(s.objects, at)
	} else {
		s.objects[at] = o
	}
	switch x := o.(type) {
	case *naming.Service:
		s.touched[x.Key] = rev
		if c.Deleted() {
			delete(s.touched, x.Key)
		}
	case *naming.Instance:
		s.touched[x.Service] = rev
	}
}

// Load implements store.Loader.
func (s *Store) Load(_ context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
	s.mu.Lock()
	head, all, marks := s.head, slices.Collect(maps.Values(s.objects)), maps.Clone(s.touched)
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b naming.Object) int { return int(a.ObjectKind()) - int(b.ObjectKind()) })
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

// Scan implements store.Scanner.
func (s *Store) Scan(_ context.Context, at func(naming.Revision) error, visit func(naming.Object) error) error {
	s.mu.Lock()
	head, all := s.head, slices.Collect(maps.Values(s.objects))
	s.mu.Unlock()
	err := at(head)
	for n := 0; n < len(all) && err == nil; n++ {
		err = visit(all[n])
	}
	return err
}

// Restore implements store.Restorer.
func (s *Store) Restore(ctx context.Context, load store.LoadFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head != 0 {
		return naming.Errorf(naming.Conflict, "store", "the store is not empty, it has revision %d; nothing was done", s.head)
	}
	next := New(s.bounds)
	head, err := load(ctx, func(o naming.Object) error {
		next.objects[id{o.ObjectKind(), o.ObjectKey()}] = o
		return nil
	}, func(t naming.Touched) error {
		next.touched[t.Service] = t.Revision
		return nil
	})
	if err != nil {
		return err
	}
	s.head, s.objects, s.touched = head, next.objects, next.touched
	return nil
}

// Since implements store.Feed.
func (s *Store) Since(_ context.Context, after naming.Revision, limit int) ([]naming.Commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since(after, limit)
}

// since is Since with s.mu held.
func (s *Store) since(after naming.Revision, limit int) ([]naming.Commit, error) {
	if after >= s.head {
		return nil, nil
	}
	if len(s.log) == 0 || s.log[0].Revision > after+1 {
		return nil, store.ErrCompacted
	}
	rest := s.log[after+1-s.log[0].Revision:]
	return rest[:min(limit, len(rest))], nil
}

// Tail implements store.Feed.
func (s *Store) Tail(_ context.Context, after naming.Revision, limit int) (naming.Tail, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	commits, err := s.since(after, limit)
	return naming.Tail{Head: s.head, At: s.recordAt(after), Commits: commits}, err
}

// recordAt is the record of a revision. s.mu is held.
func (s *Store) recordAt(rev naming.Revision) (r naming.Record) {
	if len(s.log) > 0 && rev >= s.log[0].Revision && rev <= s.head {
		r = s.log[rev-s.log[0].Revision].Record
	}
	return r
}

// Sync implements store.Feed: there is no disk.
func (s *Store) Sync(ctx context.Context) (naming.Revision, error) { return s.Head(ctx) }

// Forget undoes the newest commit, as a database does that crashed before it
// was on its disk: its revision is given away again.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.log[len(s.log)-1]
	for _, c := range slices.Backward(last.Changes) {
		s.put(&naming.Change{Before: c.After, After: c.Before}, s.head)
	}
	s.head, s.log = s.head-1, s.log[:len(s.log)-1:len(s.log)-1]
}

// Before implements store.Feed.
func (s *Store) Before(_ context.Context, before naming.Revision, limit int) (out []naming.Commit, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.log) {
		if len(out) < limit && (before == 0 || c.Revision < before) {
			out = append(out, c)
		}
	}
	return out, nil
}

// Oldest implements store.Feed.
func (s *Store) Oldest(context.Context) (naming.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.log) == 0 {
		return 0, nil
	}
	return s.log[0].Revision, nil
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
