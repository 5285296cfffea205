package polaris

import (
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// The field numbers that an answer is put together from (specification,
// response.proto and service.proto).
const (
	fieldCode      protowire.Number = 1
	fieldInfo      protowire.Number = 2
	fieldType      protowire.Number = 3
	fieldService   protowire.Number = 4
	fieldInstances protowire.Number = 5
	fieldDirection protowire.Number = 29

	fieldServiceName      protowire.Number = 1
	fieldServiceNamespace protowire.Number = 2
	fieldServiceRevision  protowire.Number = 15
)

// codec sends the data of an answer of Discover as the bytes that all who ask
// share, without copying them; any other message is encoded as usual.
type codec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if a, ok := v.(*answer); ok {
		return a.encode(), nil
	}
	return c.CodecV2.Marshal(v)
}

// answer is one DiscoverResponse: what belongs to its request, and the data.
type answer struct {
	typ             service_manage.DiscoverRequest_DiscoverRequestType
	direction       service_manage.DiscoverDirection
	namespace, name string // as requested
	code            uint32
	info            string
	revision        string // empty: none
	data
}

// data are encoded fields of a DiscoverResponse, shared and never modified. The
// first of them are fields of its service.
type data struct {
	fields  []byte
	service int // bytes of fields that belong to the service
}

// encode puts the message together; protobuf allows fields in any order. The
// service begins in the first buffer and ends in the second one.
func (a *answer) encode() mem.BufferSlice {
	revision := 0
	if a.revision != "" {
		revision = sizeText(fieldServiceRevision, a.revision)
	}
	service := sizeText(fieldServiceName, a.name) + sizeText(fieldServiceNamespace, a.namespace) + revision + a.service
	const rest = 64 // code, type, direction, and the service's length
	b := make([]byte, 0, service+sizeText(fieldInfo, a.info)+rest)

	b = appendNumber(b, fieldCode, a.code)
	b = appendText(b, fieldInfo, a.info)
	b = appendEnum(b, fieldType, int32(a.typ))
	b = appendEnum(b, fieldDirection, int32(a.direction))
	b = appendHead(b, fieldService, service)
	b = appendText(b, fieldServiceName, a.name)
	b = appendText(b, fieldServiceNamespace, a.namespace)
	if a.revision != "" {
		b = appendText(b, fieldServiceRevision, a.revision)
	}
	out := append(make(mem.BufferSlice, 0, 2), mem.SliceBuffer(b))
	if len(a.fields) > 0 {
		out = append(out, mem.SliceBuffer(a.fields))
	}
	return out
}
