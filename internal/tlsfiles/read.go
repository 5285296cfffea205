package tlsfiles

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// maxFile bounds a file in bytes; a bundle of all public authorities has a
// quarter of it.
const maxFile = 1 << 20

// read is the content of a file, and whether anybody on the machine may read it.
func (f File) read() (content []byte, open bool, err error) {
	fail := func(err error) ([]byte, bool, error) { return nil, false, fmt.Errorf("%s: %w", f.Setting, err) }
	info, err := os.Stat(f.Path) // before it is opened: opening a pipe would wait for its writer
	if err != nil {
		return fail(err)
	}
	if !info.Mode().IsRegular() {
		return fail(fmt.Errorf("%s is no regular file", f.Path))
	}
	in, err := os.Open(f.Path)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = in.Close() }()
	content, err = io.ReadAll(io.LimitReader(in, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", f.Path, maxFile)
	}
	if err != nil {
		return fail(err)
	}
	return content, info.Mode().Perm()&0o004 != 0, nil
}

// wrong is an error about a file's content.
func (f File) wrong(format string, args ...any) error {
	return fmt.Errorf("%s: %s %w", f.Setting, f.Path, fmt.Errorf(format, args...))
}

// content is what the files of a door hold at one moment.
type content struct {
	cert, key, ca []byte
	open          bool // anybody may read the key
}

func (c Config) read() (out content, err error) {
	if out.cert, _, err = c.Cert.read(); err != nil {
		return out, err
	}
	if out.key, out.open, err = c.Key.read(); err != nil {
		return out, err
	}
	if c.ClientCA.Path != "" {
		out.ca, _, err = c.ClientCA.read()
	}
	return out, err
}

func (c content) digest() [sha256.Size]byte {
	h := sha256.New()
	for _, part := range [][]byte{c.cert, c.key, c.ca} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// material is what is in force at a door.
type material struct {
	pair     tls.Certificate
	roots    *x509.CertPool // of the clients; nil without client CA
	expires  time.Time      // of the first certificate in the chain that ends
	warnings []string       // what works, and should not be so
}

// parse checks everything that can be checked without a client.
func (c Config) parse(in content, now time.Time) (*material, error) {
	m := &material{}
	chain, err := c.Cert.certificates(in.cert)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(in.key, []byte("ENCRYPTED")) {
		return nil, c.Key.wrong("is encrypted; a key without a passphrase is needed")
	}
	if m.pair, err = tls.X509KeyPair(in.cert, in.key); err != nil {
		return nil, c.Key.wrong("does not go with %s %s: %s", c.Cert.Setting, c.Cert.Path, strings.TrimPrefix(err.Error(), "tls: "))
	}
	leaf := chain[0]
	if err = c.Cert.timely(leaf, now); err != nil {
		return nil, err
	}
	if !usable(leaf, x509.ExtKeyUsageServerAuth) {
		return nil, c.Cert.wrong("is not for servers: its extended key usage lacks server authentication")
	}
	if c.Calls && !usable(leaf, x509.ExtKeyUsageClientAuth) {
		return nil, c.Cert.wrong("cannot be shown to other servers: its extended key usage lacks client authentication")
	}
	m.expires = leaf.NotAfter
	for _, cert := range chain[1:] {
		if cert.NotAfter.Before(m.expires) {
			m.expires = cert.NotAfter
		}
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		m.warnings = append(m.warnings, c.Cert.wrong("names no host in its SANs; clients that verify it will refuse it").Error())
	}
	if in.open {
		m.warnings = append(m.warnings, c.Key.wrong("can be read by everybody on this machine; use mode 0600").Error())
	}
	if c.ClientCA.Path != "" {
		var late []string
		m.roots, late, err = c.ClientCA.authorities(in.ca, now)
		m.warnings = append(m.warnings, late...)
	}
	return m, err
}

// certificates are those in a PEM text; there is at least one.
func (f File) certificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	blocks := 0
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		blocks++
		if b.Type != "CERTIFICATE" {
			continue // some put the key into the same file
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, f.wrong("has a certificate that cannot be read: %w", err)
		}
		out = append(out, cert)
	}
	switch {
	case blocks != bytes.Count(text, []byte("-----BEGIN ")): // pem skips what it cannot read
		return nil, f.wrong("has a damaged PEM block")
	case len(out) == 0:
		return nil, f.wrong("has no certificate in PEM")
	}
	return out, nil
}

// authorities are the CAs in a PEM text. Those out of their time are left out
// and told, as bundles outlive some of their members; one must remain.
func (f File) authorities(text []byte, now time.Time) (pool *x509.CertPool, late []string, err error) {
	all, err := f.certificates(text)
	if err != nil {
		return nil, nil, err
	}
	pool = x509.NewCertPool()
	left := 0
	var last error
	for _, cert := range all {
		if !cert.IsCA || !cert.BasicConstraintsValid {
			return nil, nil, f.wrong("holds %q, which is no certificate authority", cert.Subject)
		}
		if err := f.timely(cert, now); err != nil {
			last, late = err, append(late, err.Error())
			continue
		}
		pool.AddCert(cert)
		left++
	}
	if left == 0 {
		return nil, nil, last
	}
	return pool, late, nil
}

// timely is an error when a certificate is out of its time.
func (f File) timely(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return f.wrong("expired at %s", cert.NotAfter.Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return f.wrong("is not valid before %s", cert.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// usable reports whether a certificate may be used so; one that says nothing
// may be used for everything.
func usable(cert *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) == 0 ||
		slices.Contains(cert.ExtKeyUsage, usage) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// Client is how a client speaks TLS.
type Client struct {
	CA         File   // authorities of servers; no path: those of the system
	Cert, Key  File   // what the client shows; no path: nothing
	ServerName string // that the server's certificate must have; empty: the host that is called
}

// Config reads the files. A client takes TLS 1.2 as well: which version is
// spoken is up to the server.
func (c Client) Config() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CA.Path != "" {
		text, _, err := c.CA.read()
		if err != nil {
			return nil, err
		}
		if out.RootCAs, _, err = c.CA.authorities(text, time.Now()); err != nil {
			return nil, err
		}
	}
	if c.Cert.Path == "" && c.Key.Path == "" {
		return out, nil
	}
	if c.Cert.Path == "" || c.Key.Path == "" {
		return nil, fmt.Errorf("%s and %s go together", c.Cert.Setting, c.Key.Setting)
	}
	cert, _, err := c.Cert.read()
	if err != nil {
		return nil, err
	}
	key, _, err := c.Key.read()
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, c.Key.wrong("does not go with %s %s: %s", c.Cert.Setting, c.Cert.Path, strings.TrimPrefix(err.Error(), "tls: "))
	}
	out.Certificates = []tls.Certificate{pair}
	return out, c.Cert.timely(pair.Leaf, time.Now())
}
