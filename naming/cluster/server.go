package cluster

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
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
// before anything of the message is put to use.
func (s *Server) Tell(ctx context.Context, in *peerpb.TellRequest) (*peerpb.TellResponse, error) {
	if !s.cluster.proved(ctx) {
		s.cluster.refused(ctx, in.GetFrom())
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

// proved compares the caller's secret with ours in constant time. Without one
// it is enough that the call got through, if the door asks for certificates.
func (c *Cluster) proved(ctx context.Context) bool {
	if c.cfg.Secret == "" {
		return c.cfg.Mutual
	}
	got := metadata.ValueFromIncomingContext(ctx, secretKey)
	if len(got) != 1 {
		return false
	}
	a, b := sha256.Sum256([]byte(got[0])), sha256.Sum256([]byte(c.cfg.Secret))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func (c *Cluster) refused(ctx context.Context, from string) {
	c.meter.refused.Inc()
	if !c.tell.Allow() {
		return
	}
	address := "unknown"
	if p, ok := grpcpeer.FromContext(ctx); ok {
		address = p.Addr.String()
	}
	c.deps.Log.Warn("a server that does not prove the cluster's secret was refused", zap.String("address", address), zap.String("claims_to_be", fmt.Sprintf("%.128q", from)))
}
