package grpcserver

import (
	"testing"

	"google.golang.org/grpc/metadata"
)

func TestSecret(t *testing.T) {
	const secret = "a secret of a good length"
	s := NewSecret(secret)
	for name, c := range map[string]struct {
		sent []string
		want bool
	}{
		"none":          {nil, false},
		"empty":         {[]string{""}, false},
		"wrong":         {[]string{secret + "!"}, false},
		"the start":     {[]string{secret[:5]}, false},
		"several":       {[]string{"x", secret}, false},
		"twice":         {[]string{secret, secret}, false},
		"the right one": {[]string{secret}, true},
	} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{SecretHeader: c.sent})
		if got := s.Shown(ctx); got != c.want {
			t.Errorf("%s: shown is %v", name, got)
		}
	}
	if s.Shown(t.Context()) {
		t.Error("shown by a call without headers")
	}
}
