package grpcserver

import (
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
		peer *peer.Peer
		want []string
	}{
		"verified":   {&peer.Peer{AuthInfo: credentials.TLSInfo{State: verified}}, []string{"spiffe://td/x", "d"}},
		"only shown": {&peer.Peer{AuthInfo: credentials.TLSInfo{State: shown}}, nil},
		"plain text": {&peer.Peer{}, nil},
		"no call":    {nil, nil},
	} {
		ctx := t.Context()
		if c.peer != nil {
			ctx = peer.NewContext(ctx, c.peer)
		}
		if diff := cmp.Diff(c.want, Identities(ctx)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
