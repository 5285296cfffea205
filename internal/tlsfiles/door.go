package tlsfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"
)

// Door is the TLS of one door. What it gives out follows the files.
type Door struct {
	name  string
	cfg   Config
	peers []string // who may come in, and who is called; empty: whom the CA vouches for
	log   *zap.Logger
	meter *meter
	tell  *rate.Limiter // refusals in the log: who is refused must not fill it

	now atomic.Pointer[material]

	state // owned by the watcher
}

// server is the configuration of one handshake. There are no session tickets:
// a client whose authority is gone could come back with one.
func (d *Door) server(protocols []string) *tls.Config {
	m := d.now.Load()
	out := &tls.Config{
		MinVersion: d.cfg.minVersion(), Certificates: []tls.Certificate{m.pair}, NextProtos: protocols,
		ClientAuth: d.cfg.clientAuth(), ClientCAs: m.roots, SessionTicketsDisabled: true,
	}
	if len(d.peers) > 0 {
		out.VerifyConnection = func(s tls.ConnectionState) error { return d.known(Verified(&s)) }
	}
	return out
}

// Config is for a server that speaks these protocols (ALPN).
func (d *Door) Config(protocols ...string) *tls.Config {
	out := d.server(protocols)
	out.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return d.server(protocols), nil }
	return out
}

// known is an error when none of the names is that of a peer.
func (d *Door) known(names []string) error {
	for _, n := range names {
		if slices.Contains(d.peers, n) {
			return nil
		}
	}
	return &tls.CertificateVerificationError{Err: fmt.Errorf("the certificate is one of %q, not of a peer", names)}
}

// Credentials are for a gRPC server. Handshakes that fail are counted and, a
// few a second, logged.
func (d *Door) Credentials() credentials.TransportCredentials {
	return &serverCreds{credentials.NewTLS(d.Config("h2")), d}
}

type serverCreds struct {
	credentials.TransportCredentials
	door *Door
}

// ServerHandshake implements credentials.TransportCredentials.
func (c *serverCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		c.door.refused(raw.RemoteAddr(), err)
	}
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (c *serverCreds) Clone() credentials.TransportCredentials {
	return &serverCreds{c.TransportCredentials.Clone(), c.door}
}

func (d *Door) refused(who net.Addr, err error) {
	why := reasonOf(err)
	d.meter.refused.WithLabelValues(d.name, why).Inc()
	if why != "closed" && d.tell.Allow() {
		d.log.Warn("a TLS handshake failed", zap.String("door", d.name), zap.Stringer("client", who), zap.String("reason", why), zap.Error(err))
	}
}

// reasonOf sorts failures of handshakes into few classes.
func reasonOf(err error) string {
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	// The second has no type.
	case unverified, strings.Contains(err.Error(), "didn't provide a certificate"):
		return "certificate"
	case plain:
		return "no TLS"
	case ok && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF):
		return "closed"
	default:
		return "other"
	}
}

// Dial returns what a server calls its peers with: the certificate of this
// door, and its authorities to verify theirs. With names of peers, theirs must
// be one of those, whatever host was called; else it must be for that host.
func (d *Door) Dial() credentials.TransportCredentials {
	return &dialCreds{credentials.NewTLS(d.client()), d}
}

func (d *Door) client() *tls.Config {
	m := d.now.Load()
	out := &tls.Config{MinVersion: d.cfg.minVersion(), Certificates: []tls.Certificate{m.pair}, RootCAs: m.roots}
	if len(d.peers) > 0 {
		out.InsecureSkipVerify = true // verified below, by name of the peer instead of its host
		out.VerifyConnection = func(s tls.ConnectionState) error { return d.verify(&s, m.roots) }
	}
	return out
}

func (d *Door) verify(s *tls.ConnectionState, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	leaf := s.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, CurrentTime: time.Now(),
	})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
	}
	return d.known(Identities(leaf))
}

// dialCreds take what is in force at each handshake.
type dialCreds struct {
	credentials.TransportCredentials
	door *Door
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *dialCreds) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(c.door.client()).ClientHandshake(ctx, authority, raw)
}

// Clone implements credentials.TransportCredentials.
func (c *dialCreds) Clone() credentials.TransportCredentials {
	return &dialCreds{c.TransportCredentials.Clone(), c.door}
}
