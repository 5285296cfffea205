package main

import (
	"fmt"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/xds/resource"
)

// TestOneOfAThousandEndpointsIsLessThanAKilobyte: what an Envoy is sent that
// asks for endpoints one by one, over delta; and that state of the world is
// served as ever.
func TestOneOfAThousandEndpointsIsLessThanAKilobyte(t *testing.T) {
	w := startWhole(t, t.TempDir())
	put := func(k int, weight uint32) {
		t.Helper()
		res, err := w.polaris.RegisterInstance(t.Context(), &service_manage.Instance{
			Namespace: wrapperspb.String("default"), Service: wrapperspb.String("cart"), Weight: wrapperspb.UInt32(weight),
			Host: wrapperspb.String(fmt.Sprintf("10.1.%d.%d", k/250, k%250)), Port: wrapperspb.UInt32(80),
			Metadata: map[string]string{"env": "prod", "zone": "z1", "team": "checkout", "build": "20260101", "canary": "no"},
		})
		if err != nil || res.GetCode().GetValue() != 200000 {
			t.Fatalf("register: %v, %v", res, err)
		}
	}
	for k := range 1000 {
		put(k, 100)
	}
	metadata, err := structpb.NewStruct(map[string]any{"leds": "true"})
	if err != nil {
		t.Fatal(err)
	}
	node := &corev3.Node{Id: "test", UserAgentName: "envoy", Metadata: metadata}

	stream, err := w.xds.DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *discoveryv3.DeltaDiscoveryRequest) *discoveryv3.DeltaDiscoveryResponse {
		t.Helper()
		if err = stream.Send(r); err != nil {
			t.Fatal(err)
		}
		var res *discoveryv3.DeltaDiscoveryResponse
		if res, err = stream.Recv(); err != nil {
			t.Fatal(err)
		}
		return res
	}
	res := ask(&discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: resource.Endpoints.URL(), ResourceNamesSubscribe: []string{"default/cart"}})
	var cla endpointv3.ClusterLoadAssignment
	if err = res.GetResources()[0].GetResource().UnmarshalTo(&cla); err != nil {
		t.Fatal(err)
	}
	star := cla.GetEndpoints()[0].GetLedsClusterLocalityConfig().GetLedsCollectionName()
	if !strings.HasSuffix(star, "/default/cart/,,/*") || len(cla.GetEndpoints()[0].GetLbEndpoints()) > 0 {
		t.Fatalf("%v", &cla)
	}
	res = ask(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.LbEndpoint.URL(), ResourceNamesSubscribe: []string{star}})
	if len(res.GetResources()) != 1000 {
		t.Fatalf("%d endpoints", len(res.GetResources()))
	}
	whole := proto.Size(res)
	put(7, 300)
	res = ask(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.LbEndpoint.URL(), ResponseNonce: res.GetNonce()})
	var e endpointv3.LbEndpoint
	if err = res.GetResources()[0].GetResource().UnmarshalTo(&e); err != nil {
		t.Fatal(err)
	}
	if n := proto.Size(res); n >= 1000 || len(res.GetResources()) != 1 || e.GetLoadBalancingWeight().GetValue() != 300 {
		t.Errorf("a change is %d bytes of %d: %v", n, whole, res)
	}
	if err = stream.CloseSend(); err != nil {
		t.Fatal(err)
	}

	sotw, err := w.xds.StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err = sotw.Send(&discoveryv3.DiscoveryRequest{Node: node, TypeUrl: resource.Endpoints.URL(), ResourceNames: []string{"default/cart"}}); err != nil {
		t.Fatal(err)
	}
	list, err := sotw.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if err = list.GetResources()[0].UnmarshalTo(&cla); err != nil || len(cla.GetEndpoints()) != 1 || len(cla.GetEndpoints()[0].GetLbEndpoints()) != 1000 {
		t.Errorf("state of the world: %d localities, %v", len(cla.GetEndpoints()), err)
	}
	if err = sotw.CloseSend(); err != nil {
		t.Fatal(err)
	}
}
