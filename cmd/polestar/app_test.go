package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/internal/lifecycle"
	"polestar/xds/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// whole is a whole server in this process, with connections to its doors.
type whole struct {
	*app
	polaris service_manage.PolarisGRPCClient
	health  healthv1.HealthClient
	xds     discoveryv3.AggregatedDiscoveryServiceClient
	status  statusv3.ClientStatusDiscoveryServiceClient
	stop    func()
}

// startWhole starts a server on dir, which checks nobody unless set says so, and
// waits until it is ready.
func startWhole(t testing.TB, dir string, set ...func(*Config)) *whole {
	t.Helper()
	return startLogging(t, zap.NewNop(), dir, set...)
}

// startLogging is startWhole with somebody who reads the log.
func startLogging(t testing.TB, log *zap.Logger, dir string, set ...func(*Config)) *whole {
	t.Helper()
	cfg := defaultConfig()
	cfg.DataDir, cfg.Auth.Console.Open = dir, false
	cfg.Polaris.Addr, cfg.XDS.Addr, cfg.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	onStore(t, &cfg)
	for _, f := range set {
		f(&cfg)
	}
	a, err := newApp(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	parts := append(a.parts(), lifecycle.Component{Name: "test", Start: func(context.Context) error { close(ready); return nil }})
	go func() { done <- lifecycle.Run(ctx, a.log, 5*time.Second, parts) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	w := &whole{app: a}
	var conns []*grpc.ClientConn
	dial := func(addr string) *grpc.ClientConn {
		cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, cc)
		return cc
	}
	door := dial(a.polaris.Addr().String())
	w.polaris, w.health = service_manage.NewPolarisGRPCClient(door), healthv1.NewHealthClient(door)
	xds := dial(a.xds.Addr().String())
	w.xds, w.status = discoveryv3.NewAggregatedDiscoveryServiceClient(xds), statusv3.NewClientStatusDiscoveryServiceClient(xds)
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
		for _, cc := range conns {
			_ = cc.Close()
		}
	}
	t.Cleanup(w.stop)
	return w
}

func (w *whole) xdsAddr() string { return w.app.xds.Addr().String() }

func (w *whole) register(t *testing.T, weight uint32) {
	t.Helper()
	res, err := w.polaris.RegisterInstance(t.Context(), &service_manage.Instance{
		Namespace: wrapperspb.String("default"), Service: wrapperspb.String("cart"),
		Host: wrapperspb.String("10.0.0.1"), Port: wrapperspb.UInt32(80), Weight: wrapperspb.UInt32(weight),
	})
	if err != nil || res.GetCode().GetValue() != 200000 {
		t.Fatalf("register: %v, %v", res, err)
	}
}

func (w *whole) discovered(t *testing.T) []*service_manage.Instance {
	t.Helper()
	s, err := w.polaris.Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = s.Send(&service_manage.DiscoverRequest{
		Type:    service_manage.DiscoverRequest_INSTANCE,
		Service: &service_manage.Service{Namespace: wrapperspb.String("default"), Name: wrapperspb.String("cart")},
	})
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	return res.GetInstances()
}

var envoyNode = &corev3.Node{Id: "test", UserAgentName: "envoy"}

// weightIn reads the weight of the only endpoint.
func weightIn(t *testing.T, cla *endpointv3.ClusterLoadAssignment) uint32 {
	t.Helper()
	if len(cla.GetEndpoints()) != 1 || len(cla.GetEndpoints()[0].GetLbEndpoints()) != 1 {
		t.Fatalf("endpoints: %v", cla)
	}
	return cla.GetEndpoints()[0].GetLbEndpoints()[0].GetLoadBalancingWeight().GetValue()
}

// An acknowledged registration is in the very next Discover, and the next
// push of every stream has it.
func TestRegistrationTravelsTheWholeWay(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.register(t, 1)
	stream, err := w.xds.StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := &discoveryv3.DiscoveryRequest{Node: envoyNode, TypeUrl: resource.Endpoints.URL(), ResourceNames: []string{"default/cart"}}
	for weight := uint32(1); weight <= 50; weight++ {
		w.register(t, weight)
		if got := w.discovered(t); len(got) != 1 || got[0].GetWeight().GetValue() != weight {
			t.Fatalf("Discover shows %v, want weight %d", got, weight)
		}
		if err := stream.Send(ask); err != nil {
			t.Fatal(err)
		}
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var cla endpointv3.ClusterLoadAssignment
		if err := res.GetResources()[0].UnmarshalTo(&cla); err != nil {
			t.Fatal(err)
		}
		if got := weightIn(t, &cla); got != weight {
			t.Fatalf("EDS has weight %d, want %d", got, weight)
		}
		ask = &discoveryv3.DiscoveryRequest{
			TypeUrl: ask.TypeUrl, ResourceNames: ask.ResourceNames, ResponseNonce: res.GetNonce(), VersionInfo: res.GetVersionInfo(),
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
}

// A client that reconnects to the restarted server with what it has is sent
// nothing, and then the next change.
func TestReferenceDefect08RestartSendsOnlyDifferences(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir)
	w.register(t, 5)
	var stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	exchange := func(ask *discoveryv3.DeltaDiscoveryRequest) *discoveryv3.DeltaDiscoveryResponse {
		t.Helper()
		if err := stream.Send(ask); err != nil {
			t.Fatal(err)
		}
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	has := func(res *discoveryv3.DeltaDiscoveryResponse) map[string]string {
		return map[string]string{res.GetResources()[0].GetName(): res.GetResources()[0].GetVersion()}
	}
	clusters := &discoveryv3.DeltaDiscoveryRequest{Node: envoyNode, TypeUrl: resource.Cluster.URL()}
	endpoints := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.Endpoints.URL(), ResourceNamesSubscribe: []string{"default/cart"}}
	connect := func() {
		t.Helper()
		var err error
		if stream, err = w.xds.DeltaAggregatedResources(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	connect()
	clusters.InitialResourceVersions = has(exchange(clusters))
	endpoints.InitialResourceVersions = has(exchange(endpoints))
	w.stop()

	w = startWhole(t, dir)
	if got := w.discovered(t); len(got) != 1 || got[0].GetWeight().GetValue() != 5 {
		t.Fatalf("after a restart Discover shows %v", got)
	}
	connect()
	if res := exchange(clusters); len(res.GetResources())+len(res.GetRemovedResources()) != 0 {
		t.Errorf("unchanged clusters were sent again: %v", res)
	}
	if err := stream.Send(endpoints); err != nil {
		t.Fatal(err)
	}
	// Only when the server has seen the subscription does the change follow it.
	for len(w.ads.Clients()) == 0 || len(w.ads.Clients()[0].Types) < 2 {
		time.Sleep(time.Millisecond) // polls a state that no event announces
	}
	w.register(t, 6)
	res, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var cla endpointv3.ClusterLoadAssignment
	if err = res.GetResources()[0].GetResource().UnmarshalTo(&cla); err != nil {
		t.Fatal(err)
	}
	if got := weightIn(t, &cla); got != 6 {
		t.Errorf("the first response after the reconnect has weight %d: unchanged content was sent again", got)
	}
	if err = stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
}

func TestHTTPDoorOfAWholeServer(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.register(t, 1)
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/readyz", "/healthz", "/metrics", "/api/v1/instances", "/api/v1/clients"} {
		res, err := client.Get(fmt.Sprintf("http://%s%s", w.web.Addr(), path))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}
