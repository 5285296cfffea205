package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"polestar/internal/tlsfiles"
)

// remote is a door of a server that a command calls.
type remote struct {
	clientTLS
	addr string // host:port
}

// flags adds the flag for the door, those of TLS, and those for the token to
// show there.
func (r *remote) flags(fs *pflag.FlagSet, name, def, usage string) {
	r.addr = def
	fs.Var((*door)(r), name, usage)
	r.clientTLS.flags(fs)
	tokenFlags(fs)
}

// httpFlags adds the flags of commands that ask the HTTP door.
func (r *remote) httpFlags(fs *pflag.FlagSet) {
	r.flags(fs, "server", "127.0.0.1:8090", "HTTP address of the server; https:// in front of it speaks TLS")
}

// request is one of the admin API; the path is what follows /api/v1.
func (r *remote) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	scheme := "http://"
	if r.wanted() {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+r.addr+"/api/v1"+path, body)
	if err != nil {
		return nil, fmt.Errorf("--server %q: %w", r.addr, err)
	}
	return req, nil
}

// client is for one answer after the other; timeout bounds each.
func (r *remote) client(timeout time.Duration) (*http.Client, error) {
	c, err := r.config()
	if err != nil || c == nil {
		return &http.Client{Timeout: timeout}, err
	}
	return &http.Client{Timeout: timeout, Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true, DisableKeepAlives: true}}, nil
}

// door is the value of a flag that names a door of a server: host:port. A
// scheme in front of it is what people paste from a browser; without a check it
// would be taken for the host and looked up.
type door remote

// String implements pflag.Value.
func (d *door) String() string { return d.addr }

// Type implements pflag.Value.
func (d *door) Type() string { return "host:port" }

// Set implements pflag.Value.
func (d *door) Set(text string) error {
	addr, scheme := strings.TrimSuffix(text, "/"), ""
	if before, after, found := strings.Cut(addr, "://"); found {
		addr, scheme = after, before
	}
	if scheme != "" && scheme != "http" && scheme != "https" {
		return fmt.Errorf("%s is not spoken here; host:port is expected", scheme)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "0" || !isPort(port) {
		return errors.New("host:port is expected")
	}
	d.addr, d.scheme = addr, scheme
	return nil
}

// clientTLS is how a command speaks TLS.
type clientTLS struct {
	on                  bool
	scheme              string // that the address was given with
	ca, cert, key, name string
}

// The variables that stand for flags of TLS, for commands that are clients.
const (
	envClientTLS  = envPrefix + "CLIENT_TLS"
	envClientCA   = envPrefix + "CLIENT_CA_FILE"
	envClientCert = envPrefix + "CLIENT_CERT_FILE"
	envClientKey  = envPrefix + "CLIENT_KEY_FILE"
	envServerName = envPrefix + "CLIENT_SERVER_NAME"
)

func (c *clientTLS) flags(fs *pflag.FlagSet) {
	fs.BoolVar(&c.on, "tls", os.Getenv(envClientTLS) == "true", "speak TLS; any of the following says so too (env "+envClientTLS+")")
	fs.StringVar(&c.ca, "ca-file", os.Getenv(envClientCA), "authorities of the server's certificate, PEM; none: those of the system (env "+envClientCA+")")
	fs.StringVar(&c.cert, "cert-file", os.Getenv(envClientCert), "certificate to show, PEM (env "+envClientCert+")")
	fs.StringVar(&c.key, "key-file", os.Getenv(envClientKey), "its key, PEM (env "+envClientKey+")")
	fs.StringVar(&c.name, "server-name", os.Getenv(envServerName), "name in the server's certificate, when it is not the host (env "+envServerName+")")
}

// wanted reports whether anything asks for TLS.
func (c *clientTLS) wanted() bool {
	return c.on || c.scheme == "https" || cmp.Or(c.ca, c.cert, c.key, c.name) != ""
}

// config reads the files; nil means plain text.
func (c *clientTLS) config() (*tls.Config, error) {
	switch {
	case !c.wanted():
		return nil, nil //nolint:nilnil // no TLS is an answer
	case c.scheme == "http":
		return nil, errors.New("http:// is plain text, but the flags or variables of TLS say otherwise; write https:// or leave it out")
	}
	return tlsfiles.Client{
		CA: tlsfiles.File{Setting: "--ca-file", Path: c.ca}, Cert: tlsfiles.File{Setting: "--cert-file", Path: c.cert},
		Key: tlsfiles.File{Setting: "--key-file", Path: c.key}, ServerName: c.name,
	}.Config()
}

// dial opens n connections to a gRPC door.
func (c *clientTLS) dial(addr string, n int, opts ...grpc.DialOption) (conns []*grpc.ClientConn, closeAll func(), err error) {
	closeAll = func() {
		for _, cc := range conns {
			_ = cc.Close() // the command is over
		}
	}
	creds := insecure.NewCredentials()
	with, err := c.config()
	if err != nil {
		return nil, nil, err
	}
	if with != nil {
		creds = credentials.NewTLS(with)
	}
	opts = append([]grpc.DialOption{grpc.WithTransportCredentials(creds), grpc.WithPerRPCCredentials(callToken{addr})}, opts...)
	for range n {
		cc, dialErr := grpc.NewClient(addr, opts...)
		if dialErr != nil {
			closeAll()
			return nil, nil, dialErr
		}
		conns = append(conns, cc)
	}
	return conns, closeAll, nil
}
