package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
)

// Verified returns who the other side of a connection proved to be, as
// [Identities] says; nothing when its certificate was not verified.
func Verified(s *tls.ConnectionState) []string {
	if s == nil || len(s.VerifiedChains) == 0 || len(s.PeerCertificates) == 0 {
		return nil
	}
	return Identities(s.PeerCertificates[0])
}

// Identities returns the names in a certificate: the URIs of its SANs, SPIFFE
// ids first, then its DNS names. The common name counts only without any SAN
// (RFC 6125), and never when it looks like a URI: it could be taken for one.
func Identities(c *x509.Certificate) []string {
	var spiffe, others []string
	for _, u := range c.URIs {
		if u.Scheme == "spiffe" {
			spiffe = append(spiffe, u.String())
		} else {
			others = append(others, u.String())
		}
	}
	out := append(append(spiffe, others...), c.DNSNames...)
	if len(out)+len(c.IPAddresses)+len(c.EmailAddresses) == 0 && c.Subject.CommonName != "" && !strings.Contains(c.Subject.CommonName, "://") {
		out = append(out, c.Subject.CommonName)
	}
	return out
}
