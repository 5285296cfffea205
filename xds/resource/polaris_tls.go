package resource

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// Mutual is what a node set up for Polaris does about mutual TLS between
// sidecars. Certificates come from polaris-sidecar, which every such Envoy has
// beside it.
type Mutual uint8

// The modes.
const (
	MutualOff        Mutual = iota
	MutualPermissive        // speaks it with those who do, and takes plain text
	MutualStrict            // nothing else
)

// mutualKey is the key of an instance's metadata that says whether its sidecar
// speaks mutual TLS: permissive or strict.
const mutualKey = "polarismesh.cn/tls-mode"

// speaksMutual reports whether an instance can be called by mutual TLS.
func speaksMutual(i *naming.Instance) bool {
	mode, _ := i.Metadata.Get(mutualKey)
	return mode == "permissive" || mode == "strict"
}

// mutualEntry is the encoded entry of Metadata.filter_metadata that marks such
// an instance. It follows that of [subsetFilter] in order of keys.
var mutualEntry = func() []byte {
	const filter, key, value = "envoy.transport_socket_match", "acceptMTLS", "true"
	pair := naming.Pair{Key: key, Value: value}
	fields := field(pairSize(pair))
	b := open(nil, 1, field(len(filter))+field(fields))
	b = open(text(b, 1, filter), 2, fields)
	return appendPair(b, pair)
}()

// mutualSecrets names what polaris-sidecar offers.
func mutualSecrets(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: &corev3.ApiConfigSource{
			ApiType:                   corev3.ApiConfigSource_GRPC,
			TransportApiVersion:       corev3.ApiVersion_V3,
			SetNodeOnFirstMessageOnly: true,
			GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: "sds-grpc"},
			}}},
		}},
	}}
}

// mutualContext shows the own certificate, and takes one of the mesh only.
func mutualContext() *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{
		TlsParams:                      &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{mutualSecrets("default")},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext: &tlsv3.CertificateValidationContext{
					MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{
						SanType: tlsv3.SubjectAltNameMatcher_URI,
						Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "spiffe://cluster.local/"}},
					}},
				},
				ValidationContextSdsSecretConfig: mutualSecrets("ROOTCA"),
			},
		},
	}
}

// mutualUpstream makes a cluster speak mutual TLS: strictly with every
// endpoint, else with those that are marked. What the service's own settings
// say of TLS wins over plain text, and over strictness.
func mutualUpstream(c *clusterv3.Cluster, key naming.ServiceKey, mode Mutual) {
	socket := tlsSocket(&tlsv3.UpstreamTlsContext{
		Sni:              "outbound_.default_." + key.Name + "." + key.Namespace + ".svc.cluster.local",
		CommonTlsContext: mutualContext(),
	})
	switch {
	case mode == MutualPermissive:
		c.TransportSocketMatches = []*clusterv3.Cluster_TransportSocketMatch{{
			Name: "tls-mode", TransportSocket: socket,
			Match: &structpb.Struct{Fields: map[string]*structpb.Value{"acceptMTLS": structpb.NewStringValue("true")}},
		}}
	case mode == MutualStrict && c.TransportSocket == nil:
		c.TransportSocket = socket
	}
}

// mutualDownstream ends mutual TLS before an application.
func mutualDownstream() *corev3.TransportSocket {
	return tlsSocket(&tlsv3.DownstreamTlsContext{
		CommonTlsContext: mutualContext(), RequireClientCertificate: wrapperspb.Bool(true),
	})
}

// mutualListener makes an inbound listener take mutual TLS beside plain text, or
// instead of it.
func mutualListener(l *listenerv3.Listener, mode Mutual) {
	l.ListenerFilters = append(l.ListenerFilters, &listenerv3.ListenerFilter{
		Name:       "envoy.filters.listener.tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: mustAny(&tlsinspectorv3.TlsInspector{})},
	})
	var chains []*listenerv3.FilterChain
	for _, plain := range append(l.FilterChains, l.DefaultFilterChain) {
		match := &listenerv3.FilterChainMatch{DestinationPort: plain.GetFilterChainMatch().GetDestinationPort(), TransportProtocol: "tls"}
		chains = append(chains, &listenerv3.FilterChain{
			Name: plain.GetName() + "TLS", FilterChainMatch: match, Filters: plain.GetFilters(), TransportSocket: mutualDownstream(),
		})
	}
	if mode == MutualStrict {
		l.FilterChains, l.DefaultFilterChain = chains, nil
		return
	}
	l.FilterChains = append(l.FilterChains, chains...)
}
