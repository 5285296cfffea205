package resource

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"unicode/utf8"

	"polestar/naming"
)

// endpoint is an instance that goes into EDS.
type endpoint struct {
	*naming.Instance // nil: another instance has the same address
	address          string
	port             uint16
	weight           uint32 // after scaling; never 0
	size, fields     int    // of the encoded LbEndpoint, and of its metadata's fields
}

// endpoints is the load assignment of a service; it exists for every service,
// also for one without instances.
func endpoints(st *naming.ServiceState, client Client) (content, []Problem) {
	localities, problems := localitiesOf(st, client)
	return assignment(ClusterName(st.Service.Key), localities, client), problems
}

// localitiesOf groups what a service has to offer, sorted.
func localitiesOf(st *naming.ServiceState, client Client) ([]locality, []Problem) {
	all, problems := selectUsable(st)
	scale(all)
	groups := byLocation(all)
	if client == GRPC {
		groups = byWeight(groups)
	}
	out := make([]locality, 0, len(groups))
	for l, es := range groups {
		out = append(out, locality{Location: l, endpoints: es, weight: weightOf(es, client)})
	}
	slices.SortFunc(out, func(a, b locality) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Campus, b.Campus))
	})
	return out, problems
}

// weightOf is the weight of a locality: the sum of its endpoints'. gRPC shares
// a locality's weight among its healthy endpoints, so for it only those count:
// else a healthy one would inherit the traffic of its sick neighbours.
func weightOf(es []endpoint, client Client) uint32 {
	var all, healthy uint32
	for n := range es {
		all += es[n].weight
		if es[n].Healthy {
			healthy += es[n].weight
		}
	}
	if client == GRPC && healthy > 0 {
		return healthy
	}
	return all
}

// selectUsable leaves out what gets no traffic (isolated, weight 0), and what
// clients would refuse a whole service for: names instead of addresses, and
// the same address twice.
func selectUsable(st *naming.ServiceState) ([]endpoint, []Problem) {
	var problems []Problem
	problem := func(i *naming.Instance, reason string) {
		problems = append(problems, Problem{Service: st.Service.Key.String(), Instance: i.ID, Reason: reason})
	}
	out := make([]endpoint, 0, len(st.Instances))
	at := make(map[netip.AddrPort]int, len(st.Instances))
	for _, i := range st.Instances {
		if i.Isolated || i.Weight == 0 {
			continue
		}
		addr, reason := addressOf(i)
		if reason != "" {
			problem(i, reason)
			continue
		}
		switch n, twice := at[addr]; {
		case twice && (out[n].Healthy || !i.Healthy): // ids ascend, so among equals the first stays
			problem(i, "instance "+out[n].ID+" has the same address "+addr.String())
			continue
		case twice:
			problem(out[n].Instance, "instance "+i.ID+" has the same address "+addr.String()+" and is healthy")
			out[n].Instance = nil // the order of ids must stay
		}
		at[addr] = len(out)
		out = append(out, endpoint{Instance: i, address: written(addr.Addr(), i.Host), port: addr.Port(), weight: i.Weight})
	}
	return slices.DeleteFunc(out, func(e endpoint) bool { return e.Instance == nil }), problems
}

// addressOf parses the address of an instance, or says why clients could not
// take the instance.
func addressOf(i *naming.Instance) (netip.AddrPort, string) {
	ip, err := netip.ParseAddr(i.Host)
	switch {
	case err != nil:
		return netip.AddrPort{}, "host " + strconv.Quote(i.Host) + " is a name, and EDS takes only addresses"
	case ip.Zone() != "":
		return netip.AddrPort{}, "host " + strconv.Quote(i.Host) + " has a zone, which means nothing to other machines"
	case i.Port == 0 || i.Port > math.MaxUint16:
		return netip.AddrPort{}, fmt.Sprintf("port %d is not between 1 and %d", i.Port, math.MaxUint16)
	case !validText(i):
		return netip.AddrPort{}, "a text of it is not valid UTF-8"
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(i.Port)), ""
}

// validText reports whether protobuf takes the instance's texts: one that it
// does not take would make clients refuse the whole message.
func validText(i *naming.Instance) bool {
	for _, s := range [...]string{i.ID, i.Version, i.Protocol, i.Location.Region, i.Location.Zone, i.Location.Campus} {
		if !utf8.ValidString(s) {
			return false
		}
	}
	for _, p := range i.Metadata {
		if !utf8.ValidString(p.Key) || !utf8.ValidString(p.Value) {
			return false
		}
	}
	return true
}

// written is the canonical form of an address; mostly the host has it already.
func written(ip netip.Addr, host string) string {
	var b [64]byte
	if string(ip.AppendTo(b[:0])) == host {
		return host
	}
	return ip.String()
}

// scale shrinks weights in proportion when their sum would not fit into the
// 32 bits that clients allow.
func scale(all []endpoint) {
	var sum uint64
	for n := range all {
		sum += uint64(all[n].weight)
	}
	if sum <= math.MaxUint32 {
		return
	}
	divisor := uint32(sum/(math.MaxUint32/2)) + 1
	for n := range all {
		all[n].weight = max(1, all[n].weight/divisor)
	}
}

// byLocation groups endpoints; each group keeps their order.
func byLocation(all []endpoint) map[naming.Location][]endpoint {
	groups := map[naming.Location][]endpoint{}
	for n := 0; n < len(all); {
		l, from := all[n].Location, n
		for n < len(all) && all[n].Location == l { // neighbours mostly share their location
			n++
		}
		if groups[l] == nil {
			groups[l] = all[from:n:n]
		} else {
			groups[l] = append(groups[l], all[from:n]...)
		}
	}
	return groups
}

// byWeight splits each locality into one pseudo-locality per weight: gRPC's
// round_robin ignores the weights of endpoints and follows those of
// localities. The weight that most endpoints have keeps the plain name, so that
// changing one endpoint moves only that one.
func byWeight(groups map[naming.Location][]endpoint) map[naming.Location][]endpoint {
	out := make(map[naming.Location][]endpoint, len(groups))
	for l, es := range groups {
		if !slices.ContainsFunc(es, func(e endpoint) bool { return e.weight != es[0].weight }) {
			out[l] = es // the usual case
			continue
		}
		classes := map[uint32][]endpoint{}
		for _, e := range es {
			classes[e.weight] = append(classes[e.weight], e)
		}
		var common uint32
		for w, of := range classes {
			if n := len(classes[common]); len(of) > n || len(of) == n && w > common {
				common = w
			}
		}
		for w, of := range classes {
			name := l
			if w != common {
				name.Campus += "~w" + strconv.FormatUint(uint64(w), 10)
				for groups[name] != nil { // a campus may be called so itself
					name.Campus += "~"
				}
			}
			out[name] = of
		}
	}
	return out
}
