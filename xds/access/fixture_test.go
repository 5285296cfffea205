package access_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/registry"
	"polestar/proto/adminpb"
	"polestar/xds"
	"polestar/xds/access"
	"polestar/xds/ads"
	"polestar/xds/csds"
	"polestar/xds/node"
	"polestar/xds/receipt"
	"polestar/xds/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate knows tokens, and what their owners may do.
type gate struct {
	mu      sync.Mutex
	tokens  map[string]owner
	changed chan struct{}
}

// owner of a token is called as it is; it may do everything to what it made.
type owner struct {
	name       string
	namespaces string      // that it may do everything in, as "a b"; "*": all
	reason     auth.Reason // why its token does not hold
}

func (g *gate) set(token string, o owner) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tokens == nil {
		g.tokens = map[string]owner{}
	}
	g.tokens[token] = o
	if g.changed != nil {
		close(g.changed)
	}
	g.changed = make(chan struct{})
}

func (g *gate) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

func (g *gate) Authenticate(_ context.Context, _ auth.API, c auth.Credentials) (auth.Principal, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o, known := g.tokens[c.Token]
	switch {
	case c.Token == "":
		return auth.Principal{}, &auth.Error{Reason: auth.NoCredentials, Msg: "nothing was shown"}
	case !known:
		return auth.Principal{}, &auth.Error{Reason: auth.BadToken, Msg: "no such token"}
	case o.reason != 0:
		return auth.Principal{}, &auth.Error{Reason: o.reason, Msg: "the token is off"}
	}
	return auth.Principal{ID: "id of " + o.name, Name: o.name}, nil
}

func (g *gate) rights(p auth.Principal) owner {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range g.tokens {
		if o.name == p.Name {
			return o
		}
	}
	return owner{}
}

func (o owner) may(r auth.Resource) bool {
	return o.namespaces == "*" || r.Namespace != "" && slices.Contains(strings.Fields(o.namespaces), r.Namespace) || r.ServiceCreator == o.name
}

func (g *gate) Allow(_ context.Context, _ auth.API, p auth.Principal, a auth.Action, r auth.Resource) error {
	if g.rights(p).may(r) {
		return nil
	}
	return &auth.Error{Reason: auth.Forbidden, Msg: p.Name + " is not allowed to " + string(a)}
}

func (g *gate) Scope(_ auth.API, p auth.Principal) auth.Scope {
	o := g.rights(p)
	if o.namespaces == "*" {
		return auth.Scope{}
	}
	return auth.Scope{Key: o.name + o.namespaces, See: func(_ *naming.Namespace, s *naming.Service) bool {
		return o.may(auth.Resource{Namespace: s.Key.Namespace, Service: s.Key.Name, ServiceCreator: s.Creator})
	}}
}

// refusal is what the control told of.
type refusal struct {
	who    string
	action auth.Action
	on     string
	reason auth.Reason
}

// door is a running xDS door with all its services.
type door struct {
	t *testing.T
	*gate
	registry *registry.Registry
	pipeline *xds.Pipeline
	control  *access.Control
	ads      *ads.Server
	conn     *grpc.ClientConn
	logs     *observer.ObservedLogs

	mu       sync.Mutex
	refusals []refusal
}

func open(t *testing.T) *door {
	t.Helper()
	d := &door{t: t, gate: &gate{}, registry: registry.New()}
	d.set("of-root", owner{name: "root", namespaces: "*"})
	core, logs := observer.New(zapcore.DebugLevel)
	d.logs = logs
	log, metrics := zap.New(core), prometheus.NewRegistry()
	d.control = access.New(access.Deps{
		Gate: d.gate, World: d.registry.World,
		Refused: func(r auth.Refusal) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.refusals = append(d.refusals, refusal{r.Principal.Name, r.Action, r.Resource.Namespace + "/" + r.Resource.Service, r.Reason})
		},
	})
	var err error
	must := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d.pipeline, err = xds.New(xds.Deps{Registry: d.registry, Metrics: metrics, Log: log})
	must()
	d.ads, err = ads.New(ads.Deps{
		Cache: d.pipeline.Cache(), Revision: d.pipeline.Revision, Node: func(n *corev3.Node) (ads.View, error) { return node.Parse(n) },
		Access: d.control, Ready: func() bool { return true }, Metrics: metrics, Log: log,
	})
	must()
	desk, err := receipt.New(receipt.Deps{
		Revision: d.pipeline.Revision, Await: d.pipeline.Await, Touched: d.pipeline.Touched, Streams: d.ads, Access: d.control,
		Ready: func() bool { return true }, Metrics: metrics,
	})
	must()
	clients := csds.New(d.ads, d.control)
	listener := bufconn.Listen(1 << 16)
	g := grpc.NewServer(grpc.ForceServerCodecV2(ads.Codec()))
	d.ads.Register(g)
	desk.Register(g)
	clients.Register(g)
	d.conn, err = grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	must()
	run := func(f func(context.Context) error) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- f(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	run(func(context.Context) error { return g.Serve(listener) })
	t.Cleanup(g.Stop)
	for _, f := range []func(context.Context) error{d.pipeline.Run, d.ads.Run, desk.Run, clients.Run} {
		run(f)
	}
	t.Cleanup(func() { _ = d.conn.Close() })
	return d
}

// put registers a service with one instance, made by somebody.
func (d *door) put(namespace, name, creator string) {
	d.t.Helper()
	key, revision := naming.ServiceKey{Namespace: namespace, Name: name}, d.registry.World().Revision()+1
	err := d.registry.Apply(naming.Commit{Revision: revision, Changes: []naming.Change{
		{After: &naming.Service{Key: key, Creator: creator, Revision: revision}},
		{After: &naming.Instance{ID: name, Service: key, Host: "10.0.0.1", Port: 80, Weight: 100, Healthy: true, Revision: revision}},
	}})
	if err == nil {
		err = d.pipeline.Await(d.t.Context(), uint64(revision))
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *door) told() []refusal {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.refusals
	d.refusals = nil
	return out
}

// as shows a token.
func as(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, access.KeyToken, token)
}

func envoy(id, namespace string, more ...string) *corev3.Node {
	n := &corev3.Node{Id: id, UserAgentName: "envoy", Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
		node.KeyNamespace: structpb.NewStringValue(namespace),
		node.KeyEgress:    structpb.NewStringValue("127.0.0.1:15001"),
	}}}
	for pair := range slices.Chunk(more, 2) {
		n.Metadata.Fields[pair[0]] = structpb.NewStringValue(pair[1])
	}
	return n
}

// stream is an incremental, aggregated stream.
type stream struct {
	t *testing.T
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	bytes strings.Builder // all resources that were received
}

func (d *door) stream(ctx context.Context) *stream {
	d.t.Helper()
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(d.conn).DeltaAggregatedResources(ctx)
	if err != nil {
		d.t.Fatal(err)
	}
	return &stream{t: d.t, AggregatedDiscoveryService_DeltaAggregatedResourcesClient: s}
}

func (s *stream) ask(n *corev3.Node, t resource.Type, names ...string) {
	s.t.Helper()
	if err := s.Send(&discoveryv3.DeltaDiscoveryRequest{Node: n, TypeUrl: t.URL(), ResourceNamesSubscribe: names}); err != nil {
		s.t.Fatal(err)
	}
}

// answer takes a response, accepts it, and lists what is in it.
func (s *stream) answer() string {
	s.t.Helper()
	r, err := s.Recv()
	if err == nil {
		err = s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, one := range r.GetResources() {
		s.bytes.WriteString(one.String())
		out = append(out, one.GetName())
	}
	for _, gone := range r.GetRemovedResources() {
		out = append(out, "-"+gone)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// ended waits for the end of a stream.
func ended(recv func() error) error {
	for {
		if err := recv(); err != nil {
			return err
		}
	}
}

func (s *stream) ended() error { return ended(func() error { _, err := s.Recv(); return err }) }

// statuses asks for the status of the clients that the owner of a token may
// inspect.
func (d *door) statuses(token string) ([]*statusv3.ClientConfig, error) {
	r, err := statusv3.NewClientStatusDiscoveryServiceClient(d.conn).FetchClientStatus(as(d.t.Context(), token), &statusv3.ClientStatusRequest{})
	return r.GetConfig(), err
}

func (d *door) wait(token string, in *adminpb.WaitRequest) (*adminpb.WaitResponse, error) {
	return adminpb.NewReceiptServiceClient(d.conn).Wait(as(d.t.Context(), token), in)
}

var errNone = errors.New("no error")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
