package resource

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// originalDestination finds out where a connection was going before iptables
// turned it round. One that was not turned round is taken as it is.
func originalDestination() []*listenerv3.ListenerFilter {
	return []*listenerv3.ListenerFilter{{
		Name:       "envoy.filters.listener.original_dst",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: mustAny(&originaldstv3.OriginalDst{})},
	}}
}

// polarisManager handles HTTP, also the version 1.0 that old clients of Polaris'
// sidecars speak.
func polarisManager(stats, routes string, onDemand bool) *hcmv3.HttpConnectionManager {
	m := httpManager(stats, routes)
	m.HttpProtocolOptions = &corev3.Http1ProtocolOptions{AcceptHttp_10: true}
	if onDemand {
		m.HttpFilters = append([]*hcmv3.HttpFilter{onDemandFilter()}, m.HttpFilters...)
	}
	return m
}

// polarisOutbound takes the requests that leave an application, or that arrive
// at a gateway.
func polarisOutbound(s Scope) *listenerv3.Listener {
	routes := outboundRoutes
	if s.Kind == Gateway {
		routes = gatewayRoutes
	}
	return &listenerv3.Listener{
		Name:             outboundListener,
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		Address:          address(s.EgressAddress, s.EgressPort),
		ListenerFilters:  originalDestination(),
		FilterChains:     []*listenerv3.FilterChain{{Filters: httpFilters(polarisManager("OUTBOUND_HTTP", routes, s.OnDemand))}},
	}
}

// polarisInbound takes what arrives at an application: HTTP on its ports by
// route, anything else untouched to where it was going.
func polarisInbound(in inbound, s Scope) *listenerv3.Listener {
	untouched := &tcpv3.TcpProxy{StatPrefix: inboundPassthrough, ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: inboundPassthrough}}
	if s.OnDemand {
		untouched.OnDemand = onDemandTCP()
	}
	out := &listenerv3.Listener{
		Name:             inboundListenerName(in.key),
		TrafficDirection: corev3.TrafficDirection_INBOUND,
		Address:          address(s.IngressAddress, s.IngressPort),
		ListenerFilters:  originalDestination(),
		DefaultFilterChain: &listenerv3.FilterChain{
			Name: "PassthroughFilterChain",
			Filters: []*listenerv3.Filter{{
				Name:       "envoy.filters.network.tcp_proxy",
				ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: mustAny(untouched)},
			}},
		},
	}
	chain := func(port uint32, routes string) {
		out.FilterChains = append(out.FilterChains, &listenerv3.FilterChain{
			FilterChainMatch: &listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(port)},
			Filters:          httpFilters(polarisManager("INBOUND_HTTP", routes, s.OnDemand)),
		})
	}
	direct := len(in.ports) > 0
	for n, port := range in.ports {
		if n == 0 {
			chain(uint32(port), inboundRouteName(in.key, 0))
		} else {
			chain(uint32(port), inboundRouteName(in.key, port))
		}
		direct = direct && uint32(port) != s.IngressPort
	}
	if direct {
		// Who connects to the sidecar itself means the first port.
		chain(s.IngressPort, inboundRouteName(in.key, 0))
	}
	if s.Mutual != MutualOff {
		mutualListener(out, s.Mutual)
	}
	return out
}

// polarisOutboundRoutes routes by host; what is no service of ours goes on to
// where it was going.
func polarisOutboundRoutes(w naming.World, own string, r *Reader) (*routev3.RouteConfiguration, []Problem) {
	out, problems := polarisRoutes(w, outboundRoutes, own, r)
	out.VirtualHosts = append(out.VirtualHosts, &routev3.VirtualHost{
		Name: "allow_any", Domains: []string{"*"}, Routes: []*routev3.Route{routeTo(passthrough, untouched(), Envoy)},
	})
	return out, problems
}

// polarisRoutes is also the table of gateways: what no host leads to gets 404.
func polarisRoutes(w naming.World, name, own string, r *Reader) (*routev3.RouteConfiguration, []Problem) {
	hosts, problems := virtualHosts(w, own, r, OutboundName, []string{".svc", ".svc.cluster", ".svc.cluster.local"})
	return &routev3.RouteConfiguration{Name: name, IgnorePortInHostMatching: true, VirtualHosts: hosts}, problems
}

// polarisInboundRoutes leads everything to one port of the application; nil
// when the name is of none.
func polarisInboundRoutes(in inbound, name string) *routev3.RouteConfiguration {
	port := inboundRoutePort(in.key, name)
	if name == inboundRouteName(in.key, 0) && len(in.ports) > 0 {
		port = in.ports[0]
	}
	if port == 0 {
		return nil
	}
	route := routeTo(InboundName(in.key), untouched(), Envoy) // the callers' settings apply where they call
	route.GetRoute().MetadataMatch = ofPort(port)
	return &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{
		Name: InboundName(in.key), Domains: []string{"*"}, Routes: []*routev3.Route{route},
	}}}
}
