package resource

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// usable is an instance that goes into EDS, with its parsed address.
type usable struct {
	*naming.Instance
	addr   netip.AddrPort
	weight uint32
}

// endpoints is the load assignment of a service; it exists for every service,
// also for one without instances.
func endpoints(st *naming.ServiceState, client Client) (*endpointv3.ClusterLoadAssignment, []Problem) {
	all, problems := selectUsable(st)
	scale(all)
	groups := map[naming.Location][]usable{}
	for _, u := range all {
		groups[u.Location] = append(groups[u.Location], u)
	}
	if client == GRPC {
		groups = byWeight(groups)
	}
	cla := &endpointv3.ClusterLoadAssignment{ClusterName: st.Service.Key.String()}
	for _, l := range sortedLocations(groups) {
		cla.Endpoints = append(cla.Endpoints, localityEndpoints(l, groups[l]))
	}
	return cla, problems
}

// selectUsable leaves out what gets no traffic (isolated, weight 0), and what
// clients would refuse a whole service for: names instead of addresses, and
// the same address twice.
func selectUsable(st *naming.ServiceState) ([]usable, []Problem) {
	var problems []Problem
	problem := func(i *naming.Instance, reason string) {
		problems = append(problems, Problem{Service: st.Service.Key.String(), Instance: i.ID, Reason: reason})
	}
	out := make([]usable, 0, len(st.Instances))
	at := make(map[netip.AddrPort]int, len(st.Instances))
	for _, i := range st.Instances {
		if i.Isolated || i.Weight == 0 {
			continue
		}
		ip, err := netip.ParseAddr(i.Host)
		if err != nil || ip.Zone() != "" || i.Port == 0 || i.Port > math.MaxUint16 {
			problem(i, "host "+strconv.Quote(i.Host)+" is no IP address, and EDS takes nothing else")
			continue
		}
		u := usable{Instance: i, addr: netip.AddrPortFrom(ip.Unmap(), uint16(i.Port)), weight: i.Weight}
		n, twice := at[u.addr]
		switch {
		case !twice:
			at[u.addr] = len(out)
			out = append(out, u)
		case !out[n].Healthy && i.Healthy: // ids ascend, so among equals the first stays
			problem(out[n].Instance, "instance "+i.ID+" has the same address "+u.addr.String())
			out[n] = u
		default:
			problem(i, "instance "+out[n].ID+" has the same address "+u.addr.String())
		}
	}
	return out, problems
}

// scale shrinks weights in proportion when their sum would not fit into the
// 32 bits that clients allow.
func scale(all []usable) {
	var sum uint64
	for _, u := range all {
		sum += uint64(u.weight)
	}
	if sum <= math.MaxUint32 {
		return
	}
	divisor := uint32(sum/(math.MaxUint32/2)) + 1
	for n := range all {
		all[n].weight = max(1, all[n].weight/divisor)
	}
}

// byWeight splits each locality into one pseudo-locality per weight: gRPC's
// round_robin ignores the weights of endpoints and follows those of
// localities. The weight that most endpoints have keeps the plain name, so that
// changing one endpoint moves only that one.
func byWeight(groups map[naming.Location][]usable) map[naming.Location][]usable {
	out := make(map[naming.Location][]usable, len(groups))
	for _, l := range sortedLocations(groups) {
		classes := map[uint32][]usable{}
		for _, u := range groups[l] {
			classes[u.weight] = append(classes[u.weight], u)
		}
		var main uint32
		for w, us := range classes {
			if n := len(classes[main]); len(us) > n || len(us) == n && w > main {
				main = w
			}
		}
		for w, us := range classes {
			name := l
			if w != main {
				name.Campus += "~w" + strconv.FormatUint(uint64(w), 10)
				for groups[name] != nil { // a campus may be called so itself
					name.Campus += "~"
				}
			}
			out[name] = us
		}
	}
	return out
}

func sortedLocations(groups map[naming.Location][]usable) []naming.Location {
	out := make([]naming.Location, 0, len(groups))
	for l := range groups {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b naming.Location) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Campus, b.Campus))
	})
	return out
}

// localityEndpoints always sets locality and weight: gRPC refuses the first
// missing, and ignores the locality with the second missing.
func localityEndpoints(l naming.Location, us []usable) *endpointv3.LocalityLbEndpoints {
	out := &endpointv3.LocalityLbEndpoints{
		Locality:    &corev3.Locality{Region: l.Region, Zone: l.Zone, SubZone: l.Campus},
		LbEndpoints: make([]*endpointv3.LbEndpoint, len(us)),
	}
	slices.SortFunc(us, func(a, b usable) int { return cmp.Compare(a.ID, b.ID) })
	var sum uint32
	for n, u := range us {
		sum += u.weight
		out.LbEndpoints[n] = lbEndpoint(u)
	}
	out.LoadBalancingWeight = wrapperspb.UInt32(sum)
	return out
}

func lbEndpoint(u usable) *endpointv3.LbEndpoint {
	status := corev3.HealthStatus_HEALTHY
	if !u.Healthy {
		status = corev3.HealthStatus_UNHEALTHY
	}
	return &endpointv3.LbEndpoint{
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: address(u.addr.Addr().String(), uint32(u.addr.Port())),
		}},
		HealthStatus:        status,
		Metadata:            subsets(u.Instance),
		LoadBalancingWeight: wrapperspb.UInt32(u.weight),
	}
}

func address(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

// subsets is an instance's metadata where load balancers look for it. The id
// is the key for consistent hashing (gRFC A76) unless the instance has its own.
func subsets(i *naming.Instance) *corev3.Metadata {
	fields := make(map[string]*structpb.Value, len(i.Metadata)+3)
	fields["hash_key"] = structpb.NewStringValue(i.ID)
	for _, p := range [...]naming.Pair{{Key: "version", Value: i.Version}, {Key: "protocol", Value: i.Protocol}} {
		if p.Value != "" {
			fields[p.Key] = structpb.NewStringValue(p.Value)
		}
	}
	for _, p := range i.Metadata {
		fields[p.Key] = structpb.NewStringValue(p.Value)
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.lb": {Fields: fields}}}
}
