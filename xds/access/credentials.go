package access

import (
	"context"
	"errors"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	"polestar/auth"
	"polestar/internal/grpcserver"
)

// The names under which a token is shown, in the metadata of a call and of a
// node: as it is, or after "Bearer".
const (
	KeyToken         = "x-polaris-token"
	KeyAuthorization = "authorization"
)

// CredentialsOf reads what a call shows. token is what its node shows, which
// counts if the call itself shows none.
func CredentialsOf(ctx context.Context, token string) auth.Credentials {
	out := auth.Credentials{Token: token, Identities: grpcserver.Identities(ctx)}
	for _, key := range []string{KeyToken, KeyAuthorization} {
		for _, value := range metadata.ValueFromIncomingContext(ctx, key) {
			if text := tokenIn(key, value); text != "" {
				out.Token = text
				return out
			}
		}
	}
	return out
}

// tokenIn is the token in a value; empty when there is none.
func tokenIn(key, value string) string {
	if key == KeyToken {
		return strings.TrimSpace(value)
	}
	scheme, token, _ := strings.Cut(strings.TrimSpace(value), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// TakeToken removes the token from the metadata of a node, however the key is
// written, and returns it: afterwards the node can be kept and shown. Errors
// name the key and do not repeat the value.
func TakeToken(n *corev3.Node) (string, error) {
	found := map[string]string{}
	var wrong error
	fields := n.GetMetadata().GetFields()
	for key, value := range fields {
		name := strings.ToLower(key)
		if name != KeyToken && name != KeyAuthorization {
			continue
		}
		delete(fields, key)
		switch v := value.GetKind().(type) {
		case *structpb.Value_StringValue:
			if text := tokenIn(name, v.StringValue); text != "" {
				found[name] = text
			}
		case *structpb.Value_NullValue:
		default:
			wrong = errors.New("node.metadata." + name + ": must be a string; put it in quotes")
		}
	}
	if wrong != nil {
		return "", wrong
	}
	if token := found[KeyToken]; token != "" {
		return token, nil
	}
	return found[KeyAuthorization], nil
}
