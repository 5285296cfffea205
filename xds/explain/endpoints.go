package explain

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"polestar/naming"
	"polestar/xds/resource"
)

// Endpoint is how an instance looks in an assignment.
type Endpoint struct {
	Health   string `json:"health"` // healthy, unhealthy, draining, …: Envoy's words in lower case
	Weight   uint32 `json:"weight"`
	Priority uint32 `json:"priority"`
	Locality string `json:"locality,omitempty"` // region/zone/sub-zone

	hashKey string
}

// endpointsIn reads an assignment, or that in a cluster: its endpoints by
// address.
func endpointsIn(r *resource.Resource) (map[string]Endpoint, error) {
	out := map[string]Endpoint{}
	if r == nil {
		return out, nil
	}
	var packed anypb.Any
	if err := proto.Unmarshal(r.Any, &packed); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name, err)
	}
	m, err := packed.UnmarshalNew()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name, err)
	}
	cla, ok := m.(*endpointv3.ClusterLoadAssignment)
	if c, is := m.(*clusterv3.Cluster); is {
		cla, ok = c.GetLoadAssignment(), true
	}
	if !ok {
		return nil, fmt.Errorf("%s: %s holds no endpoints", r.Name, packed.GetTypeUrl())
	}
	for _, l := range cla.GetEndpoints() {
		locality := ""
		if at := l.GetLocality(); at.GetRegion()+at.GetZone()+at.GetSubZone() != "" {
			locality = at.GetRegion() + "/" + at.GetZone() + "/" + at.GetSubZone()
		}
		for _, e := range l.GetLbEndpoints() {
			at := e.GetEndpoint().GetAddress().GetSocketAddress()
			out[placeKey(at.GetAddress(), at.GetPortValue())] = Endpoint{
				Health: healthWord(e.GetHealthStatus()), Weight: e.GetLoadBalancingWeight().GetValue(), Priority: l.GetPriority(), Locality: locality,
				hashKey: e.GetMetadata().GetFilterMetadata()[subsetFilter].GetFields()[hashKey].GetStringValue(),
			}
		}
	}
	return out, nil
}

func healthWord(h corev3.HealthStatus) string {
	if h == corev3.HealthStatus_UNKNOWN {
		h = corev3.HealthStatus_HEALTHY // xDS: the same
	}
	return strings.ToLower(h.String())
}

// Where an assignment says which instance an endpoint is: of several with one
// address only one is served.
const (
	subsetFilter = "envoy.lb"
	hashKey      = "hash_key"
)

func hashKeyOf(i *naming.Instance) string {
	if own, ok := i.Metadata.Get(hashKey); ok {
		return own
	}
	return i.ID
}

// keyOf is where the assignment would have an instance.
func keyOf(i *naming.Instance) string {
	host := i.Host
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return placeKey(host, i.Port)
}

// placeKey is a host and a port as a key; names have no case, and a dot at the
// end means nothing here.
func placeKey(host string, port uint32) string {
	return strings.ToLower(strings.TrimSuffix(host, ".")) + " " + strconv.FormatUint(uint64(port), 10)
}
