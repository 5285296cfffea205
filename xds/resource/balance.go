package resource

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	clientsidev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3"
	leastv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/least_request/v3"
	roundv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/round_robin/v3"
	localityv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/wrr_locality/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"polestar/naming"
)

// balanceEnvoy says how an Envoy chooses among the endpoints.
func balanceEnvoy(c *clusterv3.Cluster, set *naming.Settings) {
	slow := slowStart(set)
	switch set.LBPolicy {
	case naming.RoundRobin:
		c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
		if slow != nil {
			c.LbConfig = &clusterv3.Cluster_RoundRobinLbConfig_{RoundRobinLbConfig: &clusterv3.Cluster_RoundRobinLbConfig{SlowStartConfig: slow}}
		}
	case naming.LeastRequest:
		c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
		if slow != nil {
			c.LbConfig = &clusterv3.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &clusterv3.Cluster_LeastRequestLbConfig{SlowStartConfig: slow}}
		}
	case naming.RingHash:
		c.LbPolicy = clusterv3.Cluster_RING_HASH
	case naming.Maglev:
		c.LbPolicy = clusterv3.Cluster_MAGLEV
	case naming.Random:
		c.LbPolicy = clusterv3.Cluster_RANDOM
	case naming.WeightedRoundRobin:
		c.LoadBalancingPolicy = policies(clientSide, roundRobin)
	}
	c.LbSubsetConfig = subsets(set)
	c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{
		// Polaris: unhealthy instances get traffic only when all are unhealthy.
		// Envoy rounds to whole percents, so 1 % is the nearest to "none left".
		HealthyPanicThreshold: &typev3.Percent{Value: float64(set.PanicThreshold)},
		// A change of weight or health must not wait for others to join it.
		UpdateMergeWindow: durationpb.New(0),
	}
	switch set.LocalityLB {
	case naming.LocalityOff:
	case naming.LocalityWeighted:
		c.CommonLbConfig.LocalityConfigSpecifier = &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{
			LocalityWeightedLbConfig: &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig{},
		}
	case naming.LocalityZoneAware:
		c.CommonLbConfig.LocalityConfigSpecifier = &clusterv3.Cluster_CommonLbConfig_ZoneAwareLbConfig_{
			ZoneAwareLbConfig: &clusterv3.Cluster_CommonLbConfig_ZoneAwareLbConfig{},
		}
	}
}

func slowStart(set *naming.Settings) *clusterv3.Cluster_SlowStartConfig {
	if set.SlowStart == 0 {
		return nil
	}
	return &clusterv3.Cluster_SlowStartConfig{SlowStartWindow: durationpb.New(set.SlowStart)}
}

// subsets lets routes choose endpoints by their metadata. A request that asks
// for no subset may go to any endpoint.
func subsets(set *naming.Settings) *clusterv3.Cluster_LbSubsetConfig {
	if set.SubsetKeys == nil {
		return nil
	}
	fallback := clusterv3.Cluster_LbSubsetConfig_LbSubsetSelector_ANY_ENDPOINT
	if set.SubsetFallback == naming.SubsetNone {
		fallback = clusterv3.Cluster_LbSubsetConfig_LbSubsetSelector_NO_FALLBACK
	}
	out := &clusterv3.Cluster_LbSubsetConfig{
		FallbackPolicy:      clusterv3.Cluster_LbSubsetConfig_ANY_ENDPOINT,
		LocalityWeightAware: set.LocalityLB == naming.LocalityWeighted,
	}
	for _, keys := range set.SubsetKeys {
		out.SubsetSelectors = append(out.SubsetSelectors, &clusterv3.Cluster_LbSubsetConfig_LbSubsetSelector{Keys: keys, FallbackPolicy: fallback})
	}
	return out
}

// balanceGRPC says how gRPC chooses. What not every language knows goes into
// load_balancing_policy, where the first policy that a client knows wins, and
// round_robin is the last; older clients look at lb_policy only, and refuse
// anything there but ROUND_ROBIN and RING_HASH.
func balanceGRPC(c *clusterv3.Cluster, set *naming.Settings) {
	switch set.LBPolicy {
	case naming.RoundRobin, naming.Random:
		c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
	case naming.LeastRequest:
		c.LoadBalancingPolicy = policies(perLocality(leastRequest, roundRobin))
	case naming.WeightedRoundRobin:
		c.LoadBalancingPolicy = policies(perLocality(clientSide, roundRobin))
	case naming.RingHash, naming.Maglev:
		c.LbPolicy = clusterv3.Cluster_RING_HASH
	}
}

// The load balancing policies that are sent as extensions.
var (
	roundRobin   = policy("round_robin", &roundv3.RoundRobin{})
	leastRequest = policy("least_request", &leastv3.LeastRequest{})
	clientSide   = policy("client_side_weighted_round_robin", &clientsidev3.ClientSideWeightedRoundRobin{})
)

// perLocality chooses a locality by its weight, then within it (gRFC A52).
func perLocality(within ...*clusterv3.LoadBalancingPolicy_Policy) *clusterv3.LoadBalancingPolicy_Policy {
	return policy("wrr_locality", &localityv3.WrrLocality{EndpointPickingPolicy: policies(within...)})
}

func policies(all ...*clusterv3.LoadBalancingPolicy_Policy) *clusterv3.LoadBalancingPolicy {
	return &clusterv3.LoadBalancingPolicy{Policies: all}
}

func policy(name string, config proto.Message) *clusterv3.LoadBalancingPolicy_Policy {
	return &clusterv3.LoadBalancingPolicy_Policy{TypedExtensionConfig: &corev3.TypedExtensionConfig{
		Name: "envoy.load_balancing_policies." + name, TypedConfig: mustAny(config),
	}}
}
