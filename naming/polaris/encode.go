package polaris

import (
	"strconv"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/encoding/protowire"

	"polestar/naming"
)

// An Instance is encoded field by field: through the generated code it takes
// twelve times as long, and a service of a thousand instances is encoded again
// after each change of one of them. The numbers are those of service.proto and
// model.proto of the specification.

// appendInstance appends an instance as Discover shows it. Equal instances have
// equal bytes.
func appendInstance(b []byte, i *naming.Instance) []byte {
	b = appendText(b, 1, i.ID)
	b = appendText(b, 2, i.Service.Name)
	b = appendText(b, 3, i.Service.Namespace)
	b = appendText(b, 4, i.Host)
	b = appendNumber(b, 5, i.Port)
	b = appendText(b, 6, i.Protocol)
	b = appendText(b, 7, i.Version)
	b = appendNumber(b, 8, i.Priority)
	b = appendNumber(b, 9, i.Weight)
	if i.TTL > 0 {
		b = appendCheck(b, 10, i.TTL)
	}
	b = appendFlag(b, 11, i.Healthy)
	b = appendFlag(b, 12, i.Isolated)
	b = appendLocation(b, 13, i.Location)
	b = appendMetadata(b, 14, i)
	b = appendText(b, 15, i.LogicSet)
	b = appendTime(b, 16, i.Created)
	b = appendTime(b, 17, i.Modified)
	b = appendText(b, 18, strconv.FormatUint(uint64(i.Revision), 16))
	b = appendFlag(b, 20, i.TTL > 0)
	return appendText(b, 21, i.VpcID)
}

// appendCheck appends a health check with beats.
func appendCheck(b []byte, field protowire.Number, ttl uint32) []byte {
	const typ, heartbeat protowire.Number = 1, 2
	beat := sizeNumber(1, ttl)
	b = appendHead(b, field, protowire.SizeTag(typ)+1+protowire.SizeTag(heartbeat)+protowire.SizeBytes(beat))
	b = appendEnum(b, typ, int32(service_manage.HealthCheck_HEARTBEAT))
	b = appendHead(b, heartbeat, beat)
	return appendNumber(b, 1, ttl)
}

func appendLocation(b []byte, field protowire.Number, l naming.Location) []byte {
	b = appendHead(b, field, sizeText(1, l.Region)+sizeText(2, l.Zone)+sizeText(3, l.Campus))
	b = appendText(b, 1, l.Region)
	b = appendText(b, 2, l.Zone)
	return appendText(b, 3, l.Campus)
}

// appendMetadata appends the metadata and, like the reference, version,
// protocol and location under the names on which SDK routing rules match.
func appendMetadata(b []byte, field protowire.Number, i *naming.Instance) []byte {
	labels := [...]naming.Pair{
		{Key: "version", Value: i.Version},
		{Key: "protocol", Value: i.Protocol},
		{Key: "region", Value: i.Location.Region},
		{Key: "zone", Value: i.Location.Zone},
		{Key: "campus", Value: i.Location.Campus},
	}
	hidden := func(key string) bool {
		for _, l := range labels {
			if l.Key == key && l.Value != "" {
				return true
			}
		}
		return false
	}
	for _, p := range i.Metadata {
		if !hidden(p.Key) {
			b = appendPair(b, field, p)
		}
	}
	for _, l := range labels {
		if l.Value != "" {
			b = appendPair(b, field, l)
		}
	}
	return b
}

// appendPair appends one entry of a map of texts.
func appendPair(b []byte, field protowire.Number, p naming.Pair) []byte {
	const key, value protowire.Number = 1, 2
	b = appendHead(b, field, protowire.SizeTag(key)+protowire.SizeBytes(len(p.Key))+protowire.SizeTag(value)+protowire.SizeBytes(len(p.Value)))
	b = protowire.AppendTag(b, key, protowire.BytesType)
	b = protowire.AppendString(b, p.Key)
	b = protowire.AppendTag(b, value, protowire.BytesType)
	return protowire.AppendString(b, p.Value)
}

// appendTime appends a StringValue in Polaris' form of a time: local, to the
// second.
func appendTime(b []byte, field protowire.Number, t naming.Micros) []byte {
	var text [len(time.DateTime) + 8]byte
	return appendText(b, field, string(time.UnixMicro(int64(t)).AppendFormat(text[:0], time.DateTime)))
}

// wrapped is the only field of a StringValue, UInt32Value or BoolValue; like
// every field it is left out when it has its default, and then it is the
// wrapper that says "sent".
const wrapped protowire.Number = 1

// appendHead begins a field of n bytes.
func appendHead(b []byte, field protowire.Number, n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(n))
}

// appendText appends a field of type StringValue.
func appendText(b []byte, field protowire.Number, s string) []byte {
	b = appendHead(b, field, sizeWrapped(s))
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, wrapped, protowire.BytesType), s)
}

func sizeText(field protowire.Number, s string) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(sizeWrapped(s))
}

func sizeWrapped(s string) int {
	if s == "" {
		return 0
	}
	return protowire.SizeTag(wrapped) + protowire.SizeBytes(len(s))
}

// appendNumber appends a field of type UInt32Value.
func appendNumber(b []byte, field protowire.Number, n uint32) []byte {
	if n == 0 {
		return appendHead(b, field, 0)
	}
	b = appendHead(b, field, protowire.SizeTag(wrapped)+protowire.SizeVarint(uint64(n)))
	return protowire.AppendVarint(protowire.AppendTag(b, wrapped, protowire.VarintType), uint64(n))
}

func sizeNumber(field protowire.Number, n uint32) int {
	if n == 0 {
		return protowire.SizeTag(field) + protowire.SizeBytes(0)
	}
	return protowire.SizeTag(field) + protowire.SizeBytes(protowire.SizeTag(wrapped)+protowire.SizeVarint(uint64(n)))
}

// appendFlag appends a field of type BoolValue.
func appendFlag(b []byte, field protowire.Number, v bool) []byte {
	n := uint32(0)
	if v {
		n = 1
	}
	return appendNumber(b, field, n)
}

// appendEnum appends a field of an enum type, but not its default.
func appendEnum(b []byte, field protowire.Number, v int32) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(int64(v))) // negative numbers are sign-extended
}
