package polaris

import (
	"context"
	"maps"
	"slices"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"

	"polestar/auth"
)

// asked is the request of a message on a stream of its own.
func (s *Server) asked(ctx context.Context, req *service_manage.DiscoverRequest) *request {
	return s.request(ctx, methodDiscover, auth.Discover).with(req.GetService().GetToken().GetValue())
}

// Answer makes one response without a stream, as a client reads it.
func Answer(ctx context.Context, s *Server, req *service_manage.DiscoverRequest) *service_manage.DiscoverResponse {
	var out service_manage.DiscoverResponse
	if err := proto.Unmarshal(s.answer(ctx, s.asked(ctx, req), req).encode().Materialize(), &out); err != nil {
		panic(err)
	}
	return &out
}

// Encode makes the bytes of one response.
func Encode(ctx context.Context, s *Server, req *service_manage.DiscoverRequest) int {
	return s.answer(ctx, s.asked(ctx, req), req).encode().Len()
}

// Data is where the data of one response begins.
func Data(ctx context.Context, s *Server, req *service_manage.DiscoverRequest) *byte {
	return &s.answer(ctx, s.asked(ctx, req), req).fields[0]
}

// Codes lists the codes that the door has a text for.
func Codes() []uint32 { return slices.Sorted(maps.Keys(texts)) }
