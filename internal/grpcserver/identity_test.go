package grpcserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

func TestIdentitiesAreThoseOfAVerifiedCertificate(t *testing.T) {
	cert := &x509.Certificate{DNSNames: []string{"d"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "td", Path: "/x"}}}
	shown := tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	verified := shown
	verified.VerifiedChains = [][]*x509.Certificate{{cert}}
	for name, c := range map[string]struct {
		ctx  context.Context
		want []string
	}{
		"verified":   {peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: verified}}), []string{"spiffe://td/x", "d"}},
		"only shown": {peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: shown}}), nil},
		"plain text": {peer.NewContext(t.Context(), &peer.Peer{}), nil},
		"no call":    {t.Context(), nil},
	} {
		if diff := cmp.Diff(c.want, Identities(c.ctx)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
