package cluster

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"polestar/naming"
	"polestar/proto/peerpb"
)

// Server answers the other members. It implements peerpb.PeerServiceServer.
type Server struct {
	peerpb.UnimplementedPeerServiceServer
	cluster *Cluster
}

// Server returns what other members call.
func (c *Cluster) Server() *Server { return &Server{cluster: c} }

// Tell implements peerpb.PeerServiceServer. Who does not know the secret is refused
// before anything is read of the message.
func (s *Server) Tell(ctx context.Context, in *peerpb.TellRequest) (*peerpb.TellResponse, error) {
	if !s.cluster.proved(ctx) {
		return nil, status.Error(codes.Unauthenticated, "the cluster's secret is wrong or missing")
	}
	if n := len(in.GetBeats()); n > 10*maxTell {
		return nil, status.Errorf(codes.InvalidArgument, "beats: %d, at most %d are allowed", n, 10*maxTell)
	}
	for _, id := range in.GetBeats() {
		// Members that see others for a moment may send it to the wrong one; it is
		// not sent on, so that it cannot run in circles.
		if !s.cluster.deps.Beat(id) {
			s.cluster.meter.strays.Inc()
		}
	}
	if in.GetRevision() > 0 {
		s.cluster.deps.Hinted(naming.Revision(in.GetRevision()))
	}
	return &peerpb.TellResponse{Revision: uint64(s.cluster.deps.Visible())}, nil
}

// proved compares the caller's secret with ours in constant time.
func (c *Cluster) proved(ctx context.Context) bool {
	got := metadata.ValueFromIncomingContext(ctx, secretKey)
	if len(got) != 1 || c.cfg.Secret == "" {
		return false
	}
	a, b := sha256.Sum256([]byte(got[0])), sha256.Sum256([]byte(c.cfg.Secret))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
