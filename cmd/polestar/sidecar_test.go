package main

import (
	"slices"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"polestar/xds/resource"
)

// askOnce sends a first request for a type, and returns the names in the
// answer, sorted, with the answer.
func askOnce(t *testing.T, w *whole, node *corev3.Node, typ resource.Type, names ...string) ([]string, *discoveryv3.DeltaDiscoveryResponse) {
	t.Helper()
	stream, err := w.xds.DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: typ.URL(), ResourceNamesSubscribe: names})
	if err != nil {
		t.Fatal(err)
	}
	res, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range res.GetResources() {
		got = append(got, r.GetName())
	}
	slices.Sort(got)
	return got, res
}

// TestSidecarsAndGatewaysOfPolaris: what nodes with Polaris' ids are sent, by
// wildcard and by name.
func TestSidecarsAndGatewaysOfPolaris(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.register(t, 1)
	metadata, err := structpb.NewStruct(map[string]any{
		"polarismesh.cn/tls-mode": "none", "sidecar.polarismesh.cn/serviceNamespace": "default", "sidecar.polarismesh.cn/serviceName": "cart",
	})
	if err != nil {
		t.Fatal(err)
	}
	sidecar := &corev3.Node{Id: "sidecar~default/cart-1~10.0.0.1", UserAgentName: "envoy", Metadata: metadata}
	gateway := &corev3.Node{Id: "gateway~default/1~10.0.0.1", UserAgentName: "envoy"}
	shared := []string{"InboundPassthroughCluster", "OUTBOUND|default|cart", "PassthroughCluster"}
	for _, c := range []struct {
		node *corev3.Node
		typ  resource.Type
		ask  []string
		want []string
	}{
		{sidecar, resource.Cluster, nil, append([]string{"INBOUND|default|cart"}, shared...)},
		{gateway, resource.Cluster, nil, shared},
		{envoyNode, resource.Cluster, nil, []string{"default/cart"}},
		{sidecar, resource.Listener, nil, []string{"OUTBOUND_15001", "cart.default_INBOUND_15006"}},
		{gateway, resource.Listener, nil, []string{"OUTBOUND_15001"}},
		{sidecar, resource.Endpoints, []string{"OUTBOUND|default|cart", "INBOUND|default|cart", "INBOUND|default|pay"}, []string{
			"INBOUND|default|cart", "OUTBOUND|default|cart",
		}},
		{sidecar, resource.Route, []string{"polaris-outbound-router", "polaris-inbound-cluster|cart.default"}, []string{
			"polaris-inbound-cluster|cart.default", "polaris-outbound-router",
		}},
	} {
		if got, _ := askOnce(t, w, c.node, c.typ, c.ask...); !slices.Equal(got, c.want) {
			t.Errorf("%s of %s: %q, want %q", c.typ, c.node.GetId(), got, c.want)
		}
	}

	_, plain := askOnce(t, w, envoyNode, resource.Endpoints, "default/cart")
	_, same := askOnce(t, w, sidecar, resource.Endpoints, "default/cart")
	_, named := askOnce(t, w, sidecar, resource.Endpoints, "OUTBOUND|default|cart")
	if plain.GetResources()[0].GetVersion() != same.GetResources()[0].GetVersion() {
		t.Error("a sidecar has other endpoints than another Envoy")
	}
	var cla endpointv3.ClusterLoadAssignment
	if err := named.GetResources()[0].GetResource().UnmarshalTo(&cla); err != nil || cla.GetClusterName() != "OUTBOUND|default|cart" {
		t.Errorf("%v, %v", &cla, err)
	}
	weightIn(t, &cla)

	_, routes := askOnce(t, w, gateway, resource.Route, "polaris-outbound-router-gateway")
	var table routev3.RouteConfiguration
	if err := routes.GetResources()[0].GetResource().UnmarshalTo(&table); err != nil {
		t.Fatal(err)
	}
	hosts := table.GetVirtualHosts()
	if len(hosts) != 1 || !slices.Contains(hosts[0].GetDomains(), "cart.default") || !slices.Contains(hosts[0].GetDomains(), "cart") {
		t.Errorf("the routes of the gateway: %v", &table)
	}
}
