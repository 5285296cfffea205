package ads

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"polestar/auth"
	"polestar/xds/access"
	"polestar/xds/cache"
	"polestar/xds/resource"
)

// stream is one open stream. The handler's goroutine runs it; a second one
// receives; a third lives while a message is being sent.
type stream struct {
	server  *Server
	grpc    grpc.ServerStream
	decode  func(*frame) (Request, *corev3.Node, error)
	service string
	delta   bool
	id      uint64
	peer    string
	since   time.Time
	watcher *cache.Watcher
	end     chan error // buffered 1: why the stream must end

	mu      sync.Mutex // guards everything below, for status readers
	machine *Machine   // nil before the first message
	view    View
	rights  access.Rights
	shown   auth.Credentials // at its beginning; never to be shown to anybody
	node    string
	agent   string
	self    []byte // what the client says of itself, encoded; see [Server.Identity]
}

// incoming is a received message, or the end of the stream.
type incoming struct {
	frame frame
	err   error
}

func (s *Server) serve(g grpc.ServerStream, service string, isDelta bool, decode func(*frame) (Request, *corev3.Node, error)) error {
	st := &stream{server: s, grpc: g, decode: decode, service: service, delta: isDelta, since: time.Now(), end: make(chan error, 1)}
	if p, ok := peer.FromContext(g.Context()); ok {
		st.peer = p.Addr.String()
	}
	if err := s.open(st); err != nil {
		return err
	}
	defer s.close(st)
	st.watcher = s.Cache.NewWatcher()
	defer st.watcher.Close()
	log := s.Log.With(zap.Uint64("stream", st.id))
	log.Debug("xds stream opened", zap.String("peer", st.peer), zap.String("service", service), zap.Bool("delta", isDelta))
	err := st.run(g.Context())
	log.Debug("xds stream closed", zap.String("node", st.node), zap.Error(err))
	return err
}

// run drives the machine until the stream ends.
func (st *stream) run(ctx context.Context) error {
	// gRPC ends a blocked Recv or Send only after the handler has returned, so
	// neither may block this goroutine.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := make(chan incoming)
	st.server.spawn(func() { st.read(ctx, in) })

	again := time.NewTimer(0)
	defer again.Stop()
	for {
		if err := st.flush(ctx); err != nil {
			return err
		}
		st.arm(again)
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-st.server.stop:
			return errStopping
		case err := <-st.end:
			return err
		case m := <-in:
			if errors.Is(m.err, io.EOF) {
				return nil
			}
			if m.err != nil {
				return m.err
			}
			if err := st.take(ctx, &m.frame); err != nil {
				return err
			}
		case <-st.watcher.Wake(): // flush takes what changed
		case <-again.C:
		}
	}
}

// arm sets the timer to when the machine wants to be asked again.
func (st *stream) arm(t *time.Timer) {
	t.Stop()
	if st.machine == nil {
		return
	}
	if at := st.machine.Again(); !at.IsZero() {
		t.Reset(time.Until(at))
	}
}

// read receives until the stream ends; it has nothing buffered, so a client
// cannot get ahead of the machine.
func (st *stream) read(ctx context.Context, out chan<- incoming) {
	for {
		var m incoming
		m.err = st.grpc.RecvMsg(&m.frame)
		select {
		case out <- m:
		case <-ctx.Done():
			return
		}
		if m.err != nil {
			return
		}
	}
}

// take decodes one message and handles it.
func (st *stream) take(ctx context.Context, f *frame) error {
	end, err := st.turn(ctx, f)
	if err != nil {
		return err
	}
	defer end()
	r, n, err := st.decode(f)
	if err != nil {
		return err
	}
	return st.handle(ctx, r, n)
}

// handle feeds one message to the machine.
func (st *stream) handle(ctx context.Context, r Request, n *corev3.Node) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.machine == nil {
		if err := st.identify(ctx, n); err != nil {
			return err
		}
	}
	switch want := urlOf(st.service); {
	case r.URL == "" && want == "":
		return status.Error(codes.InvalidArgument, "type_url: must not be empty on an aggregated stream")
	case r.URL == "":
		r.URL = want
	case want != "" && r.URL != want:
		return status.Errorf(codes.InvalidArgument, "type_url: this service serves %s only", want)
	}
	defer st.server.moved(st)
	v, err := st.machine.Request(time.Now(), r)
	if v.Accepted || v.Refused {
		st.server.byType[v.Type].judged(v.Accepted, v.Took)
	}
	if v.Refused {
		st.server.Log.Warn("an xDS client refused a response",
			zap.Uint64("stream", st.id), zap.String("node", st.node), zap.Stringer("type", v.Type),
			zap.Uint64("revision", v.Revision), zap.Strings("names", v.Names[:min(len(v.Names), maxRefusedNames)]),
			zap.Int("count", len(v.Names)), zap.String("reason", truncate(r.Reason)))
	}
	return err
}

// identify resolves the node, which only the first message is sure to carry, and
// finds out who that is.
func (st *stream) identify(ctx context.Context, n *corev3.Node) error {
	if n == nil {
		return status.Error(codes.InvalidArgument, "node: must be in the first message of a stream")
	}
	token, err := access.TakeToken(n) // before anything is kept of the node
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	view, err := st.server.Node(n)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	shown := access.CredentialsOf(ctx, token)
	rights, err := st.server.Access.Subscribe(ctx, shown, selfOf(view))
	if err != nil {
		return err
	}
	st.rights, st.shown = rights, shown
	st.watcher.HeldBy(holderOf(rights.Principal, st.peer))
	view = restricted{view, rights.Reader}
	st.view, st.node, st.agent, st.self = view, truncate(n.GetId()), userAgent(n), self(n)
	scope := view.Scope()
	if !st.delta || st.service != aggregated {
		scope.Collected = 0 // endpoints are told one by one on this kind of stream only
	}
	src := newSource(st.watcher, st.server.Cache, st.server.Revision, scope)
	if st.delta {
		st.machine = NewDelta(src, view.LegacyWildcard())
	} else {
		st.machine = NewSotW(src, view.LegacyWildcard())
	}
	st.machine.single = st.service != aggregated
	return nil
}

// flush sends whatever the machine has to say.
func (st *stream) flush(ctx context.Context) error {
	for {
		st.mu.Lock()
		var r *Response
		if st.machine != nil {
			st.machine.Changed(st.watcher.Take())
			r = st.machine.Next(time.Now())
			st.server.moved(st)
		}
		st.mu.Unlock()
		if r == nil {
			return nil
		}
		p := &packet{Response: r, identifier: st.server.Identifier}
		if err := st.send(ctx, p); err != nil {
			return err
		}
		if r.known {
			st.server.byType[r.typ].sent(p)
		}
	}
}

// send gives one message to the transport and waits until it took it. While it
// blocks nothing grows but the set of changed names.
func (st *stream) send(ctx context.Context, p *packet) error {
	sent := make(chan error, 1)
	st.server.spawn(func() { sent <- st.grpc.SendMsg(p) })
	limit := time.NewTimer(st.server.SendTimeout)
	defer limit.Stop()
	select {
	case err := <-sent:
		return err
	case <-limit.C:
		return status.Errorf(codes.DeadlineExceeded, "the client did not read for %s", st.server.SendTimeout)
	case err := <-st.end:
		return err
	case <-st.server.stop:
		return errStopping
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (st *stream) protocol() string {
	if st.delta {
		return delta
	}
	return sotw
}

// status is not ok before the client said who it is. st.mu is held.
func (st *stream) status() (ClientStatus, bool) {
	if st.machine == nil {
		return ClientStatus{}, false
	}
	return ClientStatus{
		ID: st.id, NodeID: st.node, UserAgent: st.agent, Peer: st.peer, Principal: st.rights.Principal, View: st.view.String(), Sees: st.view, Service: st.service,
		Delta: st.delta, Since: st.since, Types: st.machine.Status(), Unserved: st.machine.Unserved(),
	}, true
}

// holding describes what the client has of some resources. It is not ok before
// the client said who it is.
func (st *stream) holding(refs []resource.Ref) (h Holding, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if h.Client, ok = st.status(); ok {
		st.machine.these(refs, func(n NameStatus) { h.Names = append(h.Names, n) })
	}
	return h, ok
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
