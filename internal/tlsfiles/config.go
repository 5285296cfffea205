package tlsfiles

import (
	"cmp"
	"crypto/tls"
	"fmt"
)

// File is a path and the setting that names it, for errors.
type File struct{ Setting, Path string }

// Off as the certificate of a door means plain text, although all doors share
// one.
const Off = "none"

// What a door asks of its clients.
const (
	AuthNone    = "none"    // nothing; a certificate is not even asked for
	AuthRequest = "request" // who shows a certificate must show a good one
	AuthRequire = "require" // nobody without a good certificate
)

// Config is the TLS of one door.
type Config struct {
	Cert     File   // chain in PEM, leaf first; no path: plain text
	Key      File   // PEM, not encrypted
	ClientCA File   // authorities of client certificates, PEM
	Auth     string // none, request or require; empty: require with a ClientCA, else none
	Min      string // 1.2 or 1.3; empty: 1.3
	Calls    bool   // the certificate is shown to other servers too, and must be fit for that
}

// Named returns an empty config whose errors name the settings below prefix.
func Named(prefix string) Config {
	return Config{
		Cert: File{Setting: prefix + ".cert-file"}, Key: File{Setting: prefix + ".key-file"}, ClientCA: File{Setting: prefix + ".client-ca-file"},
	}
}

// On reports whether the door speaks TLS.
func (c Config) On() bool { return c.Cert.Path != "" && c.Cert.Path != Off }

// Or fills what is empty with what all doors share. Certificate and key go
// together: a pair is never made of both.
func (c Config) Or(shared Config) Config {
	if c.Cert.Path == Off {
		return Config{Cert: c.Cert, Key: c.Key, ClientCA: c.ClientCA, Calls: c.Calls}
	}
	if c.Cert.Path == "" && c.Key.Path == "" {
		c.Cert, c.Key = shared.Cert, shared.Key
	}
	if c.ClientCA.Path == "" {
		c.ClientCA = shared.ClientCA
	}
	c.Auth, c.Min = cmp.Or(c.Auth, shared.Auth), cmp.Or(c.Min, shared.Min)
	return c
}

// Validate returns an error that names the setting and what is wrong; it reads
// no file.
func (c Config) Validate() error {
	switch {
	case c.Cert.Path == Off:
		return nil
	case c.Cert.Path != "" && c.Key.Path == "":
		return fmt.Errorf("%s: must not be empty when there is a %s", c.Key.Setting, c.Cert.Setting)
	case c.Cert.Path == "" && c.Key.Path != "":
		return fmt.Errorf("%s: must not be empty when there is a %s", c.Cert.Setting, c.Key.Setting)
	case c.Cert.Path == "" && c.ClientCA.Path != "":
		return fmt.Errorf("%s: client certificates need TLS; set %s and %s", c.ClientCA.Setting, c.Cert.Setting, c.Key.Setting)
	case c.On() && c.ClientCA.Path == "" && (c.Auth == AuthRequest || c.Auth == AuthRequire):
		return fmt.Errorf("%s: must not be empty when client-auth is %s", c.ClientCA.Setting, c.Auth)
	}
	return nil
}

// ParseAuth checks a text for [Config].Auth.
func ParseAuth(s string) (string, error) {
	switch s {
	case "", AuthNone, AuthRequest, AuthRequire:
		return s, nil
	}
	return "", fmt.Errorf("%q is none of %s, %s, %s", s, AuthNone, AuthRequest, AuthRequire)
}

// ParseMin checks a text for [Config].Min.
func ParseMin(s string) (string, error) {
	switch s {
	case "", "1.2", "1.3":
		return s, nil
	}
	return "", fmt.Errorf("%q is neither 1.2 nor 1.3", s)
}

// auth is what the door asks of its clients.
func (c Config) auth() string {
	if c.Auth == "" && c.ClientCA.Path != "" {
		return AuthRequire
	}
	return cmp.Or(c.Auth, AuthNone)
}

// Requires reports whether nobody comes in without a certificate.
func (c Config) Requires() bool { return c.On() && c.auth() == AuthRequire }

func (c Config) clientAuth() tls.ClientAuthType {
	switch c.auth() {
	case AuthRequire:
		return tls.RequireAndVerifyClientCert
	case AuthRequest:
		return tls.VerifyClientCertIfGiven
	default:
		return tls.NoClientCert
	}
}

func (c Config) minVersion() uint16 {
	if c.Min == "1.2" {
		return tls.VersionTLS12
	}
	return tls.VersionTLS13
}
