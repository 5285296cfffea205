package resource

import (
	"slices"
	"strings"

	"polestar/naming"
)

// arrangement is what an assignment says.
type arrangement struct {
	localities []locality
	// overprovision is Envoy's overprovisioning factor in percent; 0: its
	// default.
	overprovision uint32
}

// locality is a group of endpoints that goes out as one LocalityLbEndpoints.
type locality struct {
	naming.Location
	endpoints []endpoint // sorted by id
	weight    uint32     // never 0
	priority  uint32
	size      int // of the encoded LocalityLbEndpoints
}

// arrange groups endpoints (sorted by id) into localities and priorities for
// the clients of one scope.
func arrange(all []endpoint, set *naming.Settings, scope Scope) arrangement {
	if len(all) == 0 {
		return arrangement{}
	}
	scale(all)
	levels := [][]endpoint{all}
	nearby := set.Nearby != naming.NearAny && scope.Location.Region != "" // where it is unknown nothing is near
	if nearby {
		levels = byNearness(all, set, scope.Location)
	}
	if scope.Client == GRPC {
		return arrangeGRPC(levels, set)
	}
	var out arrangement
	for n, level := range levels {
		for l, es := range byLocation(level) {
			out.localities = append(out.localities, locality{
				Location: l, endpoints: es, weight: uint32(max(1, weightOf(es, false))), priority: uint32(n),
			})
		}
	}
	if nearby {
		out.overprovision = (100*100 + set.NearbyOverflow - 1) / set.NearbyOverflow
	}
	out.localities = sorted(out.localities)
	return out
}

// byNearness sorts endpoints into levels, nearest first. What is beyond the
// limit is left out, and so are levels that would be empty: gRPC refuses gaps
// between priorities.
func byNearness(all []endpoint, set *naming.Settings, client naming.Location) [][]endpoint {
	var by [naming.NearCampus + 1][]endpoint
	for _, e := range all {
		n := naming.NearnessOf(client, e.Location)
		if n >= set.NearbyLimit {
			n = min(n, set.Nearby)
			by[n] = append(by[n], e)
		}
	}
	var out [][]endpoint
	for _, level := range slices.Backward(by[:]) {
		if len(level) > 0 {
			out = append(out, level)
		}
	}
	return out
}

// arrangeGRPC does for gRPC what Envoy does by itself. All endpoints count as
// healthy when none is: most languages fail at once otherwise. And gRPC uses
// one priority at a time, so what overflows from a level goes to the next one
// within the same priority, by the weights of localities.
func arrangeGRPC(levels [][]endpoint, set *naming.Settings) arrangement {
	if set.PanicThreshold > 0 && !slices.ContainsFunc(levels, anyHealthy) {
		for _, es := range levels {
			for n := range es {
				es[n].health = healthy
			}
		}
	}
	place := (*arrangement).spread
	if set.LBPolicy.Hashes() {
		place = (*arrangement).merge
	}
	var out arrangement
	var used [][]endpoint
	var loads []uint64
	var idle [][]endpoint
	for n, load := range loadsOf(levels, set.NearbyOverflow) {
		if load > 0 {
			used, loads = append(used, levels[n]), append(loads, load)
		} else {
			idle = append(idle, levels[n])
		}
	}
	place(&out, 0, used, loads)
	for n, es := range idle {
		place(&out, uint32(n+1), [][]endpoint{es}, nil)
	}
	out.localities = sorted(out.localities)
	return out
}

// wholeLoad is all traffic.
const wholeLoad = 1_000_000

// loadsOf shares traffic among levels as Envoy does among priorities: a level
// whose healthy share is at least overflow percent takes all that is left, one
// with less takes so much less. Some level has a load.
func loadsOf(levels [][]endpoint, overflow uint32) []uint64 {
	loads := make([]uint64, len(levels))
	left := uint64(wholeLoad)
	for n, es := range levels {
		loads[n] = min(left, weightOf(es, true)*wholeLoad*100/(weightOf(es, false)*uint64(overflow)))
		left -= loads[n]
	}
	if left == wholeLoad && len(loads) > 0 {
		loads[0] = wholeLoad // none is healthy, and none shall count so
	}
	return loads
}

// spread puts levels into one priority, each with its load; with a single one
// localities keep their own weights. Each weight of an endpoint has a locality
// of its own: see byWeight.
func (a *arrangement) spread(priority uint32, levels [][]endpoint, loads []uint64) {
	for n, es := range levels {
		whole := weightOf(es, true)
		for l, group := range byWeight(byLocation(es)) {
			weight := healthyWeight(group)
			if len(levels) > 1 {
				weight = max(1, weight*loads[n]/whole)
			}
			a.localities = append(a.localities, locality{Location: l, endpoints: group, weight: uint32(weight), priority: priority})
		}
	}
}

// merge puts levels into one locality. gRPC hashes over all endpoints of a
// priority; it follows their weights, and multiplies them by those of their
// localities, in 32 bits.
func (a *arrangement) merge(priority uint32, levels [][]endpoint, loads []uint64) {
	one := locality{weight: 1, priority: priority}
	for n, es := range levels {
		whole := weightOf(es, true)
		for _, e := range es {
			if len(levels) > 1 {
				e.weight = uint32(max(1, uint64(e.weight)*loads[n]/whole))
			}
			one.endpoints = append(one.endpoints, e)
		}
	}
	if len(one.endpoints) == 0 {
		return
	}
	slices.SortFunc(one.endpoints, func(a, b endpoint) int { return strings.Compare(a.ID, b.ID) })
	one.Location = common(one.endpoints)
	a.localities = append(a.localities, one)
}

// common is the part of their locations that all endpoints share.
func common(es []endpoint) naming.Location {
	l := es[0].Location
	for _, e := range es[1:] {
		if e.Location != l {
			l = l.Reduce(naming.NearnessOf(l, e.Location))
		}
	}
	return l
}

// healthyWeight is the weight of a locality for gRPC, which shares it among the
// healthy endpoints: else a healthy one would inherit the traffic of its sick
// neighbours.
func healthyWeight(es []endpoint) uint64 {
	if w := weightOf(es, true); w > 0 {
		return w
	}
	return weightOf(es, false)
}

// weightOf sums the weights of endpoints that may get traffic.
func weightOf(es []endpoint, onlyHealthy bool) uint64 {
	var sum uint64
	for n := range es {
		if es[n].health == healthy || es[n].health == unhealthy && !onlyHealthy {
			sum += uint64(es[n].weight)
		}
	}
	return sum
}

func anyHealthy(es []endpoint) bool {
	return slices.ContainsFunc(es, func(e endpoint) bool { return e.health == healthy })
}
