package resource

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ondemandv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/on_demand/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// A sidecar whose bootstrap has no cds_config holds only the clusters that its
// application calls: it asks for one when the first request for it arrives. It
// does so on a stream of its own, as Polaris has it.

// onDemandSource asks for clusters by name.
func onDemandSource() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: &corev3.ApiConfigSource{
			ApiType:             corev3.ApiConfigSource_DELTA_GRPC,
			TransportApiVersion: corev3.ApiVersion_V3,
			GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: "polaris_xds_server"},
			}}},
		}},
	}
}

// onDemandFilter makes a request wait for its cluster. The default of 5 s ends
// the wait.
func onDemandFilter() *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: "envoy.filters.http.on_demand",
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: mustAny(&ondemandv3.OnDemand{
			Odcds: &ondemandv3.OnDemandCds{Source: onDemandSource()},
		})},
	}
}

// onDemandTCP makes a connection wait for its cluster.
func onDemandTCP() *tcpv3.TcpProxy_OnDemand {
	return &tcpv3.TcpProxy_OnDemand{OdcdsConfig: onDemandSource()}
}
