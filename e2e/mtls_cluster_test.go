package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"polestar/e2e/harness"
	"polestar/internal/testenv"
)

// certifiedNode starts a server whose peers prove themselves by certificates
// and nothing else.
func certifiedNode(t *testing.T, db *testenv.MariaDB, c certificates, args ...string) *harness.Server {
	t.Helper()
	s := harness.NewServer(t.TempDir())
	s.Args = append([]string{
		"--store", "mysql", "--mysql-dsn", db.DSN("polestar"), "--peer-addr", harness.FreeAddr(),
		"--peer.tls.cert-file", c.file("peer.pem"), "--peer.tls.key-file", c.file("peer-key.pem"), "--peer.tls.client-ca-file", c.file("ca.pem"),
		"--cluster.peer-identities", "spiffe://polestar/cluster/main",
	}, args...)
	s.StartFor(t)
	return s
}

// Servers that prove themselves by certificates forward beats to each other; a
// server of another authority or of another name is refused.
func TestServersProveThemselvesByCertificates(t *testing.T) {
	db := startMariaDB(t)
	certs, foreign := newCertificates(t), newCertificates(t)
	a, b := certifiedNode(t, db, certs), certifiedNode(t, db, certs)
	harness.Wait(t, soon, func() error {
		for _, s := range []*harness.Server{a, b} {
			if n, err := s.Metric("polestar_cluster_members"); err != nil || n != 2 {
				return fmt.Errorf("%v members: %w", n, err)
			}
		}
		return nil
	})
	r := harness.Connect(t, a.Polaris)
	for n := range 16 { // some are the other's
		i := harness.Instance("cart", fmt.Sprintf("10.0.0.%d:80", n+1), harness.TTL(1))
		if err := r.Put(i); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Beat(t, i, 300*time.Millisecond))
	}
	harness.Wait(t, soon, func() error {
		if n, err := a.Metric("polestar_cluster_forwarded_beats_total"); err != nil || n == 0 {
			return fmt.Errorf("%v beats were forwarded: %w", n, err)
		}
		return nil
	})
	discovers(t, b, "cart", healthy(true))

	certifiedNode(t, db, foreign)
	other := newCertificates(t)
	for _, f := range []string{"ca.pem", "ca-key.pem"} { // the same authority, another cluster
		other.put(t, map[string][]byte{f: certs.read(t, f)})
	}
	if _, err := harness.Run("tls", "init", "--dir", other.dir, "--cluster", "other", "--force"); err != nil {
		t.Fatal(err)
	}
	certifiedNode(t, db, other, "--cluster.peer-identities", "spiffe://polestar/cluster/main,spiffe://polestar/cluster/other")
	harness.Wait(t, soon, func() error {
		if n, err := a.Metric(`polestar_tls_handshake_failures_total{door="peer",reason="certificate"}`); err != nil || n < 2 {
			return fmt.Errorf("%v servers were refused: %w", n, err)
		}
		return nil
	})
	if !strings.Contains(a.Log.String(), "a TLS handshake failed") {
		t.Error("the log says nothing of it")
	}
}
