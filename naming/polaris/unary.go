package polaris

import (
	"context"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"

	"polestar/auth"
)

// DiscoverOnce answers one request of Discover outside of a stream, as doors
// without streams need it. Error: the answer's shared bytes are no message,
// which is a bug of ours.
func (s *Server) DiscoverOnce(ctx context.Context, req *service_manage.DiscoverRequest) (*service_manage.DiscoverResponse, error) {
	q := s.request(ctx, methodDiscover, auth.Discover).with(req.GetService().GetToken().GetValue())
	out := &service_manage.DiscoverResponse{}
	return out, proto.Unmarshal(s.answer(ctx, q, req).encode().Materialize(), out)
}
