package ads

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"polestar/naming"
	"polestar/xds/cache"
	"polestar/xds/resource"
)

// registry is a Builder over a map, the same in all scopes.
type registry struct {
	mu        sync.Mutex
	revision  uint64
	resources map[resource.Ref]*resource.Resource
}

func (b *registry) Build(key resource.Form) *resource.Resource {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.resources[resource.Ref{Type: key.Type, Name: key.Name}]
}

func (*registry) Sharing(resource.Type, string) resource.Sharing { return resource.Sharing{} }

func (b *registry) Names(t resource.Type, _ resource.Scope) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for ref := range b.resources {
		if ref.Type == t {
			out = append(out, ref.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (b *registry) put(t resource.Type, name, version string) resource.Ref {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.revision++
	ref := resource.Ref{Type: t, Name: name}
	if version == "" {
		delete(b.resources, ref)
		return ref
	}
	packed := &anypb.Any{TypeUrl: t.URL(), Value: []byte(version)}
	whole, _ := proto.Marshal(packed)
	part, _ := proto.Marshal(&discoveryv3.Resource{Name: name, Version: version, Resource: packed})
	b.resources[ref] = &resource.Resource{
		Name: name, Version: version, Revision: naming.Revision(b.revision), Any: whole, Delta: part,
	}
	return ref
}

type everybody struct{ legacy bool }

func (everybody) Scope() resource.Scope  { return resource.Scope{} }
func (v everybody) LegacyWildcard() bool { return v.legacy }
func (everybody) String() string         { return "everybody" }

// door is a running server with a connection to it.
type door struct {
	*registry
	cache   *cache.Cache
	server  *Server
	conn    *grpc.ClientConn
	ready   atomic.Bool
	metrics *prometheus.Registry
}

func open(t *testing.T) *door {
	t.Helper()
	d := &door{registry: &registry{resources: map[resource.Ref]*resource.Resource{}}, metrics: prometheus.NewRegistry()}
	d.ready.Store(true)
	d.cache = cache.New(d.registry)
	var err error
	d.server, err = New(Deps{
		Cache: d.cache,
		Revision: func() uint64 {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.revision
		},
		Node: func(n *corev3.Node) (View, error) {
			if n.GetId() == "" {
				return nil, errors.New("node.id: must not be empty")
			}
			return everybody{legacy: !strings.HasPrefix(n.GetUserAgentName(), "gRPC")}, nil
		},
		Ready:      d.ready.Load,
		Identifier: "polestar-1",
		Metrics:    d.metrics,
		Log:        zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 16)
	g := grpc.NewServer(grpc.ForceServerCodecV2(Codec()))
	d.server.Register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	d.conn, err = grpc.NewClient("passthrough:///bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.conn.Close()
		if err := d.server.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return d
}

// change publishes a resource; an empty version removes it.
func (d *door) change(t resource.Type, name, version string) {
	d.cache.Refresh([]resource.Ref{d.put(t, name, version)})
}

type sotwClient struct {
	t *testing.T
	discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
}

func (d *door) sotw(t *testing.T) sotwClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(d.conn).StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return sotwClient{t, s}
}

func (c sotwClient) send(r *discoveryv3.DiscoveryRequest) {
	c.t.Helper()
	if err := c.Send(r); err != nil {
		c.t.Fatal(err)
	}
}

func (c sotwClient) recv() *discoveryv3.DiscoveryResponse {
	c.t.Helper()
	r, err := c.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// ends waits for the end of the stream.
func ends(t *testing.T, recv func() error, code codes.Code, text string) {
	t.Helper()
	var err error
	for err == nil {
		err = recv()
	}
	if status.Code(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("stream ended with %v, want %v %q", err, code, text)
	}
}

func (c sotwClient) ends(code codes.Code, text string) {
	c.t.Helper()
	ends(c.t, func() error { _, err := c.Recv(); return err }, code, text)
}

var envoy = &corev3.Node{Id: "n1", UserAgentName: "envoy"}

func contents(r *discoveryv3.DiscoveryResponse) string {
	var out []string
	for _, a := range r.GetResources() {
		out = append(out, string(a.GetValue()))
	}
	return strings.Join(out, " ")
}
