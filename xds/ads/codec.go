package ads

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that does the rest
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Field numbers of `resources` in DiscoveryResponse and DeltaDiscoveryResponse.
const resourcesField protowire.Number = 2

// Codec is the codec of the server that the streams run on. A response is sent
// as the fragments that the cache shares between all streams, without copying
// them; any other message is encoded as usual, so that other services can live
// on the same server.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2("proto")} }

type codec struct{ encoding.CodecV2 }

// packet is a response with what the server adds to it.
type packet struct {
	*Response
	identifier string
}

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if p, ok := v.(*packet); ok {
		return p.encode()
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		data.Ref()
		f.data = data
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// encode concatenates fields; protobuf allows any order.
func (p *packet) encode() (mem.BufferSlice, error) {
	head, err := proto.Marshal(p.envelope())
	if err != nil {
		return nil, err
	}
	out := make(mem.BufferSlice, 0, 1+2*len(p.Resources))
	out = append(out, mem.SliceBuffer(head))
	prefixes := make([]byte, 0, len(p.Resources)*(1+protowire.SizeVarint(MaxMessage)))
	for _, r := range p.Resources {
		fragment := r.Any
		if p.Delta {
			fragment = r.Delta
		}
		from := len(prefixes)
		prefixes = protowire.AppendTag(prefixes, resourcesField, protowire.BytesType)
		prefixes = protowire.AppendVarint(prefixes, uint64(len(fragment)))
		out = append(out, mem.SliceBuffer(prefixes[from:len(prefixes):len(prefixes)]), mem.SliceBuffer(fragment))
	}
	return out, nil
}

// envelope is the response without its resources.
func (p *packet) envelope() proto.Message {
	plane := &corev3.ControlPlane{Identifier: p.identifier}
	var missing []*discoveryv3.ResourceError
	for _, name := range p.Missing {
		missing = append(missing, &discoveryv3.ResourceError{
			ResourceName: &discoveryv3.ResourceName{Name: name},
			ErrorDetail:  &status.Status{Code: int32(codes.NotFound), Message: notFound},
		})
	}
	if p.Delta {
		return &discoveryv3.DeltaDiscoveryResponse{
			SystemVersionInfo: p.Version, TypeUrl: p.URL, Nonce: p.Nonce, ControlPlane: plane,
			RemovedResources: p.Removed, ResourceErrors: missing,
		}
	}
	return &discoveryv3.DiscoveryResponse{
		VersionInfo: p.Version, TypeUrl: p.URL, Nonce: p.Nonce, ControlPlane: plane, ResourceErrors: missing,
	}
}

const notFound = "no such resource is registered"

// size is the number of resource bytes in the response.
func (p *packet) size() int {
	n := 0
	for _, r := range p.Resources {
		if p.Delta {
			n += len(r.Delta)
		} else {
			n += len(r.Any)
		}
	}
	return n
}

// fieldSize is the encoded size of a field with n bytes of content.
func fieldSize(n int) int { return 1 + protowire.SizeBytes(n) }

// errorSize is an upper bound of the encoded size of one entry of
// resource_errors.
func errorSize(name string) int { return len(name) + len(notFound) + 24 }
