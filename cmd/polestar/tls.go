package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"polestar/internal/lifecycle"
	"polestar/internal/tlsfiles"
	"polestar/web"
)

// tlsConfig is the TLS of the doors: what all share, and what one has instead.
type tlsConfig struct {
	Shared, Polaris, XDS, HTTP, Heartbeat, Peer tlsfiles.Config
}

func defaultTLS() tlsConfig {
	return tlsConfig{
		Shared: tlsfiles.Named("tls"), Polaris: tlsfiles.Named("polaris.tls"), XDS: tlsfiles.Named("xds.tls"), HTTP: tlsfiles.Named("http.tls"),
		Heartbeat: tlsfiles.Named("heartbeat.tls"), Peer: tlsfiles.Named("peer.tls"),
	}
}

// tlsSettings are the keys of TLS.
func tlsSettings() []setting {
	out := []setting{
		toggle("allow-plaintext", "doors without TLS may be bound to addresses that other machines reach", func(c *Config) *bool { return &c.AllowPlaintext }),
		{
			"cluster.peer-identities", "names in the certificates of the other servers, with commas between; empty: whoever the peers' CA vouches for",
			func(c *Config) string { return strings.Join(c.PeerIdentities, ",") },
			func(c *Config, s string) error {
				c.PeerIdentities = nil
				for name := range strings.SplitSeq(s, ",") {
					if name = strings.TrimSpace(name); name != "" {
						c.PeerIdentities = append(c.PeerIdentities, name)
					}
				}
				return nil
			},
		},
	}
	for _, d := range []struct {
		prefix, of string
		at         func(*Config) *tlsfiles.Config
	}{
		{"tls", "of every door that has none of its own", func(c *Config) *tlsfiles.Config { return &c.TLS.Shared }},
		{"polaris.tls", "of the Polaris door; none: plain text", func(c *Config) *tlsfiles.Config { return &c.TLS.Polaris }},
		{"xds.tls", "of the xDS door; none: plain text", func(c *Config) *tlsfiles.Config { return &c.TLS.XDS }},
		{"http.tls", "of the HTTP door; none: plain text", func(c *Config) *tlsfiles.Config { return &c.TLS.HTTP }},
		{"heartbeat.tls", "of the heartbeat door; none: plain text", func(c *Config) *tlsfiles.Config { return &c.TLS.Heartbeat }},
		{"peer.tls", "of the peer door, shown to other servers too; none: plain text", func(c *Config) *tlsfiles.Config { return &c.TLS.Peer }},
	} {
		out = append(
			out,
			pemFile(d.prefix+".cert-file", "PEM file with the certificate chain "+d.of, func(c *Config) *string { return &d.at(c).Cert.Path }),
			pemFile(d.prefix+".key-file", "PEM file with its key", func(c *Config) *string { return &d.at(c).Key.Path }),
			pemFile(d.prefix+".client-ca-file", "PEM file with the authorities of client certificates", func(c *Config) *string { return &d.at(c).ClientCA.Path }),
			checked(d.prefix+".client-auth", "none, request or require a client certificate; empty: require with a client CA", func(c *Config) *string { return &d.at(c).Auth }, tlsfiles.ParseAuth),
			checked(d.prefix+".min-version", "oldest version of TLS, 1.2 or 1.3; empty: 1.3", func(c *Config) *string { return &d.at(c).Min }, tlsfiles.ParseMin),
		)
	}
	return out
}

// pemFile is the name of a file. The text of a key in its place must not be
// kept, for it would be printed.
func pemFile(key, help string, at func(*Config) *string) setting {
	return checked(key, help, at, func(s string) (string, error) {
		if strings.Contains(s, "-----BEGIN") {
			return "", errors.New("the name of a file is expected, not what it holds")
		}
		return s, nil
	})
}

func checked(key, help string, at func(*Config) *string, check func(string) (string, error)) setting {
	return setting{
		key, help, func(c *Config) string { return *at(c) },
		func(c *Config, s string) (err error) { *at(c), err = check(s); return err },
	}
}

// doorOf is a door as it will be: where, and with which TLS.
type doorOf struct {
	name, addr string
	tls        tlsfiles.Config
}

// doors lists the doors that this configuration opens.
func (c *Config) doors() []doorOf {
	t := &c.TLS
	all := []doorOf{
		{"polaris", c.Polaris.Addr, t.Polaris.Or(t.Shared)},
		{"xds", c.XDS.Addr, t.XDS.Or(t.Shared)},
		{"http", c.HTTPAddr, t.HTTP.Or(t.Shared)},
	}
	if c.Heartbeat.Addr != "" {
		all = append(all, doorOf{"heartbeat", c.Heartbeat.Addr, t.Heartbeat.Or(t.Shared)})
	}
	if c.Store == backendMySQL && c.Peer.Addr != "" {
		all = append(all, doorOf{"peer", c.Peer.Addr, c.peerTLS()})
	}
	return all
}

// peerTLS is the TLS between servers.
func (c *Config) peerTLS() tlsfiles.Config {
	p := c.TLS.Peer.Or(c.TLS.Shared)
	p.Calls = p.Requires()
	return p
}

// validateTLS checks what needs no file.
func (c *Config) validateTLS() error {
	var errs []error
	told := map[string]bool{} // what is wrong with what all share is so for each
	for _, d := range c.doors() {
		if err := d.tls.Validate(); err != nil && !told[err.Error()] {
			told[err.Error()] = true
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, c.validatePeerTLS())...)
}

// validatePeerTLS checks that servers can tell each other from clients.
func (c *Config) validatePeerTLS() error {
	if c.Store != backendMySQL || c.Peer.Addr == "" {
		return nil
	}
	p := c.peerTLS()
	switch {
	case !p.On():
		if len(c.PeerIdentities) > 0 {
			return errors.New("cluster.peer-identities: names are proved by certificates; set peer.tls.cert-file, key-file and client-ca-file")
		}
	case p.ClientCA.Path == "":
		return errors.New("peer.tls.client-ca-file: must not be empty with TLS: servers verify each other")
	case len(c.PeerIdentities) > 0 && !p.Requires():
		return errors.New("peer.tls.client-auth: must be require when there are cluster.peer-identities")
	case c.ClusterSecretFile == "" && p.Requires() && len(c.PeerIdentities) == 0 && c.TLS.Peer.ClientCA.Path == "":
		return errors.New("cluster.peer-identities: must not be empty when servers and clients share an authority (tls.client-ca-file): " +
			"any client could pass for a server; or give servers their own peer.tls.client-ca-file")
	}
	return nil
}

// buildTLS reads the files of all doors that speak it.
func (a *app) buildTLS() (err error) {
	if a.tls, err = tlsfiles.New(a.metrics, a.log.Named("tls")); err != nil {
		return err
	}
	a.tlsOf = map[string]*tlsfiles.Door{}
	for _, d := range a.cfg.doors() {
		if !d.tls.On() {
			continue
		}
		var peers []string
		if d.name == "peer" {
			peers = a.cfg.PeerIdentities
		}
		if a.tlsOf[d.name], err = a.tls.Add(d.name, d.tls, peers...); err != nil {
			return fmt.Errorf("TLS of the %s door: %w", d.name, err)
		}
	}
	return nil
}

// creds are the options of a gRPC door that speaks TLS; none for plain text.
func (a *app) creds(door string) []grpc.ServerOption {
	d := a.tlsOf[door]
	if d == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.Creds(d.Credentials())}
}

// peerCreds are what the other servers are called with; nil for plain text.
func (a *app) peerCreds() credentials.TransportCredentials {
	if d := a.tlsOf["peer"]; d != nil {
		return d.Dial()
	}
	return nil
}

// httpTLS is the TLS of the HTTP door; nil for plain text.
func (a *app) httpTLS() *tls.Config {
	if d := a.tlsOf["http"]; d != nil {
		return d.Config("h2", "http/1.1")
	}
	return nil
}

// tlsParts follow the files of TLS; a hang-up makes them be read at once.
func (a *app) tlsParts() []lifecycle.Component {
	if len(a.tlsOf) == 0 {
		return nil
	}
	return []lifecycle.Component{{Name: "TLS files", Run: func(ctx context.Context) error {
		again := make(chan os.Signal, 1)
		signal.Notify(again, syscall.SIGHUP)
		defer signal.Stop(again)
		return a.tls.Run(ctx, again)
	}}}
}

// checkTLS tells for readiness what is wrong with certificates: connections
// that are open go on, so nothing of it keeps the server from answering.
func (a *app) checkTLS() web.Check {
	return web.Check{Name: "tls", Ready: true, Text: strings.Join(a.tls.Trouble(), "; ")}
}
