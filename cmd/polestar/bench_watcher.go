package main

import (
	"context"
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"polestar/xds/resource"
)

// watcher is the cheapest xDS client that still acknowledges: it looks for a
// text in the raw response instead of decoding it, so that a hundred of them
// do not measure their own decoding.
type watcher struct {
	id       int
	delta    bool
	resource string
	cc       *grpc.ClientConn
}

// follow subscribes to the resource and calls seen with every response until
// the stream ends.
func (w *watcher) follow(ctx context.Context, seen func(message []byte)) error {
	method, desc := discoveryv3.AggregatedDiscoveryService_StreamAggregatedResources_FullMethodName, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	if w.delta {
		method = discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName
	}
	stream, err := w.cc.NewStream(ctx, desc, method)
	if err != nil {
		return err
	}
	nonce, version, first := "", "", true
	for {
		if err = stream.SendMsg(w.request(nonce, version, first)); err != nil {
			return err
		}
		first = false
		var message []byte
		if err = stream.RecvMsg(&message); err != nil {
			return err
		}
		if nonce, version, err = w.envelope(message); err != nil {
			return err
		}
		seen(message)
	}
}

func (w *watcher) request(nonce, version string, first bool) proto.Message {
	node := &corev3.Node{Id: fmt.Sprint("bench-", w.id), UserAgentName: "polestar-bench"}
	if !first {
		node = nil
	}
	if !w.delta {
		return &discoveryv3.DiscoveryRequest{
			Node: node, TypeUrl: resource.Endpoints.URL(), ResourceNames: []string{w.resource}, ResponseNonce: nonce, VersionInfo: version,
		}
	}
	r := &discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: resource.Endpoints.URL(), ResponseNonce: nonce}
	if first {
		r.ResourceNamesSubscribe = []string{w.resource}
	}
	return r
}

// envelope reads nonce (field 5 in both) and version_info (field 1 of SotW).
func (w *watcher) envelope(m []byte) (nonce, version string, err error) {
	for len(m) > 0 {
		num, typ, n := protowire.ConsumeTag(m)
		if n < 0 {
			return "", "", protowire.ParseError(n)
		}
		m = m[n:]
		if n = protowire.ConsumeFieldValue(num, typ, m); n < 0 {
			return "", "", protowire.ParseError(n)
		}
		if typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(m)
			switch {
			case num == 5:
				nonce = string(value)
			case num == 1 && !w.delta:
				version = string(value)
			}
		}
		m = m[n:]
	}
	return nonce, version, nil
}

// wireCodec sends messages and receives raw bytes.
type wireCodec struct{}

func (wireCodec) Name() string { return "proto" }

func (wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, err := proto.Marshal(v.(proto.Message))
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (wireCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}
