package resource

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
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

// settingsOf reads a service's settings; what is wrong with them is reported.
func settingsOf(s *naming.Service) (naming.Settings, []Problem) {
	set, wrong := naming.StoredSettings(s.Metadata)
	var problems []Problem
	for _, e := range wrong {
		problems = append(problems, Problem{Service: s.Key.String(), Reason: e.Msg + "; its default is in force"})
	}
	return set, problems
}

// clusterOf is the cluster of a service for a kind of client, and when it last
// changed.
func clusterOf(w naming.World, st *naming.ServiceState, client Client) (*clusterv3.Cluster, naming.Revision, []Problem) {
	set, problems := settingsOf(st.Service)
	c, revision := cluster(st.Service, &set, client), revisionOf(w, st.Service)
	if ByName(st) {
		return c, max(revision, st.Revision), append(problems, byDNS(c, st, &set, client)...)
	}
	return c, revision, problems
}

// cluster is the cluster of a service of addresses. Everything that changes often stays in
// its endpoints: a changed cluster costs an Envoy its connection pools.
func cluster(s *naming.Service, set *naming.Settings, client Client) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:                 ClusterName(s.Key),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: overADS()},
		CircuitBreakers:      thresholds(set),
		OutlierDetection:     outlier(&set.Outlier, client),
		TransportSocket:      transportSocket(&set.TLS, client),
		// gRFC A78, A89: names in the clients' own metrics.
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"com.google.csm.telemetry_labels": {Fields: map[string]*structpb.Value{
				"service_name":      structpb.NewStringValue(s.Key.Name),
				"service_namespace": structpb.NewStringValue(s.Key.Namespace),
			}},
		}},
	}
	if client == GRPC {
		balanceGRPC(c, set)
		return c // only what every gRPC language accepts
	}
	balanceEnvoy(c, set)
	c.ConnectTimeout = durationpb.New(set.ConnectTimeout)
	c.IgnoreHealthOnHostRemoval = true // what was deregistered goes at once
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": upstreamProtocol,
	}
	return c
}

// thresholds are always set: Envoy's default of 1024 requests surprises whoever
// meets it first.
func thresholds(set *naming.Settings) *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     wrapperspb.UInt32(set.MaxConnections),
		MaxPendingRequests: wrapperspb.UInt32(set.MaxPendingRequests),
		MaxRequests:        wrapperspb.UInt32(set.MaxRequests),
		MaxRetries:         wrapperspb.UInt32(set.MaxRetries),
	}}}
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

// outlier is passive health checking. Envoy and gRPC have detections of their
// own that are on unless told otherwise, so each is switched explicitly. gRPC
// counts no consecutive errors.
func outlier(o *naming.Outlier, client Client) *clusterv3.OutlierDetection {
	if !o.On() || client == GRPC && o.SuccessRateStdev == 0 && o.FailurePercentage == 0 {
		return nil
	}
	enforce := func(on bool) *wrapperspb.UInt32Value {
		if on {
			return wrapperspb.UInt32(100)
		}
		return wrapperspb.UInt32(0)
	}
	out := &clusterv3.OutlierDetection{
		Interval:                   durationpb.New(o.Interval),
		BaseEjectionTime:           durationpb.New(o.BaseEjection),
		MaxEjectionPercent:         wrapperspb.UInt32(o.MaxEjection),
		EnforcingConsecutive_5Xx:   enforce(o.Consecutive5xx > 0),
		EnforcingSuccessRate:       enforce(o.SuccessRateStdev > 0),
		EnforcingFailurePercentage: enforce(o.FailurePercentage > 0),
		// As gRPC does: a percentage that is less than one instance is one.
		AlwaysEjectOneHost: wrapperspb.Bool(true),
	}
	if o.Consecutive5xx > 0 {
		out.Consecutive_5Xx = wrapperspb.UInt32(o.Consecutive5xx)
	}
	if o.SuccessRateStdev > 0 {
		out.SuccessRateStdevFactor = wrapperspb.UInt32(o.SuccessRateStdev)
		out.SuccessRateMinimumHosts = wrapperspb.UInt32(o.MinHosts)
		out.SuccessRateRequestVolume = wrapperspb.UInt32(o.RequestVolume)
	}
	if o.FailurePercentage > 0 {
		out.FailurePercentageThreshold = wrapperspb.UInt32(o.FailurePercentage)
		out.FailurePercentageMinimumHosts = wrapperspb.UInt32(o.MinHosts)
		out.FailurePercentageRequestVolume = wrapperspb.UInt32(o.RequestVolume)
	}
	return out
}

// mustAny packs a message of ours; it cannot fail for a known type.
func mustAny(m proto.Message) *anypb.Any {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value}
}

// within is a duration as protobuf has it; nil for none.
func within(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
