package ads

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"polestar/xds/access"
	"polestar/xds/cache"
	"polestar/xds/resource"
)

// DefaultSendTimeout is how long a client may leave its connection unread.
const DefaultSendTimeout = time.Minute

// The values of the label "protocol".
const (
	sotw  = "sotw"
	delta = "delta"
)

// View is what one client may see, resolved once from its node.
type View interface {
	// Scope is everything that resources depend on which are built for it.
	Scope() resource.Scope
	// LegacyWildcard reports whether a first request without names means all
	// resources. It does for Envoy; for proxyless gRPC it means none.
	LegacyWildcard() bool
	// String describes it to people.
	String() string
}

// Deps are what a Server needs.
type Deps struct {
	Cache *cache.Cache
	// Revision is the newest published revision.
	Revision func() uint64
	// Node tells what the client may see; an error ends the stream with
	// INVALID_ARGUMENT and its text.
	Node func(*corev3.Node) (View, error)
	// Access says who may have a stream, and what it may see; nil: anybody,
	// everything.
	Access *access.Control
	// Ready reports whether the registry is loaded. Before, streams are refused
	// with UNAVAILABLE: an empty answer would delete live configuration.
	Ready func() bool
	// Identifier names this server instance in every response.
	Identifier string
	// SendTimeout is how long sending one message may block before the stream
	// is ended; 0 means DefaultSendTimeout.
	SendTimeout time.Duration
	// MaxAbsentNames is how many names that do not exist all streams together may
	// subscribe to; 0 means cache.DefaultMaxAbsent. Above it, streams that have
	// more than their share of them get no more.
	MaxAbsentNames int
	Metrics        prometheus.Registerer
	Log            *zap.Logger
}

// Server serves the xDS streams. It must run on a gRPC server with the codec
// of [Codec].
type Server struct {
	Deps
	meter   meter
	byType  [types]typeMeter
	stop    chan struct{}  // closed by Drain
	large   chan struct{}  // holds one value for each large request that is handled
	running sync.WaitGroup // goroutines of streams
	watches watches

	mu       sync.Mutex // guards everything below
	stopping bool
	streams  map[uint64]*stream
	last     uint64
}

// New makes a server without streams; it starts nothing.
func New(d Deps) (*Server, error) {
	if d.SendTimeout == 0 {
		d.SendTimeout = DefaultSendTimeout
	}
	if d.MaxAbsentNames != 0 {
		d.Cache.BoundAbsent(d.MaxAbsentNames)
	}
	if d.Access == nil {
		d.Access = access.Open()
	}
	s := &Server{Deps: d, meter: newMeter(), stop: make(chan struct{}), large: make(chan struct{}, largeAtOnce), streams: map[uint64]*stream{}}
	if err := s.meter.register(d.Metrics); err != nil {
		return nil, err
	}
	for _, t := range resource.Types() {
		s.byType[t] = s.meter.of(t)
	}
	return s, nil
}

// Run ends the streams whose rights have changed. At the end of ctx it ends all
// streams, which never end by themselves, and returns when their goroutines have
// ended.
func (s *Server) Run(ctx context.Context) error {
	changed := s.Access.Changed()
	for {
		select {
		case <-ctx.Done():
			return s.Drain(context.WithoutCancel(ctx))
		case <-changed:
			changed = s.Access.Changed() // before looking: what changes meanwhile counts
			s.review(ctx)
		}
	}
}

// Drain refuses new streams, ends all others with UNAVAILABLE and waits for
// their goroutines, or for ctx.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	if !s.stopping {
		s.stopping = true
		close(s.stop)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.running.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errStopping = status.Error(codes.Unavailable, "server is shutting down")

// open admits a stream. The caller closes it.
func (s *Server) open(st *stream) error {
	if !s.Ready() {
		return status.Error(codes.Unavailable, "not ready: the registry is not loaded yet")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return errStopping
	}
	s.last++
	st.id = s.last
	s.streams[st.id] = st
	s.running.Add(1)
	s.meter.streams.WithLabelValues(st.protocol()).Inc()
	return nil
}

func (s *Server) close(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, st.id)
	s.Access.Release(st.rights)
	s.moved(st)
	s.meter.streams.WithLabelValues(st.protocol()).Dec()
	s.running.Done()
}

// spawn runs a goroutine that Drain waits for. It is called by goroutines that
// Drain waits for already.
func (s *Server) spawn(f func()) { s.running.Go(f) }

// Clients describes the connected clients, oldest first. It costs O(streams).
func (s *Server) Clients() []ClientStatus {
	var out []ClientStatus
	for _, st := range s.list() {
		st.mu.Lock()
		c, ok := st.status()
		st.mu.Unlock()
		if ok {
			out = append(out, c)
		}
	}
	return out
}

// Client describes one connected client with every name that it subscribed to,
// that its wildcard covers or that it was sent, sorted by type and name; false
// when there is no such stream. It costs O(names).
func (s *Server) Client(id uint64) (ClientStatus, []NameStatus, bool) {
	s.mu.Lock()
	st := s.streams[id]
	s.mu.Unlock()
	if st == nil {
		return ClientStatus{}, nil, false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	c, ok := st.status()
	if !ok {
		return c, nil, false
	}
	return c, st.machine.Names(), true
}

// Holding is what one client has of some resources.
type Holding struct {
	Client ClientStatus
	Names  []NameStatus
}

// Holding describes what one connected client has of some resources, as far as
// they mean something to it; false when there is no such stream.
func (s *Server) Holding(id uint64, refs []resource.Ref) (Holding, bool) {
	s.mu.Lock()
	st := s.streams[id]
	s.mu.Unlock()
	if st == nil {
		return Holding{}, false
	}
	return st.holding(refs)
}

// Holders describes what the connected clients have of some resources, oldest
// first, without the clients that none of them concerns. It costs O(streams ×
// resources), however much the streams hold otherwise.
func (s *Server) Holders(refs []resource.Ref) []Holding {
	var out []Holding
	for _, st := range s.list() {
		if h, _ := st.holding(refs); len(h.Names) > 0 {
			out = append(out, h)
		}
	}
	return out
}

func (s *Server) list() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*stream, 0, len(s.streams))
	for _, st := range s.streams {
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b *stream) int { return int(a.id) - int(b.id) })
	return out
}

func userAgent(n *corev3.Node) string {
	version := n.GetUserAgentVersion()
	if b := n.GetUserAgentBuildVersion().GetVersion(); b != nil {
		version = strings.Join([]string{itoa(b.GetMajorNumber()), itoa(b.GetMinorNumber()), itoa(b.GetPatch())}, ".")
	}
	return truncate(strings.TrimSpace(n.GetUserAgentName() + " " + version))
}
