package resource

import (
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// routeTo sends every request to a cluster, as the settings of its service say.
func routeTo(cluster string, set *naming.Settings, client Client) *routev3.Route {
	action := &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}}
	switch client {
	case Envoy:
		// Without a timeout an Envoy ends streams after 15 s. A gRPC deadline is
		// honoured either way.
		action.Timeout = durationpb.New(set.RequestTimeout)
		action.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{GrpcTimeoutHeaderMax: durationpb.New(0)}
	case GRPC:
		if set.RequestTimeout > 0 {
			action.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: within(set.RequestTimeout)}
		}
	}
	action.RetryPolicy = retryPolicy(set, client)
	if set.LBPolicy.Hashes() {
		action.HashPolicy = []*routev3.RouteAction_HashPolicy{{PolicySpecifier: &routev3.RouteAction_HashPolicy_Header_{
			Header: &routev3.RouteAction_HashPolicy_Header{HeaderName: set.HashHeader},
		}}}
	}
	return &routev3.Route{
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_Route{Route: action},
	}
}

// retryableGRPC are the conditions that gRPC retries on (gRFC A44); it ignores
// others, and a policy without any of these is none.
var retryableGRPC = []string{"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"}

func retryPolicy(set *naming.Settings, client Client) *routev3.RetryPolicy {
	if set.Retries == 0 {
		return nil // gRPC refuses 0 retries
	}
	out := &routev3.RetryPolicy{NumRetries: wrapperspb.UInt32(set.Retries)}
	on := set.RetryOn
	switch client {
	case GRPC:
		on = slices.DeleteFunc(slices.Clone(on), func(c string) bool { return !slices.Contains(retryableGRPC, c) })
		if len(on) == 0 {
			return nil
		}
	case Envoy:
		out.PerTryTimeout = within(set.PerTryTimeout)
		// Another try deserves another endpoint.
		out.RetryHostPredicate = []*routev3.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: previousHosts},
		}}
		out.HostSelectionRetryMaxAttempts = hostAttempts
	}
	out.RetryOn = strings.Join(on, ",")
	return out
}

// hostAttempts is how often an Envoy looks for an endpoint that was not tried
// yet before it takes any.
const hostAttempts = 5

var previousHosts = mustAny(&previousv3.PreviousHostsPredicate{})
