package harness

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"polestar/auth"
	"polestar/naming/polaris"
	"polestar/naming/registry"
)

// Recorder stands between an SDK and a server, passes all on unchanged, and
// notes it.
type Recorder struct {
	Addr    string
	server  service_manage.PolarisGRPCClient
	loading service_manage.PolarisGRPCClient // a door that is not ready

	mu      sync.Mutex // guards everything below
	notYet  bool
	asked   []Asked
	written []metadata.MD // headers of registrations
}

// Asked is a request of Discover and its answer.
type Asked struct {
	Request *service_manage.DiscoverRequest
	Answer  *service_manage.DiscoverResponse
}

// StartRecorder starts a recorder in front of a server; both end with the test.
func StartRecorder(t testing.TB, server string) *Recorder {
	t.Helper()
	r := &Recorder{server: dial(t, server)}
	empty := grpc.NewServer(polaris.Options()...)
	polaris.New(polaris.Deps{
		World: registry.New(), Auth: auth.Open{}, Log: zap.NewNop(), Ready: func() bool { return false },
	}).Register(empty)
	r.loading = dial(t, serve(t, empty))
	own := grpc.NewServer()
	service_manage.RegisterPolarisGRPCServer(own, r)
	r.Addr = serve(t, own)
	return r
}

// serve serves until the test ends, and returns the address.
func serve(t testing.TB, s *grpc.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return l.Addr().String()
}

func dial(t testing.TB, addr string) service_manage.PolarisGRPCClient {
	t.Helper()
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return service_manage.NewPolarisGRPCClient(cc)
}

// NotReady lets every Discover be answered by a server that is not ready.
func (r *Recorder) NotReady(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notYet = on
}

// Asked returns what was asked about a service, and what was answered.
func (r *Recorder) Asked(about func(*service_manage.DiscoverRequest) bool) []Asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.asked), func(a Asked) bool { return !about(a.Request) })
}

// Registrations returns the headers of all registrations.
func (r *Recorder) Registrations() []metadata.MD {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.written)
}

// pass carries a call's headers on.
func pass(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	md = md.Copy()
	for _, own := range []string{":authority", "content-type", "user-agent"} {
		md.Delete(own)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// RegisterInstance implements PolarisGRPCServer.
func (r *Recorder) RegisterInstance(ctx context.Context, in *service_manage.Instance) (*service_manage.Response, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	r.mu.Lock()
	r.written = append(r.written, md)
	r.mu.Unlock()
	return r.server.RegisterInstance(pass(ctx), in)
}

// DeregisterInstance implements PolarisGRPCServer.
func (r *Recorder) DeregisterInstance(ctx context.Context, in *service_manage.Instance) (*service_manage.Response, error) {
	return r.server.DeregisterInstance(pass(ctx), in)
}

// Heartbeat implements PolarisGRPCServer.
func (r *Recorder) Heartbeat(ctx context.Context, in *service_manage.Instance) (*service_manage.Response, error) {
	return r.server.Heartbeat(pass(ctx), in)
}

// ReportClient implements PolarisGRPCServer.
func (r *Recorder) ReportClient(ctx context.Context, in *service_manage.Client) (*service_manage.Response, error) {
	return r.server.ReportClient(pass(ctx), in)
}

// Discover implements PolarisGRPCServer.
func (r *Recorder) Discover(down service_manage.PolarisGRPC_DiscoverServer) error {
	ctx, cancel := context.WithCancel(pass(down.Context()))
	defer cancel()
	ready, err := r.server.Discover(ctx)
	if err != nil {
		return err
	}
	loading, err := r.loading.Discover(ctx)
	if err != nil {
		return err
	}
	for {
		req, err := down.Recv()
		if err != nil {
			return err
		}
		r.mu.Lock()
		up := ready
		if r.notYet {
			up = loading
		}
		r.mu.Unlock()
		if err := up.Send(req); err != nil {
			return err
		}
		res, err := up.Recv()
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.asked = append(r.asked, Asked{req, res})
		r.mu.Unlock()
		if err := down.Send(res); err != nil {
			return err
		}
	}
}
