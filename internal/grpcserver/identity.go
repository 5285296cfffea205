package grpcserver

import (
	"context"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"polestar/internal/tlsfiles"
)

// Identities returns who the client of a call proved to be by a verified
// certificate: the URIs of its SANs, SPIFFE ids first, then DNS names; nothing
// without one.
func Identities(ctx context.Context) []string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil
	}
	return tlsfiles.Verified(&info.State)
}
