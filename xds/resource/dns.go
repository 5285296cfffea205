package resource

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"

	"polestar/naming"
)

// ByName reports whether clients find a service's instances by DNS. EDS takes
// only addresses, so such a service has its instances in its cluster, which
// changes with them.
//
// The oldest instance decides: a stray one of the other kind, registered later,
// must neither turn a large service's endpoints into names to resolve nor take
// all traffic of a service of names to itself.
func ByName(st *naming.ServiceState) bool {
	var oldest *naming.Instance
	for _, i := range st.Instances {
		if oldest == nil || i.Created < oldest.Created { // ids ascend
			oldest = i
		}
	}
	return oldest != nil && isName(oldest.Host)
}

// ClusterRefs lists the clusters of a service, in all scopes.
func ClusterRefs(key naming.ServiceKey) []Ref {
	return []Ref{{Cluster, ClusterName(key)}, {Cluster, OutboundName(key)}}
}

// isName reports whether a host is a DNS name.
func isName(host string) bool {
	name := strings.TrimSuffix(host, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	return name != "" && len(name) <= 253 && strings.Trim(last, "0123456789") != "" &&
		strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && !strings.Contains(name, "..")
}

// byDNS puts the instances into the cluster of a service of names. Envoy takes
// any number, addresses among them. gRPC takes exactly one; of several it gets
// the first healthy one, and without any it gets endpoints as of other
// services, which are none.
func byDNS(c *clusterv3.Cluster, st *naming.ServiceState, set *naming.Settings, client Client) []Problem {
	var all []endpoint
	problems := []Problem{brokenTLS(st.Service)}
	if !set.TLS.Broken {
		all, problems = selectNames(st)
	}
	if client == GRPC {
		one := slices.IndexFunc(all, func(e endpoint) bool { return e.health == healthy })
		if one < 0 && len(all) > 0 && set.PanicThreshold > 0 {
			one = 0
		}
		for n := range all {
			if n != one && one >= 0 {
				problems = append(problems, problemOf(all[n].Instance, "gRPC takes one name for a service: it gets that of instance "+all[one].ID))
			}
		}
		if one < 0 {
			return problems
		}
		all = all[one : one+1]
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_LOGICAL_DNS}
	} else {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
		c.DnsLookupFamily = clusterv3.Cluster_V4_PREFERRED
		c.RespectDnsTtl = true //nolint:staticcheck // what replaces it is unknown to Envoys before 1.33
	}
	c.EdsClusterConfig = nil
	c.LoadAssignment = inline(c.GetName(), arrange(all, set, Scope{Client: client}), client)
	return problems
}

// inline is an assignment as a message.
func inline(name string, a arrangement, client Client) *endpointv3.ClusterLoadAssignment {
	encoded := assignment(name, a, client)
	out := &endpointv3.ClusterLoadAssignment{}
	if err := proto.Unmarshal(encoded.write(make([]byte, 0, encoded.size)), out); err != nil {
		panic(err) // we wrote it
	}
	return out
}

// selectNames is [selectUsable] for a service of names. Names are compared
// without case; addresses are names, too.
func selectNames(st *naming.ServiceState) ([]endpoint, []Problem) {
	out, _, problems := selectBy(st, func(i *naming.Instance) (place, written, reason string) {
		written = strings.TrimSuffix(i.Host, ".")
		if ip, err := netip.ParseAddr(i.Host); err == nil && ip.Zone() == "" {
			written = writtenAs(ip.Unmap(), i.Host)
		} else if !isName(i.Host) {
			return "", "", "host " + strconv.Quote(i.Host) + " is neither an address nor a name"
		}
		return strings.ToLower(written) + " " + strconv.FormatUint(uint64(i.Port), 10), written, unusable(i)
	})
	for n := range out {
		if _, more := out[n].Metadata.Get(naming.KeyAdditionalAddresses); more {
			problems = append(problems, problemOf(out[n].Instance, "additional addresses mean nothing in a service of names"))
		}
	}
	return out, problems
}
