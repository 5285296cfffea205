package csds

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"polestar/naming"
	"polestar/xds/access"
	"polestar/xds/ads"
	"polestar/xds/resource"
)

// Clients is where the status comes from: *ads.Server.
type Clients interface {
	// Streams lists the connected clients, oldest first.
	Streams() []uint64
	// Identity is what a client says of itself, nil when it is gone.
	Identity(id uint64) *corev3.Node
	// Scope is what a client is and may see; false when it is gone.
	Scope(id uint64) (resource.Scope, bool)
	// Client describes a client with all its resources; false when it is gone.
	Client(id uint64) (ads.ClientStatus, []ads.NameStatus, bool)
}

// Server serves the status of the clients.
type Server struct {
	statusv3.UnimplementedClientStatusDiscoveryServiceServer
	clients Clients
	access  *access.Control
	limit   int           // bytes of a response
	stop    chan struct{} // closed by Run

	mu       sync.Mutex // guards stopping, and that nothing is added to running after it
	stopping bool
	running  sync.WaitGroup // calls, and what receives for them
}

// New makes a server that shows callers what they may inspect; it starts nothing.
func New(c Clients, a *access.Control) *Server {
	return &Server{clients: c, access: a, limit: ads.MaxMessage, stop: make(chan struct{})}
}

// Register adds the service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	statusv3.RegisterClientStatusDiscoveryServiceServer(r, s)
}

// Run waits for the end of ctx, ends the open streams, which may have none by
// themselves, and returns when their goroutines have ended.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	if !s.stopping {
		s.stopping = true
		close(s.stop)
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

var errStopping = status.Error(codes.Unavailable, "server is shutting down")

// enter admits a call, which calls leave at its end.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return errStopping
	}
	s.running.Add(1)
	return nil
}

func (s *Server) leave() { s.running.Done() }

// FetchClientStatus answers once. More than fits one message is an error that
// says so: a cut list would look like a complete one.
func (s *Server) FetchClientStatus(ctx context.Context, in *statusv3.ClientStatusRequest) (*statusv3.ClientStatusResponse, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	out := &statusv3.ClientStatusResponse{}
	room := s.limit
	err := s.each(ctx, in, func(c *statusv3.ClientConfig, size int) error {
		if room -= size; room < 0 {
			return status.Errorf(codes.ResourceExhausted,
				"node_matchers: the status of the clients that match takes more than %d bytes; match fewer, or use StreamClientStatus", s.limit)
		}
		out.Config = append(out.Config, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// StreamClientStatus answers each request, with several responses when one
// would be too large. Whoever closes its side after a request learns from the
// end of the stream that the answer is complete.
func (s *Server) StreamClientStatus(g statusv3.ClientStatusDiscoveryService_StreamClientStatusServer) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	// gRPC ends a blocked Recv only after the handler has returned.
	requests := make(chan received)
	ctx, cancel := context.WithCancel(g.Context())
	defer cancel()
	s.running.Go(func() { receive(ctx, g, requests) })
	for {
		select {
		case <-s.stop:
			return errStopping
		case r := <-requests:
			if errors.Is(r.err, io.EOF) {
				return nil
			}
			if r.err != nil {
				return r.err
			}
			if err := s.answer(g, r.request); err != nil {
				return err
			}
		}
	}
}

type received struct {
	request *statusv3.ClientStatusRequest
	err     error
}

func receive(ctx context.Context, g statusv3.ClientStatusDiscoveryService_StreamClientStatusServer, to chan<- received) {
	for {
		var r received
		r.request, r.err = g.Recv()
		select {
		case to <- r:
		case <-ctx.Done():
			return
		}
		if r.err != nil {
			return
		}
	}
}

// answer sends one response, or more.
func (s *Server) answer(g statusv3.ClientStatusDiscoveryService_StreamClientStatusServer, in *statusv3.ClientStatusRequest) error {
	out := &statusv3.ClientStatusResponse{}
	room := s.limit
	err := s.each(g.Context(), in, func(c *statusv3.ClientConfig, size int) error {
		if size > room && len(out.Config) > 0 {
			if err := s.send(g, out); err != nil {
				return err
			}
			out, room = &statusv3.ClientStatusResponse{}, s.limit
		}
		out.Config = append(out.Config, c)
		room -= size
		return nil
	})
	if err != nil {
		return err
	}
	return s.send(g, out)
}

// send gives one response to the transport and waits until it took it, but not
// for ever.
func (s *Server) send(g statusv3.ClientStatusDiscoveryService_StreamClientStatusServer, r *statusv3.ClientStatusResponse) error {
	sent := make(chan error, 1)
	s.running.Go(func() { sent <- g.Send(r) })
	limit := time.NewTimer(ads.DefaultSendTimeout)
	defer limit.Stop()
	select {
	case err := <-sent:
		return err
	case <-limit.C:
		return status.Errorf(codes.DeadlineExceeded, "the client did not read for %s", ads.DefaultSendTimeout)
	case <-s.stop:
		return errStopping
	case <-g.Context().Done():
		return status.FromContextError(g.Context().Err()).Err()
	}
}

// each describes the clients that match and that the caller may inspect, one at
// a time, so that an answer never holds more than one of them beside what it
// sends. What the caller may not see looks as if it were not there; who may see
// nothing at all is told so.
func (s *Server) each(ctx context.Context, in *statusv3.ClientStatusRequest, yield func(c *statusv3.ClientConfig, size int) error) error {
	match, err := compile(in.GetNodeMatchers())
	if err != nil {
		return err
	}
	caller, err := s.access.Inspect(ctx)
	if err != nil {
		return err
	}
	shown, hidden := 0, 0
	for _, id := range s.clients.Streams() {
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-s.stop:
			return errStopping
		default:
		}
		scope, ok := s.clients.Scope(id)
		if !ok {
			continue
		}
		if !caller.Client(scope) {
			hidden++
			continue
		}
		shown++
		node := s.clients.Identity(id)
		if node == nil || !match(node) {
			continue
		}
		c, names, ok := s.clients.Client(id)
		if !ok {
			continue
		}
		names = slices.DeleteFunc(names, func(n ads.NameStatus) bool { return !caller.Resource(resource.Ref{Type: n.Type, Name: n.Name}) })
		for _, part := range configs(node, c, names, in.GetExcludeResourceContents(), s.limit-maxPrefix) {
			if err := yield(part, proto.Size(part)+maxPrefix); err != nil {
				return err
			}
		}
	}
	if shown == 0 && hidden > 0 {
		return caller.Service(ctx, naming.ServiceKey{})
	}
	return nil
}
