package polaris_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is everything behind the door: a store and the registry that follows
// it. A group is one write.
type backend struct {
	*registry.Registry
	store store.Store
	mu    sync.Mutex // one commit at a time, as the batch does it
}

// newBackend loads a store, an empty one in memory when it is nil.
func newBackend(t testing.TB, s store.Store) *backend {
	t.Helper()
	if s == nil {
		return &backend{Registry: registry.New(), store: memory.New(store.DefaultLogBounds())}
	}
	b := &backend{Registry: registry.New(), store: s}
	l := b.Load()
	head, err := s.Load(t.Context(), l.Add, l.Touched)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(head); err != nil {
		t.Fatal(err)
	}
	return b
}

// Do implements naming.Writer.
func (b *backend) Do(ctx context.Context, w naming.Write) (naming.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	commit, results, err := b.store.Apply(ctx, []naming.Write{w})
	if err != nil {
		return naming.Result{}, err
	}
	if err := b.Apply(commit); err != nil {
		return naming.Result{}, err
	}
	return results[0], nil
}

// Beat implements naming.Beats: who is registered with a TTL has a lease.
func (b *backend) Beat(id string) bool {
	i := b.World().Instance(id)
	return i != nil && i.TTL > 0
}

// Locate implements naming.Locator.
func (*backend) Locate(ip string) naming.Location {
	if ip == "10.0.0.77" {
		return naming.Location{Region: "r77", Zone: "z77", Campus: "c77"}
	}
	return naming.Location{}
}

// door is a running server with a real client.
type door struct {
	service_manage.PolarisGRPCClient
	service_manage.PolarisServiceContractGRPCClient
	backend *backend
	// operator changes the world beside the door.
	operator *naming.Registrar
	guard    *guard
	loading  atomic.Bool
	conn     *grpc.ClientConn
	server   *grpc.Server
}

type option func(*setup)

type setup struct {
	identities func(context.Context) []string
	registry   func(polaris.Registry) polaris.Registry
	peer       net.Addr
	agent      string
	noAuto     bool
	dial       []grpc.DialOption
}

// open starts the door; everything is stopped when the test ends.
func open(t testing.TB, options ...option) *door {
	t.Helper()
	var s setup
	for _, o := range options {
		o(&s)
	}
	d := &door{backend: newBackend(t, nil), guard: &guard{}}
	d.operator = naming.NewRegistrar(naming.Config{AutoCreate: !s.noAuto}, naming.Deps{
		Writer: d.backend, World: d.backend, Beats: d.backend, Locator: d.backend,
	})
	var reg polaris.Registry = d.operator
	if s.registry != nil {
		reg = s.registry(reg)
	}
	srv := grpc.NewServer(append(polaris.Options(), grpc.WaitForHandlers(true))...)
	polaris.New(polaris.Deps{
		Registry: reg, World: d.backend, Auth: d.guard, Refused: d.guard.note, Identities: s.identities, Log: zaptest.NewLogger(t),
		Ready: func() bool { return !d.loading.Load() },
	}).Register(srv)
	conn := dial(t, srv, s)
	d.PolarisGRPCClient, d.PolarisServiceContractGRPCClient = service_manage.NewPolarisGRPCClient(conn), service_manage.NewPolarisServiceContractGRPCClient(conn)
	d.conn, d.server = conn, srv
	return d
}

// dial serves until the test ends, and returns a connection.
func dial(t testing.TB, srv *grpc.Server, s setup) *grpc.ClientConn {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener{lis, s.peer}) }()
	conn, err := grpc.NewClient(
		"passthrough:///door",
		append(s.dial, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent(s.agent),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))...,
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil && status.Code(err) != codes.Canceled {
			t.Error(err)
		}
		srv.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

// listener gives its connections another peer address.
type listener struct {
	net.Listener
	peer net.Addr
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || l.peer == nil {
		return c, err
	}
	return conn{c, l.peer}, nil
}

type conn struct {
	net.Conn
	peer net.Addr
}

func (c conn) RemoteAddr() net.Addr { return c.peer }

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4} }

func str(s string) *wrapperspb.StringValue { return wrapperspb.String(s) }

func num(n uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(n) }

func yes(b bool) *wrapperspb.BoolValue { return wrapperspb.Bool(b) }

// message is a valid registration of ns/name at 10.0.0.1:port.
func message(ns, name string, port uint32) *service_manage.Instance {
	return &service_manage.Instance{Namespace: str(ns), Service: str(name), Host: str("10.0.0.1"), Port: num(port)}
}

// checked adds a health check.
func checked(in *service_manage.Instance, ttl uint32) *service_manage.Instance {
	in.HealthCheck = &service_manage.HealthCheck{
		Type: service_manage.HealthCheck_HEARTBEAT, Heartbeat: &service_manage.HeartbeatHealthCheck{Ttl: num(ttl)},
	}
	return in
}

// register fails the test unless the answer is 200000, and returns the id.
func (d *door) register(t testing.TB, in *service_manage.Instance) string {
	t.Helper()
	res, err := d.RegisterInstance(t.Context(), in)
	wantCode(t, res, err, 200000)
	return res.GetInstance().GetId().GetValue()
}

// coded is any answer of the door.
type coded interface {
	GetCode() *wrapperspb.UInt32Value
	GetInfo() *wrapperspb.StringValue
}

// wantCode fails the test unless the call went through with this code.
func wantCode(t testing.TB, res coded, err error, code uint32) {
	t.Helper()
	if err != nil {
		t.Fatalf("gRPC status: %v", err)
	}
	if got := res.GetCode().GetValue(); got != code {
		t.Fatalf("code %d (%s), want %d", got, res.GetInfo().GetValue(), code)
	}
	if res.GetInfo().GetValue() == "" {
		t.Errorf("code %d has no text", code)
	}
}

// discoverer asks one question after the other on one stream.
type discoverer struct {
	service_manage.PolarisGRPC_DiscoverClient
}

func (d *door) discover(t testing.TB) discoverer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := d.Discover(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return discoverer{stream}
}

func (d discoverer) ask(t testing.TB, req *service_manage.DiscoverRequest) *service_manage.DiscoverResponse {
	t.Helper()
	if err := d.Send(req); err != nil {
		t.Fatal(err)
	}
	res, err := d.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// query asks for a type about a service, with a revision unless it is empty.
func query(typ service_manage.DiscoverRequest_DiscoverRequestType, ns, name, revision string) *service_manage.DiscoverRequest {
	req := &service_manage.DiscoverRequest{Type: typ, Service: &service_manage.Service{Namespace: str(ns), Name: str(name)}}
	if revision != "" {
		req.Service.Revision = str(revision)
	}
	return req
}

// instances asks for the instances of ns/name.
func (d discoverer) instances(t testing.TB, ns, name, revision string) *service_manage.DiscoverResponse {
	t.Helper()
	return d.ask(t, query(service_manage.DiscoverRequest_INSTANCE, ns, name, revision))
}

func resource(ns, name string) auth.Resource { return auth.Resource{Namespace: ns, Service: name} }
