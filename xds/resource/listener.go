package resource

import (
	"time"

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
		Name:    EgressListener,
		Address: address(s.EgressAddress, s.EgressPort),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: mustAny(&hcmv3.HttpConnectionManager{
				StatPrefix: EgressListener,
				RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
					ConfigSource: overADS(), RouteConfigName: EgressRoutes,
				}},
				HttpFilters:       routerFilter(),
				UpgradeConfigs:    []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
				StreamIdleTimeout: durationpb.New(0), // long quiet streams are the applications' business
			})},
		}}}},
	}
}

// apiListener is what a gRPC channel to a service subscribes to. The routes
// stand in it: one resource less that can be out of step (gRFC A71).
func apiListener(name string, s *naming.Service) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name: name,
		ApiListener: &listenerv3.ApiListener{ApiListener: mustAny(&hcmv3.HttpConnectionManager{
			StatPrefix: "grpc",
			RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
				Name: name,
				VirtualHosts: []*routev3.VirtualHost{{
					Name: ClusterName(s.Key), Domains: []string{"*"}, Routes: []*routev3.Route{routeTo(s, nil)},
				}},
			}},
			HttpFilters: routerFilter(),
		})},
	}
}

// noTimeout keeps Envoy from ending streams after its default of 15 s, and
// honours a gRPC deadline.
func noTimeout(a *routev3.RouteAction) {
	a.Timeout = durationpb.New(time.Duration(0))
	a.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{GrpcTimeoutHeaderMax: durationpb.New(0)}
}

func address(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func routeTo(s *naming.Service, set func(*routev3.RouteAction)) *routev3.Route {
	action := &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: ClusterName(s.Key)}}
	if set != nil {
		set(action)
	}
	return &routev3.Route{
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_Route{Route: action},
	}
}
