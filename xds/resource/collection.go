package resource

import (
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// An Envoy that asks for it is told the endpoints of a big service one by one
// (LEDS). The load assignment then names, for each locality, a collection of
// endpoints, and a change of one endpoint is sent as that endpoint.
//
// The collections of a service are one [Resource] of type LbEndpoint with the
// name of its load assignment: its [Resource.Members] are the endpoints, sorted
// by name, so that those of a locality stand together. [CollectionOf] leads
// from what a client subscribes to, which ends in a star, to the members.

// DefaultCollected is the number of endpoints from which they are told one by
// one to an Envoy that asks for it and names no number.
const DefaultCollected = 500

// collectionPrefix begins the name of every collection and of every member
// (xRFC TP1).
const collectionPrefix = "xdstp://polestar/envoy.config.endpoint.v3.LbEndpoint/"

// maxMemberName is the longest name of an endpoint, in bytes, that is served;
// a service with a longer one is not collected.
const maxMemberName = 1024

// collectionName is what a client subscribes to in order to get the endpoints
// of a service in one location.
func collectionName(key naming.ServiceKey, l naming.Location) string {
	return collectionPrefix + segment(key.Namespace) + "/" + segment(key.Name) + "/" +
		segment(l.Region) + "," + segment(l.Zone) + "," + segment(l.Campus) + "/*"
}

// CollectionOf reads the name of a collection: the load assignment of its
// service, and what the names of its members begin with. It is not ok for
// anything else.
func CollectionOf(name string) (assignment, prefix string, ok bool) {
	rest, ok := strings.CutPrefix(name, collectionPrefix)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 4 || parts[3] != "*" {
		return "", "", false
	}
	namespace, fine := plainSegment(parts[0])
	service, fineToo := plainSegment(parts[1])
	if !fine || !fineToo || namespace == "" || service == "" {
		return "", "", false
	}
	return ClusterName(naming.ServiceKey{Namespace: namespace, Name: service}), name[:len(name)-1], true
}

// segment writes a text as a part of a path. Envoy undoes percent signs before
// it cuts a name at its slashes, and writes others for some characters, a tilde
// among them; so neither can be used.
func segment(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		default:
			b.Write([]byte{'=', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// plainSegment is the inverse of [segment]; false for what it never makes.
func plainSegment(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, low := strings.IndexByte("0123456789ABCDEF", s[i+1]), strings.IndexByte("0123456789ABCDEF", s[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	return b.String(), segment(b.String()) == s
}

// collects reports whether the endpoints of a load assignment are told one by
// one. A service that hovers at the threshold keeps the form that it has: it
// goes back to a list only below three quarters of it.
func collects(key naming.ServiceKey, a arrangement, threshold uint32, before *Resource) bool {
	if threshold == 0 {
		return false
	}
	n := 0
	for _, l := range a.localities {
		n += len(l.endpoints)
	}
	least := int(threshold)
	if before != nil && before.collected {
		least -= least / 4
	}
	return n >= max(1, least) && !slices.ContainsFunc(a.localities, func(l locality) bool {
		prefix := len(collectionName(key, l.Location))
		return slices.ContainsFunc(l.endpoints, func(e endpoint) bool { return prefix+3*len(e.ID) > maxMemberName })
	})
}

// collectedAssignment names a collection for each locality. Weights of
// localities are left out where nobody reads them: so the assignment stays as
// it is when an endpoint comes, goes or changes its weight.
func collectedAssignment(name string, key naming.ServiceKey, a arrangement, weighted bool) *endpointv3.ClusterLoadAssignment {
	out := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	for _, l := range a.localities {
		group := &endpointv3.LocalityLbEndpoints{
			Locality: &corev3.Locality{Region: l.Region, Zone: l.Zone, SubZone: l.Campus},
			Priority: l.priority,
			LbConfig: &endpointv3.LocalityLbEndpoints_LedsClusterLocalityConfig{
				LedsClusterLocalityConfig: &endpointv3.LedsClusterLocalityConfig{
					LedsConfig: overADSForEver(), LedsCollectionName: collectionName(key, l.Location),
				},
			},
		}
		if weighted {
			group.LoadBalancingWeight = wrapperspb.UInt32(l.weight)
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

// overADSForEver is the source of a collection. After a timeout an Envoy would
// take it for empty, and put a cluster without endpoints in the place of one
// that has them. Every name is answered.
func overADSForEver() *corev3.ConfigSource {
	c := overADS()
	c.InitialFetchTimeout = durationpb.New(time.Duration(0))
	return c
}

// origin is what a member was made of.
type origin struct {
	instance *naming.Instance
	weight   uint32
	health   health
}

// collection makes the endpoints of a service one by one. Those that did not
// change since before are taken from there.
func collection(st *naming.ServiceState, f Form, before *Resource) (*Resource, []Problem, error) {
	all, problems := servedEndpoints(st, f.Variant.Scope)
	scale(all)
	var known map[*naming.Instance]*Resource
	if before != nil {
		known = make(map[*naming.Instance]*Resource, len(before.Members))
		for _, m := range before.Members {
			known[m.origin.instance] = m
		}
	}
	w := writer{client: f.Variant.Client}
	out := &Resource{Name: f.Name, Revision: st.Revision, Members: make([]*Resource, 0, len(all))}
	prefixes := map[naming.Location]string{}
	for n := range all {
		e := &all[n]
		if m := known[e.Instance]; m != nil && *m.origin == (origin{e.Instance, e.weight, e.health}) && len(e.more) == 0 {
			out.Members = append(out.Members, m)
			continue
		}
		prefix, ok := prefixes[e.Location]
		if !ok {
			prefix = strings.TrimSuffix(collectionName(st.Service.Key, e.Location), "*")
			prefixes[e.Location] = prefix
		}
		size := w.measure(e)
		m, err := encode(Form{Type: LbEndpoint, Name: prefix + segment(e.ID)},
			content{size, func(b []byte) []byte { return w.endpoint(b, e) }}, e.Revision)
		if err != nil {
			return nil, problems, err
		}
		m.origin = &origin{e.Instance, e.weight, e.health}
		out.Members = append(out.Members, m)
	}
	byName := func(a, b *Resource) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(out.Members, byName) { // ids ascend, so it is with one location
		slices.SortFunc(out.Members, byName)
	}
	sum := xxhash.New()
	for _, m := range out.Members {
		_, _ = sum.WriteString(m.Name)
		_, _ = sum.WriteString(m.Version)
	}
	out.Version = versionOf(sum.Sum64())
	return out, problems, nil
}
