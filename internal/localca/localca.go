package localca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"
)

// skew is how far a certificate reaches back, for clocks that are behind.
const skew = 5 * time.Minute

// Authority signs certificates. It may be used from any goroutine.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// New makes an authority that is valid for life from now on.
func New(name string, life time.Duration) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-skew), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert, key}, nil
}

// Open takes up an authority from the PEM of its certificate and key.
func Open(certPEM, keyPEM []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	switch {
	case !ok:
		return nil, errors.New("the key cannot sign")
	case !pair.Leaf.IsCA || !pair.Leaf.BasicConstraintsValid:
		return nil, errors.New("the certificate is not one of an authority")
	case time.Now().After(pair.Leaf.NotAfter):
		return nil, fmt.Errorf("the authority expired at %s", pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	return &Authority{pair.Leaf, key}, nil
}

// PEM returns the authority's certificate and key.
func (a *Authority) PEM() (cert, key []byte, err error) { return encode(a.cert, a.key) }

// Cert returns the authority's certificate.
func (a *Authority) Cert() *x509.Certificate { return a.cert }

// Request says what a certificate is for.
type Request struct {
	Name   string   // the common name, for people; it is no identity beside a SAN
	Hosts  []string // DNS names and IP addresses
	URIs   []string // e.g. spiffe://polestar/client/web
	Server bool     // it may answer
	Client bool     // it may call
	RSA    bool     // a key for programs that know no other; else ECDSA P-256
	From   time.Time
	Life   time.Duration // from then on; it ends with the authority at the latest
}

// Issue signs a certificate with a key of its own. Without From it is valid at
// once.
func (a *Authority) Issue(r Request) (certPEM, keyPEM []byte, err error) {
	if r.From.IsZero() {
		r.From = time.Now()
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: r.Name}, NotBefore: r.From.Add(-skew), NotAfter: r.From.Add(r.Life),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	if r.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if r.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, h := range r.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	for _, text := range r.URIs {
		u, parseErr := url.Parse(text)
		if parseErr != nil {
			return nil, nil, parseErr
		}
		template.URIs = append(template.URIs, u)
	}
	key, err := newKey(r.RSA)
	if err != nil {
		return nil, nil, err
	}
	cert, err := sign(template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	return encode(cert, key)
}

func newKey(old bool) (crypto.Signer, error) {
	if old {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, with crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, with)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func encode(cert *x509.Certificate, key crypto.Signer) (certPEM, keyPEM []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
