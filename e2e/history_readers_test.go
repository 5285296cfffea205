package e2e

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/e2e/history"
)

// discover reads the service at a server until ctx ends.
func (r *round) discover(ctx context.Context, node int) error {
	cc, err := dialAgain(r.nodes[node].Polaris)
	if err != nil {
		return err
	}
	defer func() { _ = cc.Close() }()
	client := service_manage.NewPolarisGRPCClient(cc)
	for ctx.Err() == nil {
		read := history.Read{Node: node, Session: fmt.Sprintf("Discover %d", node), Asked: r.notes.clock.Add(1)}
		if read.World, err = shownBy(context.WithoutCancel(ctx), client, r.service); err == nil {
			read.Told = r.notes.clock.Add(1)
			r.notes.read(read)
		}
		rest(ctx, 3*time.Millisecond)
	}
	return nil
}

// shownBy is what Discover shows of a service.
func shownBy(ctx context.Context, client service_manage.PolarisGRPCClient, service string) (history.World, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	stream, err := client.Discover(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&service_manage.DiscoverRequest{
		Type:    service_manage.DiscoverRequest_INSTANCE,
		Service: &service_manage.Service{Namespace: wrapperspb.String("default"), Name: wrapperspb.String(service)},
	})
	if err != nil {
		return nil, err
	}
	res, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if code := res.GetCode().GetValue(); code != 200000 && code != 400202 {
		return nil, fmt.Errorf("code %d: %s", code, res.GetInfo().GetValue())
	}
	w := history.World{}
	for _, i := range res.GetInstances() {
		rev, err := strconv.ParseUint(i.GetRevision().GetValue(), 16, 64)
		if err != nil {
			return nil, err
		}
		w[fmt.Sprintf("%s:%d", i.GetHost().GetValue(), i.GetPort().GetValue())] = history.Content{
			Mark: i.GetMetadata()["mark"], Revision: rev, Weight: i.GetWeight().GetValue(), Isolated: i.GetIsolate().GetValue(),
		}
	}
	return w, nil
}

// watcher holds a delta stream to a server, and opens it anew when it ends.
type watcher struct {
	*round
	node int

	mu   sync.Mutex // guards everything below
	last history.Read
}

// holds is what the client has now.
func (w *watcher) holds() history.Read {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *watcher) run(ctx context.Context) error {
	cc, err := dialAgain(w.nodes[w.node].XDS)
	if err != nil {
		return err
	}
	defer func() { _ = cc.Close() }()
	for n := 0; ctx.Err() == nil; n++ {
		if err := w.follow(ctx, cc, fmt.Sprintf("stream %d of node %d", n, w.node)); err != nil && ctx.Err() == nil {
			rest(ctx, 20*time.Millisecond)
		}
	}
	return nil
}

// follow notes what one stream is sent. Its first answer is a reading like any
// other: what was acknowledged here before it was asked for must be in it.
func (w *watcher) follow(ctx context.Context, cc *grpc.ClientConn, session string) error {
	asked := w.notes.clock.Add(1)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(cc).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	const eds = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	ask := &discoveryv3.DeltaDiscoveryRequest{
		Node: &corev3.Node{Id: session, UserAgentName: "envoy"}, TypeUrl: eds, ResourceNamesSubscribe: []string{"default/" + w.service},
	}
	for pushed := false; ; pushed = true {
		if err := stream.Send(ask); err != nil {
			return err
		}
		res, err := stream.Recv()
		if err != nil {
			return err
		}
		read := history.Read{Node: w.node, Session: session, Asked: asked, Told: w.notes.clock.Add(1), World: history.World{}, Pushed: pushed, Partial: true}
		asked = read.Told
		if read.Since, err = strconv.ParseUint(res.GetSystemVersionInfo(), 10, 64); err != nil {
			return fmt.Errorf("system_version_info: %w", err)
		}
		for _, x := range res.GetResources() {
			var cla endpointv3.ClusterLoadAssignment
			if err := x.GetResource().UnmarshalTo(&cla); err != nil {
				return err
			}
			maps.Copy(read.World, endpointsOf(&cla))
		}
		w.mu.Lock()
		w.last = read
		w.mu.Unlock()
		w.notes.read(read)
		ask = &discoveryv3.DeltaDiscoveryRequest{TypeUrl: eds, ResponseNonce: res.GetNonce()}
	}
}

// endpointsOf is a world of those that take traffic.
func endpointsOf(cla *endpointv3.ClusterLoadAssignment) history.World {
	w := history.World{}
	for _, locality := range cla.GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			at := e.GetEndpoint().GetAddress().GetSocketAddress()
			w[fmt.Sprintf("%s:%d", at.GetAddress(), at.GetPortValue())] = history.Content{
				Mark:   e.GetMetadata().GetFilterMetadata()["envoy.lb"].GetFields()["mark"].GetStringValue(),
				Weight: e.GetLoadBalancingWeight().GetValue(),
			}
		}
	}
	return w
}
