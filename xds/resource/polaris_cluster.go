package resource

import (
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// outboundCluster is a service's cluster under the name that sidecars and
// gateways know. Its endpoints are those of all Envoys: one encoding for all.
func outboundCluster(w naming.World, st *naming.ServiceState, mode Mutual) (*clusterv3.Cluster, naming.Revision, []Problem) {
	c, revision, problems := clusterOf(w, st, Envoy)
	if eds := c.GetEdsClusterConfig(); eds != nil {
		eds.ServiceName = c.GetName()
	}
	c.Name = OutboundName(st.Service.Key)
	mutualUpstream(c, st.Service.Key, mode)
	return c, revision, problems
}

// passthroughCluster sends a connection to where it was going before iptables
// turned it round.
func passthroughCluster(name string) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST},
		LbPolicy:             clusterv3.Cluster_CLUSTER_PROVIDED,
		ConnectTimeout:       durationpb.New(5 * time.Second),
		CircuitBreakers:      thresholds(untouched()),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": upstreamProtocol,
		},
	}
	if name == inboundPassthrough {
		// The rules of Polaris' sidecars let this source through; any other would
		// be led to the inbound listener again, in a circle.
		c.UpstreamBindConfig = &corev3.BindConfig{SourceAddress: &corev3.SocketAddress{
			Address: "127.0.0.6", PortSpecifier: &corev3.SocketAddress_PortValue{},
		}}
	}
	return c
}

// untouched are the settings of what is not a service's: no limits.
func untouched() *naming.Settings {
	set := naming.DefaultSettings()
	return &set
}

// portKey is where an endpoint of an inbound cluster says its port.
const portKey = "port"

// inboundCluster is the application behind a sidecar. Each of its ports is a
// subset, so that a connection to one never reaches another.
func inboundCluster(key naming.ServiceKey) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 InboundName(key),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: overADS()},
		ConnectTimeout:       durationpb.New(5 * time.Second),
		CircuitBreakers:      thresholds(untouched()),
		LbSubsetConfig: &clusterv3.Cluster_LbSubsetConfig{
			FallbackPolicy:  clusterv3.Cluster_LbSubsetConfig_NO_FALLBACK,
			SubsetSelectors: []*clusterv3.Cluster_LbSubsetConfig_LbSubsetSelector{{Keys: []string{portKey}}},
		},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": upstreamProtocol,
		},
	}
}

// ofPort selects an endpoint of an inbound cluster, and marks it.
func ofPort(port uint16) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		subsetFilter: {Fields: map[string]*structpb.Value{portKey: structpb.NewStringValue(strconv.Itoa(int(port)))}},
	}}
}

// inboundAssignment holds the ports of the application.
func inboundAssignment(key naming.ServiceKey, ports []uint16) *endpointv3.ClusterLoadAssignment {
	out := &endpointv3.ClusterLoadAssignment{ClusterName: InboundName(key)}
	if len(ports) == 0 {
		return out
	}
	here := &endpointv3.LocalityLbEndpoints{Locality: &corev3.Locality{}, LoadBalancingWeight: wrapperspb.UInt32(uint32(len(ports)))}
	for _, port := range ports {
		here.LbEndpoints = append(here.LbEndpoints, &endpointv3.LbEndpoint{
			HostIdentifier:      &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address("127.0.0.1", uint32(port))}},
			HealthStatus:        corev3.HealthStatus_HEALTHY,
			LoadBalancingWeight: wrapperspb.UInt32(1),
			Metadata:            ofPort(port),
		})
	}
	out.Endpoints = []*endpointv3.LocalityLbEndpoints{here}
	return out
}
