package resource

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// reference makes an assignment from objects, as the hand-written encoder must
// write it.
func reference(name string, localities []locality, client Client) *endpointv3.ClusterLoadAssignment {
	out := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	for _, l := range localities {
		group := &endpointv3.LocalityLbEndpoints{
			Locality:            &corev3.Locality{Region: l.Region, Zone: l.Zone, SubZone: l.Campus},
			LoadBalancingWeight: wrapperspb.UInt32(l.weight),
		}
		for _, e := range l.endpoints {
			health := corev3.HealthStatus_HEALTHY
			if !e.Healthy {
				health = corev3.HealthStatus_UNHEALTHY
			}
			group.LbEndpoints = append(group.LbEndpoints, &endpointv3.LbEndpoint{
				HostIdentifier:      &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(e.address, uint32(e.port))}},
				HealthStatus:        health,
				LoadBalancingWeight: wrapperspb.UInt32(e.weight),
				Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
					"envoy.lb": {Fields: referenceSubset(e.Instance, client)},
				}},
			})
		}
		out.Endpoints = append(out.Endpoints, group)
	}
	return out
}

func referenceSubset(i *naming.Instance, client Client) map[string]*structpb.Value {
	all := map[string]string{"hash_key": i.ID}
	if i.Version != "" {
		all["version"] = i.Version
	}
	if i.Protocol != "" {
		all["protocol"] = i.Protocol
	}
	maps.Copy(all, i.Metadata.Map())
	if client == GRPC {
		all = map[string]string{"hash_key": all["hash_key"]}
	}
	out := map[string]*structpb.Value{}
	for k, v := range all {
		out[k] = structpb.NewStringValue(v)
	}
	return out
}

// strict holds an assignment to the rules of the strictest client.
func strict(t tester, cla *endpointv3.ClusterLoadAssignment, client Client) {
	localities, addresses := map[string]bool{}, map[string]bool{}
	var whole uint64
	var order []string
	for _, l := range cla.GetEndpoints() {
		place := l.GetLocality()
		key := fmt.Sprintf("%s\x00%s\x00%s", place.GetRegion(), place.GetZone(), place.GetSubZone())
		if place == nil || localities[key] || l.GetLoadBalancingWeight().GetValue() == 0 || l.GetPriority() != 0 || len(l.GetLbEndpoints()) == 0 {
			t.Fatalf("locality %v", l)
		}
		localities[key] = true
		order = append(order, key)
		whole += uint64(l.GetLoadBalancingWeight().GetValue())
		weights, sum, healthy := map[uint32]bool{}, uint64(0), uint64(0)
		for _, e := range l.GetLbEndpoints() {
			a := e.GetEndpoint().GetAddress().GetSocketAddress()
			at := fmt.Sprint(a.GetAddress(), " ", a.GetPortValue())
			w := e.GetLoadBalancingWeight().GetValue()
			if addresses[at] || w == 0 || a.GetPortValue() == 0 || strings.Contains(a.GetAddress(), "%") {
				t.Fatalf("endpoint %v", e)
			}
			addresses[at], weights[w] = true, true
			sum += uint64(w)
			if e.GetHealthStatus() == corev3.HealthStatus_HEALTHY {
				healthy += uint64(w)
			}
		}
		if client == GRPC && healthy > 0 {
			sum = healthy // gRPC gives it to them alone
		}
		if client == GRPC && len(weights) != 1 {
			t.Fatalf("gRPC ignores weights within a locality: %v", l)
		}
		if sum != uint64(l.GetLoadBalancingWeight().GetValue()) {
			t.Fatalf("the weight of a locality is not that of its endpoints: %v", l)
		}
	}
	if whole > 1<<32-1 {
		t.Fatalf("the weights sum up to %d, above 32 bits", whole)
	}
	if !slices.IsSorted(order) {
		t.Fatalf("localities are not sorted: %q", order)
	}
}
