package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"polestar/internal/tlsfiles"
	"polestar/xds/resource"
)

// secured makes a server speak TLS with the files in dir on every door, and
// open the heartbeat door too.
func secured(t *testing.T, dir string) func(*Config) {
	t.Helper()
	secret := secretFile(t, secretOfTests)
	return func(c *Config) {
		c.TLS.Shared.Cert.Path, c.TLS.Shared.Key.Path = filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem")
		c.TLS.Shared.ClientCA.Path = filepath.Join(dir, "ca.pem")
		c.Heartbeat.Addr, c.HeartbeatTokenFile = "127.0.0.1:0", secret
	}
}

func (w *whole) grpcDoors() map[string]string {
	return map[string]string{"polaris": w.app.polaris.Addr().String(), "xds": w.app.xds.Addr().String(), "heartbeat": w.beatDoor.Addr().String()}
}

// clientOf is the TLS of a client with the certificate "client-NAME" of a
// directory; without a name it shows none.
func clientOf(t *testing.T, dir, name string) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(content(t, dir, "ca.pem"))
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}
	if name != "" {
		pair, err := tls.X509KeyPair(content(t, dir, "client-"+name+".pem"), content(t, dir, "client-"+name+"-key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// checkHealth makes one call on a connection of its own.
func checkHealth(t *testing.T, addr string, creds credentials.TransportCredentials) error {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = healthv1.NewHealthClient(cc).Check(ctx, &healthv1.HealthCheckRequest{})
	return err
}

// reply is what a test looks at of an answer.
type reply struct {
	code        int
	proto, body string
}

func httpGet(t *testing.T, url string, with *tls.Config, h2 bool) (reply, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: with.Clone(), ForceAttemptHTTP2: h2}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Proto, string(body)}, err
}

func TestEveryDoorSpeaksTLSAndAsksForACertificate(t *testing.T) {
	dir, _ := madeFiles(t)
	foreign, _ := madeFiles(t)
	w := startWhole(t, t.TempDir(), secured(t, dir))
	good, none, wrong := clientOf(t, dir, "admin"), clientOf(t, dir, ""), clientOf(t, dir, "")
	wrong.Certificates = clientOf(t, foreign, "admin").Certificates
	for door, addr := range w.grpcDoors() {
		if err := checkHealth(t, addr, credentials.NewTLS(good)); err != nil {
			t.Errorf("%s door, good certificate: %v", door, err)
		}
		for name, creds := range map[string]credentials.TransportCredentials{
			"no certificate": credentials.NewTLS(none), "a certificate of another authority": credentials.NewTLS(wrong),
			"a server of another authority": credentials.NewTLS(clientOf(t, foreign, "admin")), "plain text": insecure.NewCredentials(),
		} {
			began := time.Now()
			if err := checkHealth(t, addr, creds); err == nil {
				t.Errorf("%s door, %s: it is answered", door, name)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s door, %s: the end comes after %s", door, name, took)
			}
		}
	}
	at := "https://" + w.web.Addr().String()
	for want, h2 := range map[string]bool{"HTTP/2.0": true, "HTTP/1.1": false} {
		res, err := httpGet(t, at+"/readyz", good, h2)
		if err != nil || res.code != http.StatusOK || res.proto != want {
			t.Errorf("%s: %v, %v", want, res, err)
		}
	}
	for name, c := range map[string]*tls.Config{"no certificate": none, "another authority's": wrong} {
		if res, err := httpGet(t, at+"/readyz", c, false); err == nil {
			t.Errorf("HTTP door, %s: %v", name, res)
		}
	}
	if res, err := httpGet(t, "http://"+w.web.Addr().String()+"/readyz", nil, false); err != nil || res.code != http.StatusBadRequest || !strings.Contains(res.body, "HTTPS") {
		t.Errorf("plain HTTP: %v %v", res, err)
	}
	metrics, err := httpGet(t, at+"/metrics", good, true)
	for _, want := range []string{
		`polestar_tls_certificate_expiry_seconds{door="xds"} 3.15`, `polestar_tls_reload_failures_total{door="http"} 0`,
		`polestar_tls_handshake_failures_total{door="polaris",reason="certificate"}`, `polestar_tls_handshake_failures_total{door="heartbeat",reason="no TLS"}`,
	} {
		if err != nil || !strings.Contains(metrics.body, want) {
			t.Errorf("metrics lack %s (%v)", want, err)
		}
	}
}

// Plain doors end TLS clients at once too.
func TestTLSAtAPlainDoorEndsAtOnce(t *testing.T) {
	dir, _ := madeFiles(t)
	w := startWhole(t, t.TempDir())
	for _, addr := range []string{w.app.polaris.Addr().String(), w.app.xds.Addr().String(), w.web.Addr().String()} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(8 * time.Second))
		if err = tls.Client(conn, clientOf(t, dir, "")).HandshakeContext(t.Context()); err == nil || os.IsTimeout(err) {
			t.Errorf("%s: %v", addr, err)
		}
		_ = conn.Close()
	}
}

// Who has not finished a handshake counts like everybody else.
func TestSilentConnectionsCountAtATLSDoor(t *testing.T) {
	dir, _ := madeFiles(t)
	w := startWhole(t, t.TempDir(), secured(t, dir), func(c *Config) { c.Polaris.MaxConnectionsPerIP = 2 })
	addr := w.app.polaris.Addr().String()
	var open []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		open = append(open, conn)
	}
	_ = open[2].SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := open[2].Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("one too many is not closed: %v", err)
	}
	if err := checkHealth(t, addr, credentials.NewTLS(clientOf(t, dir, "admin"))); err == nil {
		t.Error("one more comes in")
	}
	_ = open[0].Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); checkHealth(t, addr, credentials.NewTLS(clientOf(t, dir, "admin"))) != nil; <-tick.C {
		if time.Since(began) > 20*time.Second {
			t.Fatal("a place that is free again is not given away")
		}
	}
}

// New certificates and authorities are in force for new connections within
// seconds; a stream goes on as if nothing had happened.
func TestCertificatesAreReplacedUnderAnOpenStream(t *testing.T) {
	dir, _ := madeFiles(t)
	next, _ := madeFiles(t)
	w := startWhole(t, t.TempDir(), secured(t, dir))
	old := clientOf(t, dir, "admin")
	cc, err := grpc.NewClient(w.xdsAddr(), grpc.WithTransportCredentials(credentials.NewTLS(old)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(cc).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(nonce, version string) string {
		t.Helper()
		req := &discoveryv3.DiscoveryRequest{Node: envoyNode, TypeUrl: resource.Cluster.URL(), ResponseNonce: nonce, VersionInfo: version}
		if nonce != "" {
			req.ResourceNames = []string{"default/" + nonce} // other names: it is answered
		}
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return res.GetNonce()
	}
	nonce := ask("", "")
	for _, f := range []string{"ca.pem", "server.pem", "server-key.pem"} {
		if err := replaceFile(filepath.Join(dir, f), content(t, next, f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fresh := clientOf(t, next, "admin")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); checkHealth(t, w.xdsAddr(), credentials.NewTLS(fresh)) != nil; <-tick.C {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the new files are not in force")
		}
	}
	if err := checkHealth(t, w.xdsAddr(), credentials.NewTLS(old)); err == nil {
		t.Error("a client of the old authority still comes in")
	}
	ask(nonce, "")
}

func TestWhoIsExposedMustSaySo(t *testing.T) {
	dir, _ := madeFiles(t)
	cert := []string{"--tls.cert-file", filepath.Join(dir, "server.pem"), "--tls.key-file", filepath.Join(dir, "server-key.pem")}
	for name, c := range map[string]struct {
		args []string
		want []string // in the error; none: accepted
	}{
		"every address":      {[]string{"--xds-addr", ":15010"}, []string{"plain text", "xds (:15010)", "tls.cert-file", "allow-plaintext", "127.0.0.1"}},
		"an address":         {[]string{"--http-addr", "10.0.0.1:1"}, []string{"http (10.0.0.1:1)"}},
		"a name":             {[]string{"--polaris-addr", "registry:1"}, []string{"polaris (registry:1)"}},
		"localhost":          {[]string{"--polaris-addr", "localhost:1", "--xds-addr", "[::1]:1"}, nil},
		"allowed":            {[]string{"--xds-addr", ":15010", "--allow-plaintext", "true"}, nil},
		"TLS":                {append(cert, "--xds-addr", ":15010", "--http-addr", "0.0.0.0:1"), nil},
		"TLS but on this":    {append(cert, "--xds-addr", ":15010", "--http-addr", "0.0.0.0:1", "--http.tls.cert-file", "none"), []string{"http (0.0.0.0:1)"}},
		"TLS for another":    {[]string{"--xds-addr", ":1", "--http.tls.cert-file", "c", "--http.tls.key-file", "k"}, []string{"xds (:1)"}},
		"the heartbeat door": {[]string{"--heartbeat-addr", ":1", "--heartbeat-token-file", secretFile(t, secretOfTests)}, []string{"heartbeat (:1)"}},
	} {
		_, _, err := loadConfig(flags(t, append(c.args, "--auth.client-open=true")...), nil)
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range c.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not name %q", name, err, w)
			}
		}
	}
}

func TestMistakesOfTLSAreNamed(t *testing.T) {
	cluster := []string{"--store", "mysql", "--mysql-dsn", "u@tcp(h:1)/d", "--peer-addr", "127.0.0.1:1"}
	peer := append(slices.Clip(cluster), "--tls.cert-file", "c", "--tls.key-file", "k")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"half a pair":           {[]string{"--tls.cert-file", "c"}, "tls.key-file"},
		"half of its own":       {[]string{"--tls.cert-file", "c", "--tls.key-file", "k", "--xds.tls.key-file", "x"}, "xds.tls.cert-file"},
		"auth":                  {[]string{"--xds.tls.client-auth", "maybe"}, "xds.tls.client-auth"},
		"version":               {[]string{"--tls.min-version", "1.1"}, "tls.min-version"},
		"content for a name":    {[]string{"--tls.key-file", "-----BEGIN PRIVATE KEY-----\nMIGH"}, "tls.key-file (flag --tls.key-file): the name of a file"},
		"nothing proves a peer": {cluster, "cluster.secret-file"},
		"no CA between peers":   {peer, "peer.tls.client-ca-file"},
		"clients as peers":      {append(slices.Clip(peer), "--tls.client-ca-file", "ca"), "cluster.peer-identities"},
		"peers without TLS":     {append(slices.Clip(cluster), "--cluster.peer-identities", "x"), "cluster.peer-identities"},
		"peers unasked": {
			append(slices.Clip(peer), "--tls.client-ca-file", "ca", "--peer.tls.client-auth", "request", "--cluster.peer-identities", "x"), "peer.tls.client-auth",
		},
	} {
		_, _, err := loadConfig(flags(t, c.args...), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "MIGH") {
			t.Errorf("%s: error shows a key", name)
		}
	}
	for name, more := range map[string][]string{
		"identities":     {"--tls.client-ca-file", "ca", "--cluster.peer-identities", "spiffe://x/a, spiffe://x/b"},
		"their own CA":   {"--peer.tls.client-ca-file", "ca"},
		"secret and TLS": {"--tls.client-ca-file", "ca", "--peer.tls.client-auth", "none", "--cluster.secret-file", secretFile(t, secretOfTests)},
	} {
		if _, _, err := loadConfig(flags(t, append(slices.Clip(peer), more...)...), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A server that cannot use its files does not start.
func TestBadFilesEndTheStart(t *testing.T) {
	cfg := defaultConfig()
	cfg.TLS.XDS = tlsfiles.Named("xds.tls")
	cfg.TLS.XDS.Cert.Path, cfg.TLS.XDS.Key.Path = "/nowhere/c.pem", "/nowhere/k.pem"
	err := runServer(t.Context(), cfg, zap.NewNop())
	if err == nil || !strings.Contains(err.Error(), "xds door: xds.tls.cert-file") {
		t.Error(err)
	}
}

// Every door has its settings of TLS, and every setting its door.
func TestEveryDoorHasSettingsOfTLS(t *testing.T) {
	cfg := defaultConfig()
	cfg.Heartbeat.Addr, cfg.Peer.Addr, cfg.Store = "127.0.0.1:0", "127.0.0.1:0", backendMySQL
	keys := map[string]bool{}
	for _, s := range settings() {
		if door, ok := strings.CutSuffix(s.key, ".tls.cert-file"); ok {
			keys[door] = true
		}
	}
	for _, d := range cfg.doors() {
		if !keys[d.name] {
			t.Errorf("the %s door has no settings of TLS", d.name)
		}
		delete(keys, d.name)
	}
	if len(keys) > 0 {
		t.Errorf("settings without a door: %v", slices.Collect(maps.Keys(keys)))
	}
}
