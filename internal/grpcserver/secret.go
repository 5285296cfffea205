package grpcserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// SecretHeader carries the secret of a door that asks for one.
const SecretHeader = "x-polaris-token"

// healthPrefix begins the methods that balancers call, who know no secret.
const healthPrefix = "/grpc.health.v1.Health/"

// Secret returns the options of a door that answers nobody but those whose
// calls carry the secret; health checks are excepted. How long the comparison
// takes does not depend on the secret.
func Secret(text string) []grpc.ServerOption {
	s := secret{sha256.Sum256([]byte(text))}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.unary), grpc.ChainStreamInterceptor(s.stream)}
}

// secret is known by its digest: what is compared then has one length.
type secret struct{ digest [sha256.Size]byte }

func (s secret) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := s.check(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (s secret) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := s.check(ss.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, ss)
}

func (s secret) check(ctx context.Context, method string) error {
	if strings.HasPrefix(method, healthPrefix) {
		return nil
	}
	sent := metadata.ValueFromIncomingContext(ctx, SecretHeader)
	if len(sent) != 1 {
		return status.Error(codes.Unauthenticated, SecretHeader+": this door needs exactly one")
	}
	got := sha256.Sum256([]byte(sent[0]))
	if subtle.ConstantTimeCompare(got[:], s.digest[:]) != 1 {
		return status.Error(codes.Unauthenticated, SecretHeader+": not the one of this door")
	}
	return nil
}
