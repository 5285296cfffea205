package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// pemPart is a certificate or key of a file.
type pemPart struct {
	file string
	cert *x509.Certificate
	key  crypto.Signer
	open bool // anybody may read the file
}

// tlsCheck says what files hold. It is an error when something cannot be read,
// is out of its time, or is a key of none of the certificates.
func tlsCheck(w io.Writer, files []string, now time.Time) error {
	var parts []pemPart
	var errs []error
	for _, f := range files {
		p, err := readParts(f)
		parts, errs = append(parts, p...), append(errs, err)
	}
	certs := 0
	for _, p := range parts {
		if p.cert != nil {
			certs++
		}
	}
	for _, p := range parts {
		var err error
		if p.cert != nil {
			err = showCert(w, p, now)
		} else {
			err = showKey(w, p, parts, certs)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func readParts(file string) (out []pemPart, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file) //nolint:gosec // whoever calls it names it
	if err != nil {
		return nil, err
	}
	blocks := 0
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		blocks++
		p := pemPart{file: file, open: info.Mode().Perm()&0o004 != 0}
		if b.Type == "CERTIFICATE" {
			p.cert, err = x509.ParseCertificate(b.Bytes)
		} else {
			p.key, err = parseKey(b)
		}
		if err != nil {
			return out, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, p)
	}
	if blocks == 0 || blocks != bytes.Count(text, []byte("-----BEGIN ")) {
		return out, fmt.Errorf("%s: holds no PEM, or a damaged block", file)
	}
	return out, nil
}

func parseKey(b *pem.Block) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		if key, err = x509.ParseECPrivateKey(b.Bytes); err != nil {
			key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
		}
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, fmt.Errorf("%q is neither a certificate nor a key that can be read", b.Type)
	}
	return signer, nil
}

func showCert(w io.Writer, p pemPart, now time.Time) error {
	c := p.cert
	left := c.NotAfter.Sub(now)
	state := fmt.Sprintf("%d days left", int(left.Hours()/24))
	var bad error
	switch {
	case left < 0:
		state = "EXPIRED"
		bad = fmt.Errorf("%s: expired at %s", p.file, c.NotAfter.Format(time.RFC3339))
	case now.Before(c.NotBefore):
		state = "NOT YET"
		bad = fmt.Errorf("%s: is not valid before %s", p.file, c.NotBefore.Format(time.RFC3339))
	}
	_, err := fmt.Fprintf(w, "%s: %s\n  subject    %s\n  names      %s\n  issued by  %s\n  valid      %s to %s, %s\n",
		p.file, purposeOf(c), c.Subject, dash(strings.Join(namesOf(c), ", ")), c.Issuer, c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339), state)
	return errors.Join(bad, err)
}

// purposeOf says what a certificate may be used for.
func purposeOf(c *x509.Certificate) string {
	if c.IsCA {
		return "certificate authority"
	}
	var uses []string
	for _, u := range c.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageServerAuth:
			uses = append(uses, "servers")
		case x509.ExtKeyUsageClientAuth:
			uses = append(uses, "clients")
		default:
			uses = append(uses, "other uses")
		}
	}
	if len(uses) == 0 {
		return "certificate for every use"
	}
	return "certificate for " + strings.Join(uses, " and ")
}

func namesOf(c *x509.Certificate) (out []string) {
	for _, u := range c.URIs {
		out = append(out, u.String())
	}
	out = append(out, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

func showKey(w io.Writer, p pemPart, all []pemPart, certs int) error {
	of := "of none of the certificates given"
	var bad error
	for _, c := range all {
		public, ok := p.key.Public().(interface {
			Equal(other crypto.PublicKey) bool
		})
		if c.cert != nil && ok && public.Equal(c.cert.PublicKey) {
			of = "of " + c.file
		}
	}
	if certs == 0 {
		of = "of a certificate that is not given"
	} else if strings.HasPrefix(of, "of none") {
		bad = fmt.Errorf("%s: the key goes with none of the certificates", p.file)
	}
	if p.open {
		of += "; EVERYBODY on this machine can read it, use mode 0600"
	}
	_, err := fmt.Fprintf(w, "%s: private key (%s) %s\n", p.file, algorithm(p.key), of)
	return errors.Join(bad, err)
}

func algorithm(key crypto.Signer) string {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PrivateKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PrivateKey:
		return "Ed25519"
	default:
		return fmt.Sprintf("%T", key)
	}
}
