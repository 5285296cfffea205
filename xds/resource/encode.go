package resource

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"polestar/naming"
)

// content is a message that can be written by itself: its length in bytes, and
// a function that appends exactly that many.
type content struct {
	size  int
	write func([]byte) []byte
}

// contentOf marshals a message. Deterministic: equal content has equal bytes,
// and so an equal version.
func contentOf(m proto.Message) (content, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return content{}, err
	}
	return content{len(b), func(to []byte) []byte { return append(to, b...) }}, nil
}

// versionLen is the length of a version: 64 bits in hexadecimal.
const versionLen = 16

// encode makes the bytes that all streams share. The message is stored once:
// its Any is a part of the Delta form.
func encode(f Form, c content, revision naming.Revision) (*Resource, error) {
	url := f.Type.URL()
	packed := field(len(url)) + field(c.size)
	b := make([]byte, 0, field(versionLen)+field(packed)+field(len(f.Name)))

	b = open(b, 1, versionLen) // envoy.service.discovery.v3.Resource.version, known below
	versionAt := len(b)
	b = append(b, make([]byte, versionLen)...)
	b = open(b, 2, packed) // .resource
	anyAt := len(b)
	b = text(b, 1, url)
	b = open(b, 2, c.size)
	valueAt := len(b)
	b = c.write(b)
	end := len(b)
	if end-valueAt != c.size {
		return nil, fmt.Errorf("%s %q: encoded to %d bytes, announced %d", f.Type, f.Name, end-valueAt, c.size)
	}
	b = text(b, 3, f.Name) // .name

	copy(b[versionAt:], versionOf(xxhash.Sum64(b[valueAt:end])))
	return &Resource{
		Name: f.Name, Version: string(b[versionAt : versionAt+versionLen]), Revision: revision,
		Any: b[anyAt:end:end], Delta: slices.Clip(b),
	}, nil
}

// versionOf writes a hash as a version.
func versionOf(hash uint64) string {
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], hash)
	return hex.EncodeToString(sum[:])
}

// short is the first length that needs two bytes.
const short = 0x80

// field is the size of a length-delimited field with n bytes of content and a
// number below 16.
func field(n int) int {
	if n < short {
		return n + 2
	}
	return 1 + protowire.SizeBytes(n)
}

// open begins a length-delimited field of n bytes with a number below 16.
func open(b []byte, number byte, n int) []byte {
	const lengthDelimited = byte(protowire.BytesType)
	if n < short {
		return append(b, number<<3|lengthDelimited, byte(n))
	}
	return protowire.AppendVarint(append(b, number<<3|lengthDelimited), uint64(n))
}

// text appends a string field.
func text(b []byte, number byte, s string) []byte {
	return append(open(b, number, len(s)), s...)
}

// varint appends a number field.
func varint(b []byte, number byte, v uint64) []byte {
	return protowire.AppendVarint(append(b, number<<3|byte(protowire.VarintType)), v)
}
