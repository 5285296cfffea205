package ads

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/service/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/service/route/v3"
	"google.golang.org/grpc"

	"polestar/xds/resource"
)

// aggregated is the service of a stream of all types.
const aggregated = "ads"

// urlOf is the type of a service of one type, where type_url may be empty;
// empty for the aggregated one.
func urlOf(service string) string {
	for _, t := range resource.Types() {
		if t.String() == service {
			return t.URL()
		}
	}
	return ""
}

// Register adds the aggregated service and those of one type to a gRPC server,
// which must have been made with [Codec]. The unary Fetch methods answer
// UNIMPLEMENTED: polling is not offered.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	d := doors{server: s}
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(r, d)
	clusterv3.RegisterClusterDiscoveryServiceServer(r, d)
	endpointv3.RegisterEndpointDiscoveryServiceServer(r, d)
	listenerv3.RegisterListenerDiscoveryServiceServer(r, d)
	routev3.RegisterRouteDiscoveryServiceServer(r, d)
}

// doors are the methods of all services: each says which it is, and serves.
type doors struct {
	server *Server
	clusterv3.UnimplementedClusterDiscoveryServiceServer
	endpointv3.UnimplementedEndpointDiscoveryServiceServer
	listenerv3.UnimplementedListenerDiscoveryServiceServer
	routev3.UnimplementedRouteDiscoveryServiceServer
}

// StreamAggregatedResources serves all types, state of the world.
func (d doors) StreamAggregatedResources(g discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return d.sotw(g, aggregated)
}

// DeltaAggregatedResources serves all types, incrementally.
func (d doors) DeltaAggregatedResources(g discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return d.delta(g, aggregated)
}

// StreamClusters serves clusters, state of the world.
func (d doors) StreamClusters(g clusterv3.ClusterDiscoveryService_StreamClustersServer) error {
	return d.sotw(g, resource.Cluster.String())
}

// DeltaClusters serves clusters, incrementally.
func (d doors) DeltaClusters(g clusterv3.ClusterDiscoveryService_DeltaClustersServer) error {
	return d.delta(g, resource.Cluster.String())
}

// StreamEndpoints serves endpoints, state of the world.
func (d doors) StreamEndpoints(g endpointv3.EndpointDiscoveryService_StreamEndpointsServer) error {
	return d.sotw(g, resource.Endpoints.String())
}

// DeltaEndpoints serves endpoints, incrementally.
func (d doors) DeltaEndpoints(g endpointv3.EndpointDiscoveryService_DeltaEndpointsServer) error {
	return d.delta(g, resource.Endpoints.String())
}

// StreamListeners serves listeners, state of the world.
func (d doors) StreamListeners(g listenerv3.ListenerDiscoveryService_StreamListenersServer) error {
	return d.sotw(g, resource.Listener.String())
}

// DeltaListeners serves listeners, incrementally.
func (d doors) DeltaListeners(g listenerv3.ListenerDiscoveryService_DeltaListenersServer) error {
	return d.delta(g, resource.Listener.String())
}

// StreamRoutes serves routes, state of the world.
func (d doors) StreamRoutes(g routev3.RouteDiscoveryService_StreamRoutesServer) error {
	return d.sotw(g, resource.Route.String())
}

// DeltaRoutes serves routes, incrementally.
func (d doors) DeltaRoutes(g routev3.RouteDiscoveryService_DeltaRoutesServer) error {
	return d.delta(g, resource.Route.String())
}

func (d doors) sotw(g grpc.ServerStream, service string) error {
	return d.server.serve(g, service, false, func(f *frame) (Request, *corev3.Node, error) {
		var m discoveryv3.DiscoveryRequest
		if err := f.decode(&m); err != nil {
			return Request{}, nil, err
		}
		return Request{
			URL: m.GetTypeUrl(), Nonce: m.GetResponseNonce(), Subscribe: m.GetResourceNames(),
			Refused: m.GetErrorDetail() != nil, Reason: m.GetErrorDetail().GetMessage(),
		}, m.GetNode(), nil
	})
}

func (d doors) delta(g grpc.ServerStream, service string) error {
	return d.server.serve(g, service, true, func(f *frame) (Request, *corev3.Node, error) {
		var m discoveryv3.DeltaDiscoveryRequest
		if err := f.decode(&m); err != nil {
			return Request{}, nil, err
		}
		return Request{
			URL: m.GetTypeUrl(), Nonce: m.GetResponseNonce(),
			Subscribe: m.GetResourceNamesSubscribe(), Unsubscribe: m.GetResourceNamesUnsubscribe(),
			Initial: m.GetInitialResourceVersions(),
			Refused: m.GetErrorDetail() != nil, Reason: m.GetErrorDetail().GetMessage(),
		}, m.GetNode(), nil
	})
}
