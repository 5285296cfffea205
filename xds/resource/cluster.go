package resource

import (
	"math"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// overADS is the config source "this same stream".
func overADS() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}

// cluster is the cluster of a service. Everything that changes often stays in
// its endpoints: a changed cluster costs an Envoy its connection pools.
func cluster(s *naming.Service, client Client) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:                 ClusterName(s.Key),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: overADS()},
		LbPolicy:             clusterv3.Cluster_ROUND_ROBIN,
		// Envoy's default of 1024 requests surprises whoever meets it first.
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections:     wrapperspb.UInt32(math.MaxUint32),
			MaxPendingRequests: wrapperspb.UInt32(math.MaxUint32),
			MaxRequests:        wrapperspb.UInt32(math.MaxUint32),
			MaxRetries:         wrapperspb.UInt32(math.MaxUint32),
		}}},
		// gRFC A78, A89: names in the clients' own metrics.
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"com.google.csm.telemetry_labels": {Fields: map[string]*structpb.Value{
				"service_name":      structpb.NewStringValue(s.Key.Name),
				"service_namespace": structpb.NewStringValue(s.Key.Namespace),
			}},
		}},
	}
	if client == GRPC {
		return c // only what every gRPC language accepts
	}
	c.ConnectTimeout = durationpb.New(5 * time.Second)
	c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{
		// Polaris: unhealthy instances get traffic only when all are unhealthy.
		// Envoy rounds to whole percents, so 1 % is the nearest to "none left".
		HealthyPanicThreshold: &typev3.Percent{Value: 1},
		// A change of weight or health must not wait for others to join it.
		UpdateMergeWindow: durationpb.New(0),
	}
	c.IgnoreHealthOnHostRemoval = true // what was deregistered goes at once
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": upstreamProtocol,
	}
	return c
}

// upstreamProtocol sends HTTP/2 (and so gRPC) on as HTTP/2 and HTTP/1 as
// HTTP/1, whatever the service calls its protocol.
var upstreamProtocol = mustAny(&httpv3.HttpProtocolOptions{
	UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_UseDownstreamProtocolConfig{
		UseDownstreamProtocolConfig: &httpv3.HttpProtocolOptions_UseDownstreamHttpConfig{
			HttpProtocolOptions:  &corev3.Http1ProtocolOptions{},
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
		},
	},
})

// mustAny packs a message of ours; it cannot fail for a known type.
func mustAny(m proto.Message) *anypb.Any {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value}
}
