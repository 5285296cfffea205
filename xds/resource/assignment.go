package resource

import (
	"google.golang.org/protobuf/encoding/protowire"

	"polestar/naming"
)

// A ClusterLoadAssignment is written by hand, field by field: an update of one
// instance must not make an object for each of its ten thousand neighbours.
// Fields go out in the order of their numbers, which is the canonical encoding;
// a test holds the result to what the protobuf library makes of an assignment
// that is built from objects.

// assignment measures a load assignment.
func assignment(cluster string, a arrangement, client Client) content {
	w := writer{client: client}
	size := field(len(cluster))
	for n := range a.localities {
		l := &a.localities[n]
		l.size = field(locationSize(l.Location)) + field(numberSize(l.weight))
		if l.priority > 0 {
			l.size += 1 + protowire.SizeVarint(uint64(l.priority))
		}
		for e := range l.endpoints {
			l.size += field(w.measure(&l.endpoints[e]))
		}
		size += field(l.size)
	}
	policy := 0
	if a.overprovision > 0 {
		policy = field(numberSize(a.overprovision)) + 2
		size += field(policy)
	}
	return content{size, func(b []byte) []byte {
		b = text(b, 1, cluster) // ClusterLoadAssignment.cluster_name
		for n := range a.localities {
			b = w.locality(open(b, 2, a.localities[n].size), &a.localities[n]) // .endpoints
		}
		if policy > 0 {
			b = number(open(b, 4, policy), 3, a.overprovision) // .policy, Policy.overprovisioning_factor
			b = varint(b, 6, 1)                                // .weighted_priority_health
		}
		return b
	}}
}

// writer appends the parts of an assignment.
type writer struct {
	client Client
	pairs  []naming.Pair // scratch
}

func (w *writer) locality(b []byte, l *locality) []byte {
	b = open(b, 1, locationSize(l.Location)) // LocalityLbEndpoints.locality; gRPC refuses one without
	for n, s := range [...]string{l.Region, l.Zone, l.Campus} {
		if s != "" {
			b = text(b, byte(n+1), s)
		}
	}
	for n := range l.endpoints {
		b = w.endpoint(open(b, 2, l.endpoints[n].size), &l.endpoints[n]) // .lb_endpoints
	}
	b = number(b, 3, l.weight) // .load_balancing_weight; gRPC ignores a locality without
	if l.priority > 0 {
		b = varint(b, 5, uint64(l.priority)) // .priority
	}
	return b
}

// subsetFilter is where load balancers look for an endpoint's metadata.
const subsetFilter = "envoy.lb"

// frame holds the lengths that the messages nested in an LbEndpoint announce.
type frame struct{ address, endpoint, entry, metadata, total int }

// frameOf computes them from the length of the metadata's fields.
func frameOf(e *endpoint) frame {
	var f frame
	f.address = field(socketSize(e.address, e.port))
	f.endpoint = field(f.address)
	for _, more := range e.more {
		f.endpoint += field(field(field(socketSize(more.Addr().String(), more.Port()))))
	}
	f.entry = field(len(subsetFilter)) + field(e.fields)
	f.metadata = field(f.entry)
	if e.mutual {
		f.metadata += len(mutualEntry)
	}
	f.total = field(f.endpoint) + 2 + field(f.metadata) + field(numberSize(e.weight))
	return f
}

// socketSize is the size of a SocketAddress.
func socketSize(address string, port uint16) int {
	return field(len(address)) + 1 + protowire.SizeVarint(uint64(port))
}

// socket appends an Address that holds a SocketAddress.
func socket(b []byte, number byte, address string, port uint16) []byte {
	n := socketSize(address, port)
	b = open(b, number, field(n))
	b = open(b, 1, n)                 // Address.socket_address
	b = text(b, 2, address)           // SocketAddress.address
	return varint(b, 3, uint64(port)) // .port_value
}

// measure keeps the lengths that are needed again, and returns the whole.
func (w *writer) measure(e *endpoint) int {
	e.fields = 0
	w.pairs = subset(w.pairs[:0], e.Instance, w.client)
	for _, p := range w.pairs {
		e.fields += field(pairSize(p))
	}
	e.mutual = w.client == Envoy && speaksMutual(e.Instance)
	e.size = frameOf(e).total
	return e.size
}

func (w *writer) endpoint(b []byte, e *endpoint) []byte {
	f := frameOf(e)
	b = open(b, 1, f.endpoint)          // LbEndpoint.endpoint
	b = socket(b, 1, e.address, e.port) // Endpoint.address
	for _, more := range e.more {
		address := more.Addr().String()
		b = open(b, 4, field(field(socketSize(address, more.Port())))) // .additional_addresses
		b = socket(b, 1, address, more.Port())                         // AdditionalAddress.address
	}
	b = varint(b, 2, uint64(e.health)) // LbEndpoint.health_status
	b = open(b, 3, f.metadata)         // .metadata
	b = open(b, 1, f.entry)            // an entry of Metadata.filter_metadata
	b = text(b, 1, subsetFilter)       // its key
	b = open(b, 2, e.fields)           // its value, a Struct
	w.pairs = subset(w.pairs[:0], e.Instance, w.client)
	for _, p := range w.pairs {
		b = appendPair(b, p)
	}
	if e.mutual {
		b = append(b, mutualEntry...)
	}
	return number(b, 4, e.weight) // LbEndpoint.load_balancing_weight
}

// appendPair appends an entry of Struct.fields.
func appendPair(b []byte, p naming.Pair) []byte {
	b = open(b, 1, pairSize(p))
	b = text(b, 1, p.Key)
	return text(open(b, 2, field(len(p.Value))), 3, p.Value) // Value.string_value
}

// subset lists an endpoint's metadata sorted by key. The instance's own pairs
// win over those that are made from its attributes.
//
// gRPC reads nothing but the key for consistent hashing (gRFC A76). It also
// takes no message above 4 MiB, which the metadata of a large service would
// exceed.
func subset(out []naming.Pair, i *naming.Instance, client Client) []naming.Pair {
	own := [...]naming.Pair{{Key: "hash_key", Value: i.ID}, {Key: "protocol", Value: i.Protocol}, {Key: "version", Value: i.Version}}
	if client == GRPC {
		if v, ok := i.Metadata.Get(own[0].Key); ok {
			own[0].Value = v
		}
		return append(out, own[0])
	}
	rest := i.Metadata
	for _, p := range own {
		for len(rest) > 0 && rest[0].Key < p.Key {
			out, rest = append(out, rest[0]), rest[1:]
		}
		if p.Value != "" && (len(rest) == 0 || rest[0].Key != p.Key) {
			out = append(out, p)
		}
	}
	return append(out, rest...)
}

// pairSize is the size of a map entry from a string to a Value that is one.
func pairSize(p naming.Pair) int { return field(len(p.Key)) + field(field(len(p.Value))) }

func locationSize(l naming.Location) int {
	n := 0
	for _, s := range [...]string{l.Region, l.Zone, l.Campus} {
		if s != "" {
			n += field(len(s))
		}
	}
	return n
}

// numberSize is the size of a google.protobuf.UInt32Value; n is never 0.
func numberSize(n uint32) int { return 1 + protowire.SizeVarint(uint64(n)) }

// number appends a field that holds a google.protobuf.UInt32Value.
func number(b []byte, field byte, n uint32) []byte {
	return varint(open(b, field, numberSize(n)), 1, uint64(n))
}
