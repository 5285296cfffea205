package grpcserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"

	"google.golang.org/grpc/metadata"
)

// SecretHeader carries the secret of a door that has one.
const SecretHeader = "x-polaris-token"

// Secret is what a door trusts whoever shows it. It is known by its digest:
// what is compared then has one length.
type Secret struct{ digest [sha256.Size]byte }

// NewSecret makes a secret of its text.
func NewSecret(text string) Secret { return Secret{sha256.Sum256([]byte(text))} }

// Shown reports whether a call carries the secret, and nothing else beside it.
// How long the comparison takes does not depend on the secret.
func (s Secret) Shown(ctx context.Context) bool {
	sent := metadata.ValueFromIncomingContext(ctx, SecretHeader)
	if len(sent) != 1 {
		return false
	}
	got := sha256.Sum256([]byte(sent[0]))
	return subtle.ConstantTimeCompare(got[:], s.digest[:]) == 1
}
