package localca

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

func TestIssuedCertificatesVerify(t *testing.T) {
	made, err := New("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := made.PEM()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := Open(cert, key) // as from files
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := ca.Issue(Request{
		Name: "s", Hosts: []string{"polestar.internal", "10.0.0.1", "::1"}, URIs: []string{"spiffe://polestar/s"}, Server: true, Life: 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(made.Cert())
	for _, host := range []string{"polestar.internal", "10.0.0.1", "::1"} {
		if _, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("a server's certificate may call")
	}
	if pair.Leaf.URIs[0].String() != "spiffe://polestar/s" || pair.Leaf.IsCA {
		t.Errorf("%v, CA %t", pair.Leaf.URIs, pair.Leaf.IsCA)
	}
	if !pair.Leaf.NotAfter.Equal(made.Cert().NotAfter) {
		t.Errorf("it is valid until %s, longer than the authority (%s)", pair.Leaf.NotAfter, made.Cert().NotAfter)
	}
}

func TestOpenRefusesWhatCannotSign(t *testing.T) {
	ca, err := New("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(Request{Name: "no authority", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Open(cert, key); err == nil || !strings.Contains(err.Error(), "authority") {
		t.Errorf("%v", err)
	}
	old, err := New("old", -time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if cert, key, err = old.PEM(); err != nil {
		t.Fatal(err)
	}
	if _, err = Open(cert, key); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("%v", err)
	}
}
