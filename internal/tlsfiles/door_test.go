package tlsfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"polestar/internal/localca"
)

// served is a health service behind a door.
type served struct {
	addr   string
	seen   chan []string // who opened streams
	health *health.Server
}

func serve(t *testing.T, d *Door) served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := served{l.Addr().String(), make(chan []string, 100), health.NewServer()}
	s := grpc.NewServer(grpc.Creds(d.Credentials()), grpc.ConnectionTimeout(200*time.Millisecond), grpc.ChainStreamInterceptor(
		func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			p, _ := peer.FromContext(ss.Context())
			if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
				out.seen <- Verified(&info.State)
			}
			return next(srv, ss)
		}))
	healthv1.RegisterHealthServer(s, out.health)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return out
}

// call opens a stream on a connection of its own.
func call(t *testing.T, addr string, creds credentials.TransportCredentials) (healthv1.Health_WatchClient, error) {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	stream, err := healthv1.NewHealthClient(cc).Watch(ctx, &healthv1.HealthCheckRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	return stream, err
}

func (w *world) call(addr, name string) (healthv1.Health_WatchClient, error) {
	w.t.Helper()
	return call(w.t, addr, credentials.NewTLS(must(w.client(name).Config())))
}

func TestIdentities(t *testing.T) {
	uri := func(s string) *url.URL { return must(url.Parse(s)) }
	for name, c := range map[string]struct {
		cert x509.Certificate
		want []string
	}{
		"SPIFFE first": {
			x509.Certificate{URIs: []*url.URL{uri("https://a"), uri("spiffe://td/x")}, DNSNames: []string{"d"}, Subject: pkix.Name{CommonName: "cn"}},
			[]string{"spiffe://td/x", "https://a", "d"},
		},
		"only a name":              {x509.Certificate{Subject: pkix.Name{CommonName: "cn"}}, []string{"cn"}},
		"a name beside an address": {x509.Certificate{Subject: pkix.Name{CommonName: "cn"}, IPAddresses: []net.IP{net.IPv4zero}}, nil},
		"a name like a URI":        {x509.Certificate{Subject: pkix.Name{CommonName: "spiffe://td/root"}}, nil},
		"nothing":                  {x509.Certificate{}, nil},
	} {
		if diff := cmp.Diff(c.want, Identities(&c.cert)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	claimed := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{DNSNames: []string{"d"}}}}
	if got := Verified(claimed); got != nil {
		t.Errorf("a certificate that was not verified gives %q", got)
	}
}

func TestWhoMayComeIn(t *testing.T) {
	w, foreign := newWorld(t), newWorld(t)
	w.server("s")
	w.issue("good", localca.Request{Client: true, URIs: []string{"spiffe://x/good"}})
	w.issue("server-only", localca.Request{Server: true, URIs: []string{"spiffe://x/s"}})
	foreign.issue("good", localca.Request{Client: true, URIs: []string{"spiffe://x/good"}})
	w.put("foreign-good.pem", must(os.ReadFile(foreign.file("good.pem"))))
	w.put("foreign-good-key.pem", must(os.ReadFile(foreign.file("good-key.pem"))))
	for auth, lets := range map[string]map[string]bool{
		AuthRequire: {"good": true, "": false, "foreign-good": false, "server-only": false},
		AuthRequest: {"good": true, "": true, "foreign-good": false, "server-only": false},
		AuthNone:    {"good": true, "": true, "foreign-good": true},
	} {
		cfg := w.mutual("s")
		cfg.Auth = auth
		d := watch(t)
		s := serve(t, d.add(t, cfg))
		refused := 0.0
		for name, ok := range lets {
			_, err := w.call(s.addr, name)
			if (err == nil) != ok {
				t.Errorf("%s: %q: %v", auth, name, err)
			}
			if !ok {
				refused++
			}
			if err == nil {
				who := <-s.seen
				if known := len(who) == 1 && who[0] == "spiffe://x/good"; known != (name == "good" && auth != AuthNone) {
					t.Errorf("%s: %q is taken for %q", auth, name, who)
				}
			}
		}
		// A client learns it before it is counted.
		for deadline := time.Now().Add(10 * time.Second); d.metric(t, "polestar_tls_handshake_failures_total", "certificate") < refused; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not %v refusals are counted", auth, refused)
			}
		}
	}
	if _, err := call(t, serve(t, watch(t).add(t, w.config("s"))).addr, credentials.NewTLS(must(foreign.client("").Config()))); err == nil ||
		!strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a client of another authority: %v", err)
	}
}

// Peers are known by name, in both directions.
func TestPeers(t *testing.T) {
	w := newWorld(t)
	const id = "spiffe://x/peer"
	both := func(name, id, host string) Config {
		w.issue(name, localca.Request{Server: true, Client: true, URIs: []string{id}, Hosts: []string{host}})
		c := w.mutual(name)
		c.Calls = true
		return c
	}
	one, two := both("one", id, "elsewhere"), both("two", id, "elsewhere")
	stranger, here := both("stranger", "spiffe://x/other", "127.0.0.1"), both("here", "spiffe://x/other", "127.0.0.1")
	s := serve(t, watch(t).add(t, one, id))
	if _, err := call(t, s.addr, watch(t).add(t, two, id).Dial()); err != nil {
		t.Errorf("two peers: %v", err)
	} else if got := <-s.seen; got[0] != id {
		t.Errorf("a peer is taken for %q", got)
	}
	if _, err := call(t, s.addr, watch(t).add(t, two).Dial()); err == nil {
		t.Error("without names the host must be right")
	}
	if _, err := call(t, s.addr, watch(t).add(t, two, "spiffe://x/nobody").Dial()); err == nil || !strings.Contains(err.Error(), "not of a peer") {
		t.Errorf("a server with another's name is called: %v", err)
	}
	if _, err := call(t, s.addr, watch(t).add(t, stranger, id).Dial()); err == nil {
		t.Error("a client with another's name comes in")
	}
	open := serve(t, watch(t).add(t, here))
	if _, err := call(t, open.addr, watch(t).add(t, stranger).Dial()); err != nil {
		t.Errorf("without names: %v", err)
	}
}

// What is no TLS is closed at once, and silence at the deadline.
func TestNoHandshakeNoConnection(t *testing.T) {
	w := newWorld(t)
	w.server("s")
	d := watch(t)
	s := serve(t, d.add(t, w.config("s")))
	for _, first := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", strings.Repeat("junk", 100), ""} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.WriteString(conn, first); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err = io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %.10q the connection stays open", first)
		}
		_ = conn.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); d.metric(t, "polestar_tls_handshake_failures_total", "no TLS") < 3; {
		if time.Now().After(deadline) {
			t.Fatal("not all of 3 are counted")
		}
	}
}
