package resource

import (
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
)

// strictCluster holds a cluster to what every gRPC language accepts, or to what
// Envoy does; messages within it are validated, which ValidateAll does not.
func strictCluster(t tester, c *clusterv3.Cluster, client Client) {
	for _, p := range c.GetLoadBalancingPolicy().GetPolicies() {
		inner(t, p.GetTypedExtensionConfig().GetTypedConfig())
	}
	if p := c.GetLoadBalancingPolicy().GetPolicies(); len(p) > 0 && c.GetLbPolicy() != clusterv3.Cluster_ROUND_ROBIN {
		t.Fatalf("%v", c)
	}
	if s := c.GetTransportSocket(); s != nil {
		common := inner(t, s.GetTypedConfig()).(*tlsv3.UpstreamTlsContext).GetCommonTlsContext()
		v := common.GetValidationContext()
		files := v.GetTrustedCa() != nil || len(common.GetTlsCertificates()) > 0 || len(v.GetMatchTypedSubjectAltNames()) > 0
		providers := v.GetCaCertificateProviderInstance() != nil
		if s.GetName() != "envoy.transport_sockets.tls" || files == (client == GRPC) || providers == (client == Envoy) {
			t.Fatalf("transport socket %v", s)
		}
		if common.GetTlsParams() != nil || common.GetCustomHandshaker() != nil || c.GetTransportSocketMatches() != nil {
			t.Fatalf("transport socket %v", s)
		}
	}
	if o := c.GetOutlierDetection(); o != nil {
		for _, percent := range []uint32{
			o.GetMaxEjectionPercent().GetValue(), o.GetEnforcingSuccessRate().GetValue(), o.GetEnforcingFailurePercentage().GetValue(),
			o.GetFailurePercentageThreshold().GetValue(),
		} {
			if percent > 100 {
				t.Fatalf("outlier detection %v", o)
			}
		}
		if o.GetEnforcingSuccessRate() == nil || o.GetEnforcingFailurePercentage() == nil || o.GetEnforcingConsecutive_5Xx() == nil {
			t.Fatalf("clients have defaults of their own: %v", o)
		}
	}
	if client == Envoy {
		return
	}
	if p := c.GetLbPolicy(); p != clusterv3.Cluster_ROUND_ROBIN && p != clusterv3.Cluster_RING_HASH || c.GetLbSubsetConfig() != nil ||
		c.GetType() != clusterv3.Cluster_EDS && c.GetType() != clusterv3.Cluster_LOGICAL_DNS {
		t.Fatalf("%v", c)
	}
	if o := c.GetOutlierDetection(); o != nil && o.GetEnforcingSuccessRate().GetValue()+o.GetEnforcingFailurePercentage().GetValue() == 0 {
		t.Fatalf("detects nothing: %v", o)
	}
}

// strictListener holds a gRPC listener to what every language accepts.
func strictListener(t tester, l *listenerv3.Listener) {
	m := inner(t, l.GetApiListener().GetApiListener()).(*hcmv3.HttpConnectionManager)
	filters := m.GetHttpFilters()
	if len(filters) == 0 || filters[len(filters)-1].GetName() != "envoy.filters.http.router" {
		t.Fatalf("the last filter is not terminal: %v", m)
	}
	for _, v := range m.GetRouteConfig().GetVirtualHosts() {
		for _, r := range v.GetRoutes() {
			strictRoute(t, r, GRPC)
		}
	}
}

func strictRoute(t tester, r *routev3.Route, client Client) {
	if r.GetMatch().GetPathSpecifier() == nil || r.GetRoute().GetClusterSpecifier() == nil {
		t.Fatalf("%v", r)
	}
	p := r.GetRoute().GetRetryPolicy()
	if p == nil {
		return
	}
	for _, h := range p.GetRetryHostPredicate() {
		inner(t, h.GetTypedConfig())
	}
	known := slices.ContainsFunc(strings.Split(p.GetRetryOn(), ","), func(c string) bool { return slices.Contains(retryableGRPC, c) })
	if p.GetNumRetries().GetValue() == 0 || p.GetRetryOn() == "" || client == GRPC && !known {
		t.Fatalf("retry policy %v", p)
	}
}

// packed is an Any.
type packed interface{ UnmarshalNew() (proto.Message, error) }

// inner unpacks and validates a nested message.
func inner(t tester, a packed) proto.Message {
	m, err := a.UnmarshalNew()
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := m.(message).ValidateAll(); err != nil {
		t.Fatalf("%v in %v", err, m)
	}
	return m
}
