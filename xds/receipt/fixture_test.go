package receipt

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"polestar/naming"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
	"polestar/xds"
	"polestar/xds/ads"
	"polestar/xds/node"
	"polestar/xds/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is everything from the store to the xDS streams, and a desk.
type server struct {
	t        *testing.T
	desk     *Desk
	store    *memory.Store
	registry *registry.Registry
	conn     *grpc.ClientConn
	ready    bool               // the registry is loaded
	stop     context.CancelFunc // ends the desk
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, store: memory.New(store.DefaultLogBounds()), registry: registry.New(), ready: true}
	metrics := prometheus.NewRegistry()
	pipeline, err := xds.New(xds.Deps{Registry: s.registry, Metrics: metrics, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	streams, err := ads.New(ads.Deps{
		Cache: pipeline.Cache(), Revision: pipeline.Revision, Node: func(n *corev3.Node) (ads.View, error) { return node.Parse(n) },
		Ready: func() bool { return true }, Metrics: metrics, Log: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.desk, err = New(Deps{
		Revision: pipeline.Revision, Await: pipeline.Await, Touched: pipeline.Touched, Streams: streams, Ready: func() bool { return s.ready }, Metrics: metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 16)
	g := grpc.NewServer(grpc.ForceServerCodecV2(ads.Codec()))
	streams.Register(g)
	s.desk.Register(g)
	s.conn, err = grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	run := func(f func(context.Context) error) (stop context.CancelFunc) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- f(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return cancel
	}
	run(func(context.Context) error { return g.Serve(listener) })
	t.Cleanup(g.Stop)
	run(pipeline.Run)
	run(streams.Run)
	t.Cleanup(func() { _ = s.conn.Close() })
	s.stop = run(s.desk.Run)
	return s
}

// do commits one write, publishes it and returns its revision.
func (s *server) do(wr naming.Write) uint64 {
	s.t.Helper()
	commit, results, err := s.store.Apply(s.t.Context(), []naming.Write{wr})
	if err == nil {
		err = errors.Join(results[0].Err, s.registry.Apply(commit))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return uint64(commit.Revision)
}

func service(name string) naming.ServiceKey {
	return naming.ServiceKey{Namespace: "default", Name: name}
}

// register puts the only instance of a service.
func (s *server) register(name string, weight uint32) uint64 {
	s.t.Helper()
	return s.do(&naming.Register{AutoCreate: true, Instance: naming.Instance{
		ID: name, Service: service(name), Host: "10.0.0.1", Port: 80, Weight: weight,
	}})
}

// client is one xDS stream whose answers a test gives.
type client struct {
	t *testing.T
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	url string
}

// dial opens a delta stream in a bubble and subscribes to endpoints.
func (s *server) dial(node string, services ...string) *client {
	s.t.Helper()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(s.conn).DeltaAggregatedResources(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	c := &client{s.t, stream, resource.Endpoints.URL()}
	c.say(&discoveryv3.DeltaDiscoveryRequest{
		Node: &corev3.Node{Id: node, UserAgentName: "envoy"}, ResourceNamesSubscribe: services,
	})
	synctest.Wait() // streams are numbered in the order of the calls
	return c
}

func (c *client) say(r *discoveryv3.DeltaDiscoveryRequest) {
	c.t.Helper()
	r.TypeUrl = c.url
	if err := c.Send(r); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) hear() *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	r, err := c.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *client) accept(r *discoveryv3.DeltaDiscoveryResponse) {
	c.t.Helper()
	c.say(&discoveryv3.DeltaDiscoveryRequest{ResponseNonce: r.GetNonce()})
}

func (c *client) refuse(r *discoveryv3.DeltaDiscoveryResponse, why string) {
	c.t.Helper()
	c.say(&discoveryv3.DeltaDiscoveryRequest{ResponseNonce: r.GetNonce(), ErrorDetail: &rpcstatus.Status{Message: why}})
}

// answer is what a wait returned.
type answer struct {
	Receipt
	err error
}

// wait starts a wait and returns where its answer will be.
func (s *server) wait(r Request) <-chan answer {
	out := make(chan answer, 1)
	ctx := s.t.Context()
	go func() {
		got, err := s.desk.Wait(ctx, r)
		out <- answer{got, err}
	}()
	return out
}
