package e2e

import (
	"context"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/e2e/harness"
)

const (
	clusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	endpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	routeType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
)

// TestStopWithOpenStreams: streams never end by themselves, so a stop has to
// end them: exit status 0 in little more than the drain time, and each client
// is told.
func TestStopWithOpenStreams(t *testing.T) {
	s := harness.StartServer(t, "--drain-timeout", "1s")
	r := harness.Connect(t, s.Polaris)
	if err := r.Put(harness.Instance("cart", "10.1.1.1:80")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cc, err := grpc.NewClient(s.XDS, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	waits := map[string]func() error{
		"SotW":     openSotW(ctx, t, cc),
		"delta":    openDelta(ctx, t, cc),
		"Discover": openDiscover(ctx, t, r),
	}
	began := time.Now()
	if err := s.Terminate(); err != nil {
		t.Errorf("ended with %v, want exit status 0", err)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("the stop took %s with a drain time of 1 s", d)
	}
	for name, wait := range waits {
		if err := wait(); err == nil || ctx.Err() != nil {
			t.Errorf("the %s stream was left open: %v", name, err)
		}
	}
}

// node is an Envoy's node for streams without an Envoy.
func node(t *testing.T, id string) *core.Node {
	t.Helper()
	meta, err := structpb.NewStruct(map[string]any{"namespace": "default", "egress_address": "127.0.0.1:15001"})
	if err != nil {
		t.Fatal(err)
	}
	return &core.Node{Id: id, Cluster: "default", Metadata: meta, UserAgentName: "envoy"}
}

// openSotW opens a stream, waits for its first answer, and returns how to wait
// for its end.
func openSotW(ctx context.Context, t *testing.T, cc *grpc.ClientConn) func() error {
	t.Helper()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(cc).StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&discovery.DiscoveryRequest{Node: node(t, "test"), TypeUrl: clusterType}); err != nil {
		t.Fatal(err)
	}
	if res, err := stream.Recv(); err != nil || len(res.GetResources()) == 0 {
		t.Fatalf("first answer: %v, %v", res, err)
	}
	return func() error { _, err := stream.Recv(); return err }
}

func openDelta(ctx context.Context, t *testing.T, cc *grpc.ClientConn) func() error {
	t.Helper()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(cc).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&discovery.DeltaDiscoveryRequest{Node: node(t, "test"), TypeUrl: clusterType}); err != nil {
		t.Fatal(err)
	}
	if res, err := stream.Recv(); err != nil || len(res.GetResources()) == 0 {
		t.Fatalf("first answer: %v, %v", res, err)
	}
	return func() error { _, err := stream.Recv(); return err }
}

func openDiscover(ctx context.Context, t *testing.T, r *harness.Registrar) func() error {
	t.Helper()
	stream, err := r.Discover(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&service_manage.DiscoverRequest{
		Type:    service_manage.DiscoverRequest_INSTANCE,
		Service: &service_manage.Service{Namespace: wrapperspb.String("default"), Name: wrapperspb.String("cart")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := stream.Recv(); err != nil || len(res.GetInstances()) != 1 {
		t.Fatalf("first answer: %v, %v", res, err)
	}
	return func() error { _, err := stream.Recv(); return err }
}
