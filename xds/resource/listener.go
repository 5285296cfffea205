package resource

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"polestar/naming"
)

// routerFilter ends every HTTP filter chain.
func routerFilter() []*hcmv3.HttpFilter {
	return []*hcmv3.HttpFilter{{
		Name:       "envoy.filters.http.router",
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: mustAny(&routerv3.Router{})},
	}}
}

// egressListener takes a process's outgoing requests and routes them by host.
func egressListener(s Scope) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:         EgressListener,
		Address:      address(s.EgressAddress, s.EgressPort),
		FilterChains: []*listenerv3.FilterChain{{Filters: httpFilters(httpManager(EgressListener, EgressRoutes))}},
	}
}

// httpManager handles HTTP of any version as a named route table says.
func httpManager(stats, routes string) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix: stats,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			ConfigSource: overADS(), RouteConfigName: routes,
		}},
		HttpFilters:       routerFilter(),
		UpgradeConfigs:    []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		StreamIdleTimeout: durationpb.New(0), // long quiet streams are the applications' business
	}
}

// httpFilters is a filter chain that ends in an HTTP manager.
func httpFilters(m *hcmv3.HttpConnectionManager) []*listenerv3.Filter {
	return []*listenerv3.Filter{{
		Name:       "envoy.filters.network.http_connection_manager",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: mustAny(m)},
	}}
}

// apiListener is what a gRPC channel to a service subscribes to. The routes
// stand in it: one resource less that can be out of step (gRFC A71).
func apiListener(name string, s *naming.Service, set *naming.Settings) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name: name,
		ApiListener: &listenerv3.ApiListener{ApiListener: mustAny(&hcmv3.HttpConnectionManager{
			StatPrefix: "grpc",
			RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
				Name: name,
				VirtualHosts: []*routev3.VirtualHost{{
					Name: ClusterName(s.Key), Domains: []string{"*"}, Routes: []*routev3.Route{routeTo(ClusterName(s.Key), set, GRPC)},
				}},
			}},
			HttpFilters: routerFilter(),
		})},
	}
}

func address(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}
