package resource

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// reference makes an assignment from objects, as the hand-written encoder must
// write it.
func reference(name string, a arrangement, client Client) *endpointv3.ClusterLoadAssignment {
	out := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	for _, l := range a.localities {
		group := &endpointv3.LocalityLbEndpoints{
			Locality:            &corev3.Locality{Region: l.Region, Zone: l.Zone, SubZone: l.Campus},
			LoadBalancingWeight: wrapperspb.UInt32(l.weight),
			Priority:            l.priority,
		}
		for _, e := range l.endpoints {
			status := map[health]corev3.HealthStatus{
				healthy: corev3.HealthStatus_HEALTHY, unhealthy: corev3.HealthStatus_UNHEALTHY, draining: corev3.HealthStatus_DRAINING,
			}[e.health]
			to := &endpointv3.Endpoint{Address: address(e.address, uint32(e.port))}
			for _, more := range e.more {
				to.AdditionalAddresses = append(to.AdditionalAddresses, &endpointv3.Endpoint_AdditionalAddress{
					Address: address(more.Addr().String(), uint32(more.Port())),
				})
			}
			metadata := map[string]*structpb.Struct{"envoy.lb": {Fields: referenceSubset(e.Instance, client)}}
			if mode := e.Metadata.Map()["polarismesh.cn/tls-mode"]; client == Envoy && (mode == "strict" || mode == "permissive") {
				metadata["envoy.transport_socket_match"] = &structpb.Struct{Fields: map[string]*structpb.Value{
					"acceptMTLS": structpb.NewStringValue("true"),
				}}
			}
			group.LbEndpoints = append(group.LbEndpoints, &endpointv3.LbEndpoint{
				HostIdentifier:      &endpointv3.LbEndpoint_Endpoint{Endpoint: to},
				HealthStatus:        status,
				LoadBalancingWeight: wrapperspb.UInt32(e.weight),
				Metadata:            &corev3.Metadata{FilterMetadata: metadata},
			})
		}
		out.Endpoints = append(out.Endpoints, group)
	}
	if a.overprovision > 0 {
		out.Policy = &endpointv3.ClusterLoadAssignment_Policy{
			OverprovisioningFactor: wrapperspb.UInt32(a.overprovision), WeightedPriorityHealth: true,
		}
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
func strict(t tester, cla *endpointv3.ClusterLoadAssignment, set *naming.Settings, client Client) {
	localities, addresses := map[string]bool{}, map[string]bool{}
	whole := map[uint32]uint64{} // by priority
	spread := map[uint32]bool{}  // priorities in which nearer and farther levels share the load
	var order []string
	for _, l := range cla.GetEndpoints() {
		place, priority := l.GetLocality(), l.GetPriority()
		key := fmt.Sprintf("%d\x00%s\x00%s\x00%s", priority, place.GetRegion(), place.GetZone(), place.GetSubZone())
		if place == nil || localities[key] || l.GetLoadBalancingWeight().GetValue() == 0 || len(l.GetLbEndpoints()) == 0 {
			t.Fatalf("locality %v", l)
		}
		localities[key] = true
		order = append(order, key)
		whole[priority] += uint64(l.GetLoadBalancingWeight().GetValue())
		if sum := strictEndpoints(t, l, addresses, set, client); sum != uint64(l.GetLoadBalancingWeight().GetValue()) {
			spread[priority] = true
		}
	}
	for p, sum := range whole {
		if sum > 1<<32-1 {
			t.Fatalf("the weights of priority %d sum up to %d, above 32 bits", p, sum)
		}
		if p > 0 && whole[p-1] == 0 {
			t.Fatalf("priority %d without %d", p, p-1)
		}
		if spread[p] && !set.LBPolicy.Hashes() && (client == Envoy || p > 0 || set.Nearby == naming.NearAny) {
			t.Fatalf("the weight of a locality is not that of its endpoints: %v", cla)
		}
	}
	if !slices.IsSorted(order) {
		t.Fatalf("localities are not sorted: %q", order)
	}
}

// strictEndpoints returns what the weight of the locality should be.
func strictEndpoints(t tester, l *endpointv3.LocalityLbEndpoints, addresses map[string]bool, set *naming.Settings, client Client) uint64 {
	weights, sum, healthy := map[uint32]bool{}, uint64(0), uint64(0)
	for _, e := range l.GetLbEndpoints() {
		all := []*corev3.Address{e.GetEndpoint().GetAddress()}
		for _, more := range e.GetEndpoint().GetAdditionalAddresses() {
			all = append(all, more.GetAddress())
		}
		for _, a := range all {
			at := fmt.Sprint(a.GetSocketAddress().GetAddress(), " ", a.GetSocketAddress().GetPortValue())
			ip, err := netip.ParseAddr(a.GetSocketAddress().GetAddress())
			if addresses[at] || err != nil || ip.Zone() != "" || a.GetSocketAddress().GetPortValue() == 0 {
				t.Fatalf("endpoint %v", e)
			}
			addresses[at] = true
		}
		w := e.GetLoadBalancingWeight().GetValue()
		if w == 0 || e.GetHealthStatus() == corev3.HealthStatus_DRAINING && client == GRPC {
			t.Fatalf("endpoint %v", e)
		}
		weights[w] = true
		if e.GetHealthStatus() != corev3.HealthStatus_DRAINING {
			sum += uint64(w)
		}
		if e.GetHealthStatus() == corev3.HealthStatus_HEALTHY {
			healthy += uint64(w)
		}
	}
	if client == GRPC && healthy > 0 {
		sum = healthy // gRPC gives it to them alone
	}
	if client == GRPC && len(weights) != 1 && !set.LBPolicy.Hashes() {
		t.Fatalf("gRPC ignores weights within a locality: %v", l)
	}
	return max(1, sum)
}
