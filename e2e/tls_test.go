package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// authority signs certificates of a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// sign writes a certificate to name.pem and its key to name-key.pem.
func (a *authority) sign(t *testing.T, name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	c.Subject = pkix.Name{CommonName: name}
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	by, with := c, key
	if a.cert != nil {
		by, with = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, with)
	check(err)
	signed, err := x509.ParseCertificate(der)
	check(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	check(os.WriteFile(a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(os.WriteFile(a.file(name+"-key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return signed, key
}

// backend answers with a certificate for a DNS name, to who shows one.
func (a *authority) backend(t *testing.T, name, dns string) *harness.Backend {
	t.Helper()
	a.sign(t, name, &x509.Certificate{DNSNames: []string{dns}})
	pair, err := tls.LoadX509KeyPair(a.file(name+".pem"), a.file(name+"-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	b := &harness.Backend{Name: name, Addr: "127.0.0.1:0", TLS: &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
	}}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

// withCertificates gives a gRPC bootstrap the providers "roots" and "own".
func (a *authority) withCertificates(t *testing.T, bootstrap string) {
	t.Helper()
	raw, err := os.ReadFile(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err = json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	watch := func(files map[string]any) map[string]any {
		files["refresh_interval"] = "600s"
		return map[string]any{"plugin_name": "file_watcher", "config": files}
	}
	config["certificate_providers"] = map[string]any{
		"roots": watch(map[string]any{"ca_certificate_file": a.file("ca.pem")}),
		"own":   watch(map[string]any{"certificate_file": a.file("client.pem"), "private_key_file": a.file("client-key.pem")}),
	}
	if raw, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bootstrap, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTLSFollowsSettings: clients show a certificate and verify that of the
// instance, as the settings of the service say; they never fall back to plain
// text.
func TestTLSFollowsSettings(t *testing.T) {
	s := harness.StartServer(t)
	reg := harness.Connect(t, s.Polaris)
	ca := newAuthority(t)
	ca.sign(t, "client", &x509.Certificate{})
	good, mallory := ca.backend(t, "good", "cart.internal"), ca.backend(t, "mallory", "other.internal")
	plain, later := harness.StartBackend(t, "plain"), harness.StartBackend(t, "later")
	put := func(b *harness.Backend) {
		t.Helper()
		if err := reg.Put(harness.Instance("cart", b.Addr)); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(b *harness.Backend) {
		t.Helper()
		if err := reg.Remove(harness.Instance("cart", b.Addr)); err != nil {
			t.Fatal(err)
		}
	}
	put(plain)
	bootstrap := bootstrapFile(t, "grpc", "--xds-addr", s.XDS)
	ca.withCertificates(t, bootstrap)
	envoy := envoyOf(t, s)
	calls := map[string]caller{
		"Envoy":   func(n int) harness.Counts { return envoy.Get("cart", n) },
		"gRPC Go": viaChild(harness.StartGRPC(t, "go", bootstrap, "xds:///cart.default")),
	}
	each := func(why string, check func(caller) error) {
		t.Helper()
		for name, call := range calls {
			if err := harness.Poll(soon, func() error { return check(call) }); err != nil {
				t.Errorf("%s, %s: %v", why, name, err)
			}
		}
	}
	from := func(name string) func(caller) error {
		return func(c caller) error { return answeredBy(c, name) }
	}
	fails := func(c caller) error {
		if got := c(3); got.Errors < 3 {
			return errors.New("it is answered")
		}
		return nil
	}
	each("without TLS", from("plain"))
	x := &settings{server: s}
	x.set(t, "tls=mtls", "tls-ca="+ca.file("ca.pem"), "tls-cert="+ca.file("client.pem"), "tls-key="+ca.file("client-key.pem"),
		"tls-sni=cart.internal", "tls-ca-provider=roots", "tls-cert-provider=own")
	remove(plain) // gRPC keeps the connections that it has
	put(good)
	each("with both certificates", from("good"))
	remove(good)
	put(later)
	each("an instance that speaks plain text", fails)
	remove(later)
	put(mallory)
	each("an instance with another's name", fails)
	x.set(t, "tls=tls", "tls-ca="+ca.file("ca.pem"), "tls-san=other.internal", "tls-ca-provider=roots")
	each("no certificate of the client", fails)
	remove(mallory)
	put(plain)
	x.set(t)
	each("without TLS again", from("plain"))
}
