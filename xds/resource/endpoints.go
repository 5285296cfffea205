package resource

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"polestar/naming"
)

// health is envoy.config.core.v3.HealthStatus.
type health uint8

// The states that are sent.
const (
	healthy   health = 1
	unhealthy health = 2
	draining  health = 3
)

// endpoint is an instance that goes into EDS.
type endpoint struct {
	*naming.Instance // nil: another instance has the same address
	address          string
	port             uint16
	health           health
	weight           uint32 // after scaling; never 0
	size, fields     int    // of the encoded LbEndpoint, and of its metadata's fields
	mutual           bool   // marked as speaking mutual TLS
	more             []netip.AddrPort
}

// endpoints is the load assignment of a service; it exists for every service,
// also for one without instances. collected: it names collections.
func endpoints(st *naming.ServiceState, f Form, before *Resource) (c content, collected bool, problems []Problem, err error) {
	a, problems := arrangementOf(st, f.Variant.Scope)
	if !collects(st.Service.Key, a, f.Variant.Collected, before) {
		return assignment(f.Name, a, f.Variant.Client), false, problems, nil
	}
	set, _ := naming.StoredSettings(st.Service.Metadata)
	m := collectedAssignment(f.Name, st.Service.Key, a, set.LocalityLB == naming.LocalityWeighted)
	if err = m.ValidateAll(); err != nil {
		return content{}, true, problems, err
	}
	c, err = contentOf(m)
	return c, true, problems, err
}

// arrangementOf is what a service has to offer to the clients of one scope.
func arrangementOf(st *naming.ServiceState, scope Scope) (arrangement, []Problem) {
	all, problems := servedEndpoints(st, scope)
	set, _ := naming.StoredSettings(st.Service.Metadata) // its cluster reports what is wrong
	return arrange(all, &set, scope), problems
}

// servedEndpoints is what a service has to offer, sorted by id.
func servedEndpoints(st *naming.ServiceState, scope Scope) ([]endpoint, []Problem) {
	set, _ := naming.StoredSettings(st.Service.Metadata)
	if set.TLS.Broken {
		return nil, []Problem{brokenTLS(st.Service)}
	}
	all, taken, problems := selectUsable(st)
	if scope.Draining && drains(&set) {
		all = withDraining(all, taken, st.Instances, set.PanicThreshold)
	}
	return all, problems
}

func brokenTLS(s *naming.Service) Problem {
	return Problem{
		Service: s.Key.String(), Reason: "its TLS settings are wrong; no endpoints are served, since they would be called in plain text",
	}
}

// selectUsable leaves out what gets no traffic (isolated, weight 0), and what
// clients would refuse a whole service for: names instead of addresses, and
// the same address twice. The result is sorted by id.
func selectUsable(st *naming.ServiceState) (usable []endpoint, taken map[netip.AddrPort]int, left []Problem) {
	usable, taken, left = selectBy(st, func(i *naming.Instance) (addr netip.AddrPort, written, reason string) {
		if addr, reason = addressOf(i); reason != "" {
			return addr, "", reason
		}
		return addr, writtenAs(addr.Addr(), i.Host), ""
	})
	for n := range usable {
		if _, more := usable[n].Metadata.Get(naming.KeyAdditionalAddresses); more {
			return usable, taken, append(left, additional(usable, taken)...)
		}
	}
	return usable, taken, left
}

// selectBy chooses the instances that get traffic, one for each place: where
// says what that is, how it is written, and why an instance has none.
func selectBy[K comparable](st *naming.ServiceState, where func(*naming.Instance) (place K, written, reason string)) ([]endpoint, map[K]int, []Problem) {
	var problems []Problem
	problem := func(i *naming.Instance, reason string) { problems = append(problems, problemOf(i, reason)) }
	out := make([]endpoint, 0, len(st.Instances))
	at := make(map[K]int, len(st.Instances))
	for _, i := range st.Instances {
		if i.Isolated || i.Weight == 0 {
			continue
		}
		place, written, reason := where(i)
		if reason != "" {
			problem(i, reason)
			continue
		}
		address := func() string { return net.JoinHostPort(written, strconv.FormatUint(uint64(i.Port), 10)) }
		switch n, twice := at[place]; {
		case twice && (out[n].Healthy || !i.Healthy): // ids ascend, so among equals the first stays
			problem(i, "instance "+out[n].ID+" has the same address "+address())
			continue
		case twice:
			problem(out[n].Instance, "instance "+i.ID+" has the same address "+address()+" and is healthy")
			out[n].Instance = nil // the order of ids must stay
		}
		at[place] = len(out)
		out = append(out, endpoint{Instance: i, address: written, port: uint16(i.Port), health: healthOf(i), weight: i.Weight})
	}
	return slices.DeleteFunc(out, func(e endpoint) bool { return e.Instance == nil }), at, problems
}

func problemOf(i *naming.Instance, reason string) Problem {
	return Problem{Service: i.Service.String(), Instance: i.ID, Reason: reason}
}

// drains reports whether isolated instances may go to clients that ask for
// them. They do not where Envoy would count them as ailing instances, and shift
// traffic: with nearness, subsets, and weights of localities.
func drains(set *naming.Settings) bool {
	return set.Nearby == naming.NearAny && set.SubsetKeys == nil && set.LocalityLB == naming.LocalityOff
}

// withDraining adds isolated instances as draining: they get no new traffic,
// and the client sees that they are there. In a panic Envoy would use them, so
// none is added while they could make it panic.
func withDraining(all []endpoint, taken map[netip.AddrPort]int, instances []*naming.Instance, threshold uint32) []endpoint {
	out := slices.Clip(all)
	for _, i := range instances {
		if !i.Isolated || i.Weight == 0 {
			continue
		}
		addr, reason := addressOf(i)
		if _, twice := taken[addr]; twice || reason != "" {
			continue
		}
		taken[addr] = len(out)
		out = append(out, endpoint{Instance: i, address: writtenAs(addr.Addr(), i.Host), port: addr.Port(), health: draining, weight: i.Weight})
	}
	well := 0
	for n := range all {
		if all[n].health == healthy {
			well++
		}
	}
	if len(out) == len(all) || 100*well < int(threshold)*len(out) {
		return all
	}
	slices.SortFunc(out, func(a, b endpoint) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func healthOf(i *naming.Instance) health {
	if i.Healthy {
		return healthy
	}
	return unhealthy
}

// additional adds the further addresses of endpoints. Clients refuse a service
// in which one address occurs twice, whosever it is; an instance's own comes
// first, then the lowest id.
func additional(all []endpoint, taken map[netip.AddrPort]int) (problems []Problem) {
	for n := range all {
		e := &all[n]
		more, err := naming.AdditionalAddresses(e.Instance)
		if err != nil {
			problems = append(problems, problemOf(e.Instance, err.Error()))
			continue
		}
		for _, addr := range more {
			if _, twice := taken[addr]; twice {
				problems = append(problems, problemOf(e.Instance, "the additional address "+addr.String()+" is that of another instance, too"))
				continue
			}
			taken[addr] = n
			e.more = append(e.more, addr)
		}
	}
	return problems
}

// addressOf parses the address of an instance, or says why clients could not
// take the instance.
func addressOf(i *naming.Instance) (netip.AddrPort, string) {
	ip, err := netip.ParseAddr(i.Host)
	switch {
	case err != nil && isName(i.Host):
		return netip.AddrPort{}, "host " + strconv.Quote(i.Host) + " is a name, and EDS takes only addresses"
	case err != nil:
		return netip.AddrPort{}, "host " + strconv.Quote(i.Host) + " is neither an address nor a name"
	case ip.Zone() != "":
		return netip.AddrPort{}, "host " + strconv.Quote(i.Host) + " has a zone, which means nothing to other machines"
	}
	if reason := unusable(i); reason != "" {
		return netip.AddrPort{}, reason
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(i.Port)), ""
}

// unusable says what is wrong with an instance besides its host.
func unusable(i *naming.Instance) string {
	switch {
	case i.Port == 0 || i.Port > math.MaxUint16:
		return fmt.Sprintf("port %d is not between 1 and %d", i.Port, math.MaxUint16)
	case !validText(i):
		return "a text of it is not valid UTF-8"
	default:
		return ""
	}
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

// writtenAs is the canonical form of an address; mostly the host has it already.
func writtenAs(ip netip.Addr, host string) string {
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

// sorted puts localities into the order in which they are sent.
func sorted(all []locality) []locality {
	slices.SortFunc(all, func(a, b locality) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority),
			cmp.Compare(a.Region, b.Region), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Campus, b.Campus))
	})
	return all
}
