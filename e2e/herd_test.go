package e2e

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"polestar/e2e/harness"
)

// follower is the least that an incremental client does: it accepts what it
// gets, remembers the versions, and says after a reconnect what it has.
type follower struct {
	node     *core.Node
	services []string // names of clusters

	mu        sync.Mutex
	held      map[string]map[string]string // type URL → name → version
	resources map[string]int               // received on this stream, by type URL
	bytes     int                          // of the messages received on this stream
}

// startHerd follows a server with many streams on few connections.
func startHerd(t *testing.T, s *harness.Server, streams int, services []string) []*follower {
	t.Helper()
	const perConnection = 100
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	t.Cleanup(func() { cancel(); wait.Wait() })
	var herd []*follower
	var cc *grpc.ClientConn
	for n := range streams {
		if n%perConnection == 0 {
			var err error
			cc, err = grpc.NewClient(s.XDS, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(grpc.ConnectParams{
				Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.5, MaxDelay: time.Second}, MinConnectTimeout: time.Second,
			}))
			if err != nil {
				t.Fatal(err)
			}
			conn := cc
			t.Cleanup(func() { _ = conn.Close() })
		}
		f := &follower{node: node(t, fmt.Sprint("herd-", n)), services: services, held: map[string]map[string]string{}}
		herd = append(herd, f)
		xds := discovery.NewAggregatedDiscoveryServiceClient(cc)
		wait.Go(func() {
			for ctx.Err() == nil {
				_ = f.follow(ctx, xds) // ends with the server
			}
		})
	}
	return herd
}

// follow runs one stream to its end.
func (f *follower) follow(ctx context.Context, xds discovery.AggregatedDiscoveryServiceClient) error {
	stream, err := xds.DeltaAggregatedResources(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for _, r := range f.open() {
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		f.take(m)
		if err := stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce()}); err != nil {
			return err
		}
	}
}

// open makes the first requests of a stream.
func (f *follower) open() []*discovery.DeltaDiscoveryRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resources, f.bytes = map[string]int{}, 0
	out := []*discovery.DeltaDiscoveryRequest{
		{TypeUrl: clusterType}, // no names: all
		{TypeUrl: endpointType, ResourceNamesSubscribe: f.services},
		{TypeUrl: listenerType},
		{TypeUrl: routeType, ResourceNamesSubscribe: []string{"egress"}},
	}
	out[0].Node = f.node
	for _, r := range out {
		r.InitialResourceVersions = maps.Clone(f.held[r.GetTypeUrl()])
	}
	return out
}

func (f *follower) take(m *discovery.DeltaDiscoveryResponse) {
	f.mu.Lock()
	defer f.mu.Unlock()
	held := f.held[m.GetTypeUrl()]
	if held == nil {
		held = map[string]string{}
		f.held[m.GetTypeUrl()] = held
	}
	for _, r := range m.GetResources() {
		held[r.GetName()] = r.GetVersion()
	}
	for _, name := range m.GetRemovedResources() {
		delete(held, name)
	}
	f.resources[m.GetTypeUrl()] += len(m.GetResources())
	f.bytes += proto.Size(m)
}

// has checks that the follower holds the whole world.
func (f *follower) has() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for url, want := range map[string]int{clusterType: len(f.services), endpointType: len(f.services), listenerType: 1, routeType: 1} {
		if got := len(f.held[url]); got != want {
			return fmt.Errorf("%s has %d resources of type %s, not %d", f.node.GetId(), got, url, want)
		}
	}
	return nil
}

// received returns what came on this stream.
func (f *follower) received() (resources map[string]int, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.resources), f.bytes
}

// TestRestartSendsNothingAgain: a thousand incremental clients come back to a
// server that was killed and are sent nothing that they have; a change after
// that reaches each of them, and is all that does.
func TestRestartSendsNothingAgain(t *testing.T) {
	const streams, services, instances = 1000, 20, 5
	s := harness.StartServer(t)
	r := harness.Connect(t, s.Polaris)
	var names []string
	for n := range services {
		names = append(names, fmt.Sprintf("default/svc%d", n))
		for i := range instances {
			if err := r.Put(harness.Instance(fmt.Sprint("svc", n), fmt.Sprintf("10.1.%d.%d:80", n, i+1))); err != nil {
				t.Fatal(err)
			}
		}
	}
	herd := startHerd(t, s, streams, names)
	everyone := func(check func(*follower) error) {
		t.Helper()
		harness.Wait(t, time.Minute, func() error {
			for _, f := range herd {
				if err := check(f); err != nil {
					return err
				}
			}
			return nil
		})
	}
	everyone((*follower).has)
	first := 0
	for _, f := range herd {
		_, bytes := f.received()
		first += bytes
	}

	s.Kill()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	harness.Wait(t, time.Minute, func() error {
		n, err := s.Metric(`polestar_xds_streams{protocol="delta"}`)
		if err == nil && n != streams {
			err = fmt.Errorf("%v of %d streams are back", n, streams)
		}
		return err
	})
	again := harness.Connect(t, s.Polaris)
	if err := again.Put(harness.Instance("svc0", "10.1.0.1:80", harness.Weight(50))); err != nil {
		t.Fatal(err)
	}
	everyone(func(f *follower) error {
		if resources, _ := f.received(); resources[endpointType] == 0 {
			return fmt.Errorf("%s has not got the change", f.node.GetId())
		}
		return f.has()
	})
	second := 0
	for _, f := range herd {
		resources, bytes := f.received()
		second += bytes
		if resources[endpointType] != 1 || resources[clusterType]+resources[listenerType]+resources[routeType] != 0 {
			t.Fatalf("%s was sent again what it had: %v", f.node.GetId(), resources)
		}
	}
	t.Logf("%d streams: %d bytes at first, %d after the restart, with one change", streams, first, second)
	if second > first/20 { // the change is one of 42 resources
		t.Errorf("%d bytes after the restart, %d at first", second, first)
	}
}
