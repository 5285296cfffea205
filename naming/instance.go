package naming

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // Polaris fixes SHA-1 for ids; nothing secret rests on it
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
)

// Instance is one registered endpoint of a service.
type Instance struct {
	ID       string
	Service  ServiceKey
	Host     string // IP literal or DNS name, trimmed
	Port     uint32 // 1…65535
	VpcID    string
	Protocol string
	Version  string
	LogicSet string
	Priority uint32
	Weight   uint32 // 0…65535; 0 = no traffic
	Healthy  bool
	Isolated bool // no traffic by an operator's or the client's wish
	// Operator is nil unless an operator set one of the three above, which then
	// hold what is in force.
	Operator *Operator
	TTL      uint32 // seconds between beats, 1…3600; 0 = health is not checked
	Location Location
	Metadata Metadata
	Created  Micros
	Modified Micros
	Revision Revision // of its last change; set when the change is committed
}

// Location says where an instance or client runs. All parts may be empty.
type Location struct {
	Region string
	Zone   string
	Campus string
}

// Pair is one entry of [Metadata].
type Pair struct{ Key, Value string }

// Metadata is a list of pairs sorted by key, without duplicates. A slice, not
// a map: smaller, and equal content has equal bytes.
type Metadata []Pair

// NewMetadata sorts m into Metadata; an empty map gives nil.
func NewMetadata(m map[string]string) Metadata {
	if len(m) == 0 {
		return nil
	}
	out := make(Metadata, 0, len(m))
	for k, v := range m {
		out = append(out, Pair{k, v})
	}
	slices.SortFunc(out, func(a, b Pair) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// Get returns the value of key, and whether it is there.
func (m Metadata) Get(key string) (string, bool) {
	i, ok := slices.BinarySearchFunc(m, key, func(p Pair, k string) int { return cmp.Compare(p.Key, k) })
	if !ok {
		return "", false
	}
	return m[i].Value, true
}

// Map returns a fresh map with the same content.
func (m Metadata) Map() map[string]string {
	out := make(map[string]string, len(m))
	for _, p := range m {
		out[p.Key] = p.Value
	}
	return out
}

// InstanceID computes the id that Polaris gives an instance which did not
// bring one: lower-case hexadecimal SHA-1 over the fields joined by "##"; the
// VPC stands after the service when there is one.
func InstanceID(k ServiceKey, vpcID, host string, port uint32) string {
	b := make([]byte, 0, 128)
	b = append(append(b, k.Namespace...), "##"...)
	b = append(append(b, k.Name...), "##"...)
	if vpcID != "" {
		b = append(append(b, vpcID...), "##"...)
	}
	b = append(append(b, host...), "##"...)
	b = strconv.AppendUint(b, uint64(port), 10)
	sum := sha1.Sum(b) //nolint:gosec // an id, not a secret
	return hex.EncodeToString(sum[:])
}

// Operator is what an operator set on an instance. It wins over the client
// and the leases until an operator clears it.
type Operator struct {
	Weight   *uint32 // nil: the client's is in force
	Healthy  *bool
	Isolated *bool
	// What the client and the leases say meanwhile.
	Own    Attributes
	By     string // principal or address
	Reason string
	Since  Micros
}

// Attributes are the three of an instance that both its client and an operator
// can set.
type Attributes struct {
	Weight   uint32
	Healthy  bool
	Isolated bool
}

// Own returns what the client and the leases say, whatever an operator set.
func (i *Instance) Own() Attributes {
	if i.Operator != nil {
		return i.Operator.Own
	}
	return Attributes{Weight: i.Weight, Healthy: i.Healthy, Isolated: i.Isolated}
}

// settle puts the client's attributes under what an operator set. op may be
// nil, and is not modified.
func (i *Instance) settle(own Attributes, op *Operator) {
	i.Weight, i.Healthy, i.Isolated, i.Operator = own.Weight, own.Healthy, own.Isolated, nil
	if op == nil || op.empty() {
		return
	}
	set := *op
	set.Own = own
	i.Operator = &set
	if op.Weight != nil {
		i.Weight = *op.Weight
	}
	if op.Healthy != nil {
		i.Healthy = *op.Healthy
	}
	if op.Isolated != nil {
		i.Isolated = *op.Isolated
	}
}

func (o *Operator) empty() bool { return o.Weight == nil && o.Healthy == nil && o.Isolated == nil }

// same reports whether two settings mean the same; when and why they were made
// does not count.
func (o *Operator) same(p *Operator) bool {
	if o == nil || p == nil {
		return o == p
	}
	return equal(o.Weight, p.Weight) && equal(o.Healthy, p.Healthy) && equal(o.Isolated, p.Isolated) && o.Own == p.Own
}

func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Override keeps what an operator set on an instance that is not registered
// now: it is in force again when the instance comes back.
type Override struct {
	InstanceID string
	Service    ServiceKey
	Host       string
	Port       uint32
	Operator   Operator
	Revision   Revision
}

// SameContent reports whether two instances would look the same to every
// client. Times and revisions do not count.
func (i *Instance) SameContent(o *Instance) bool {
	return i.ID == o.ID && i.Service == o.Service && i.Host == o.Host && i.Port == o.Port &&
		i.VpcID == o.VpcID && i.Protocol == o.Protocol && i.Version == o.Version &&
		i.LogicSet == o.LogicSet && i.Priority == o.Priority && i.Weight == o.Weight &&
		i.Healthy == o.Healthy && i.Isolated == o.Isolated && i.TTL == o.TTL &&
		i.Location == o.Location && slices.Equal(i.Metadata, o.Metadata)
}

// Digest is a content hash: equal for two instances exactly when
// [Instance.SameContent] holds, on every server and after a restart.
type Digest [32]byte

// Digest hashes the content of i.
func (i *Instance) Digest() Digest {
	b := make([]byte, 0, 512)
	str := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	num := func(n uint32) { b = binary.AppendUvarint(b, uint64(n)) }
	flag := func(f bool) {
		if f {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	for _, s := range []string{
		i.ID, i.Service.Namespace, i.Service.Name, i.Host, i.VpcID, i.Protocol, i.Version, i.LogicSet,
		i.Location.Region, i.Location.Zone, i.Location.Campus,
	} {
		str(s)
	}
	for _, n := range []uint32{i.Port, i.Priority, i.Weight, i.TTL} {
		num(n)
	}
	flag(i.Healthy)
	flag(i.Isolated)
	for _, p := range i.Metadata {
		str(p.Key)
		str(p.Value)
	}
	return sha256.Sum256(b)
}

// Add returns the sum of two digests, lane by lane. Summing is commutative and
// has an inverse ([Digest.Sub]), so the digest of a set of instances follows a
// change in O(1).
func (d Digest) Add(o Digest) Digest { return d.lanes(o, func(a, b uint64) uint64 { return a + b }) }

// Sub undoes [Digest.Add].
func (d Digest) Sub(o Digest) Digest { return d.lanes(o, func(a, b uint64) uint64 { return a - b }) }

func (d Digest) lanes(o Digest, f func(a, b uint64) uint64) Digest {
	var out Digest
	for n := 0; n < len(d); n += 8 {
		binary.BigEndian.PutUint64(out[n:], f(binary.BigEndian.Uint64(d[n:]), binary.BigEndian.Uint64(o[n:])))
	}
	return out
}

// String is the first 40 hexadecimal digits: enough to compare, and the width
// of Polaris' revision columns.
func (d Digest) String() string { return hex.EncodeToString(d[:20]) }
