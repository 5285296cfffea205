package polaris

import (
	"errors"
	"sync"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/naming"
)

// shelfBytes bounds one of the two generations of a [shelf].
const shelfBytes = 32 << 20

// view is something that Discover can be asked for, in one snapshot.
type view interface {
	// place names it, version tells its content from earlier and later ones.
	place() place
	version() version
	// revision is a digest of the content, equal on every server.
	revision() string
	// encode makes the data of an answer.
	encode() (data, error)
}

// place is what can be asked for. Whatever an answer depends on, except its
// request's own words, is in here or in the version.
type place struct {
	typ      service_manage.DiscoverRequest_DiscoverRequestType
	service  naming.ServiceKey // of a list: its namespace
	business string            // of a list of services
	healthy  bool              // of instances: only healthy ones
	merged   bool              // instances of services of that name in other namespaces
	scope    string            // of what spans several services: key of what the reader sees
}

// version identifies the content of a place on this server.
type version struct {
	revision naming.Revision // of the newest change in it
	loads    uint64          // of the world
	parts    naming.Digest   // of a merged place: what it is merged from
}

// shelf keeps what was made for those who asked, for those who will: each
// version of a place is encoded once, however many ask at the same moment.
//
// It keeps one version of a place, in two generations: what nobody asked for
// while a whole generation filled up is dropped. So it holds at most twice its
// bound and two bodies.
type shelf struct {
	most int // bytes of a generation

	mu         sync.RWMutex // guards everything below
	fresh, old map[place]*entry
	bytes      int // of fresh
}

// entry is a version of a place.
type entry struct {
	at       version
	revision lazy[string]
	data     lazy[data]
	bytes    int // that it counts for; guarded by the shelf's mutex
}

// entryBytes is what an entry takes beside its data.
const entryBytes = 512

func newShelf(most int) *shelf { return &shelf{most: most, fresh: map[place]*entry{}} }

// find returns the entry of a version.
func (s *shelf) find(p place, at version) *entry {
	s.mu.RLock()
	e := s.fresh[p]
	s.mu.RUnlock()
	if e != nil && e.at == at {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.fresh[p]; e == nil {
		if e = s.old[p]; e != nil {
			delete(s.old, p)
			s.put(p, e)
		}
	}
	switch {
	case e != nil && e.at == at:
	case e != nil && e.at.revision > at.revision:
		e = &entry{at: at} // the snapshot of a slow caller: not worth keeping
	default:
		e = &entry{at: at, bytes: entryBytes + len(p.business) + len(p.scope)}
		s.put(p, e)
	}
	return e
}

// put makes e the only entry of its place, in the fresh generation.
func (s *shelf) put(p place, e *entry) {
	if was := s.fresh[p]; was != nil {
		s.bytes -= was.bytes
	}
	s.fresh[p] = e
	s.grow(e.bytes)
}

// grow counts bytes, and begins another generation when this one is full.
func (s *shelf) grow(n int) {
	if s.bytes += n; s.bytes > s.most {
		s.fresh, s.old, s.bytes = map[place]*entry{}, s.fresh, 0
	}
}

// encoded returns the data of an entry, made by the first who asks.
func (s *shelf) encoded(p place, e *entry, encode func() (data, error)) (data, error) {
	return e.data.get(func() (data, error) {
		d, err := encode()
		s.mu.Lock()
		defer s.mu.Unlock()
		e.bytes += len(d.fields)
		if s.fresh[p] == e {
			s.grow(len(d.fields))
		}
		return d, err
	})
}

// lazy is a value that the first who needs it makes.
type lazy[T any] struct {
	once sync.Once
	v    T
	err  error
}

var errNotMade = errors.New("whoever made it panicked")

func (l *lazy[T]) get(produce func() (T, error)) (T, error) {
	l.once.Do(func() {
		l.err = errNotMade
		l.v, l.err = produce()
	})
	return l.v, l.err
}
