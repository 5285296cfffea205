package cluster

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"polestar/internal/localca"
	"polestar/internal/tlsfiles"
	"polestar/naming"
)

// certified makes a member prove itself by a certificate instead of a secret.
func certified(t *testing.T, ca *localca.Authority, id string) func(*Config, *Deps, *[]grpc.ServerOption) {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, text []byte, err error) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key, err := ca.Issue(localca.Request{Hosts: []string{"127.0.0.1"}, URIs: []string{id}, Server: true, Client: true, Life: time.Hour})
	root, _, rootErr := ca.PEM()
	cfg := tlsfiles.Named("peer.tls")
	cfg.Cert.Path, cfg.Key.Path, cfg.ClientCA.Path = put("c.pem", cert, err), put("k.pem", key, err), put("ca.pem", root, rootErr)
	w, err := tlsfiles.New(prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	door, err := w.Add("peer", cfg, "spiffe://x/peer")
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config, d *Deps, opts *[]grpc.ServerOption) {
		c.Secret, c.Mutual, d.Dial = "", true, door.Dial()
		*opts = append(*opts, grpc.Creds(door.Credentials()))
	}
}

// Members with certificates need no secret; who has another's certificate, or
// none, is told nothing and not heard.
func TestCertificatesProveMembers(t *testing.T) {
	ca, err := localca.New("a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	rows := &table{rows: map[string]naming.Member{}}
	a := start(t, rows, "a", certified(t, ca, "spiffe://x/peer"))
	b := start(t, rows, "b", certified(t, ca, "spiffe://x/peer"))
	until(t, "both", a.moved, func(struct{}) bool { return len(a.Members()) == 2 })
	a.Hint(99)
	until(t, "a hint at b", b.hints, func(r naming.Revision) bool { return r == 99 })

	c := start(t, rows, "c", certified(t, ca, "spiffe://x/client"))
	d := start(t, rows, "d", func(_ *Config, _ *Deps, opts *[]grpc.ServerOption) { // the secret is no way in
		*opts = append(*opts, grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13})))
	})
	until(t, "all", a.moved, func(struct{}) bool { return len(a.Members()) == 4 })
	for _, m := range []*server{c, d} {
		m.Hint(100)
		until(t, "a member that nobody hears", m.holds, func(string) bool { return true })
	}
	a.Hint(101)
	until(t, "a hint at b", b.hints, func(r naming.Revision) bool {
		if r == 100 {
			t.Error("a stranger was heard")
		}
		return r == 101
	})
}
