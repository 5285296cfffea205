package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"polestar/e2e/harness"
)

// certificates is a directory that polestar tls init filled.
type certificates struct{ dir string }

func newCertificates(t *testing.T) certificates {
	t.Helper()
	c := certificates{filepath.Join(t.TempDir(), "tls")}
	if _, err := harness.Run("tls", "init", "--dir", c.dir, "--client", "web"); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c certificates) file(name string) string { return filepath.Join(c.dir, name) }

func (c certificates) read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(c.file(name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// put replaces files at once, as tools that renew certificates do.
func (c certificates) put(t *testing.T, files map[string][]byte) {
	t.Helper()
	for name, text := range files {
		next := c.file("." + name)
		err := os.WriteFile(next, text, 0o600)
		if err == nil {
			err = os.Rename(next, c.file(name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// client are the flags of a client that shows its certificate.
func (c certificates) client() []string { return c.of("web") }

// of are the flags of the client of a name.
func (c certificates) of(client string) []string {
	return []string{"--ca-file", c.file("ca.pem"), "--cert-file", c.file("client-" + client + ".pem"), "--key-file", c.file("client-" + client + "-key.pem")}
}

// xds are the arguments of a server whose xDS door has these certificates.
func (c certificates) xds(auth string) []string {
	return []string{
		"--xds.tls.cert-file", c.file("server.pem"), "--xds.tls.key-file", c.file("server-key.pem"),
		"--xds.tls.client-ca-file", c.file("ca.pem"), "--xds.tls.client-auth", auth,
	}
}

// quickly makes a gRPC client look at its files each second.
func quickly(t *testing.T, bootstrap string) string {
	t.Helper()
	text, err := os.ReadFile(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bootstrap, bytes.ReplaceAll(text, []byte(`"30s"`), []byte(`"1s"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	return bootstrap
}

// streams are the xDS streams of a server, by node.
func streams(t *testing.T, s *harness.Server) map[string]uint64 {
	t.Helper()
	all, err := s.Clients()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, c := range all {
		out[c.Node] = c.Stream
	}
	return out
}

func envoyOverTLS(t *testing.T, s *harness.Server, c certificates, args ...string) *harness.Envoy {
	t.Helper()
	egress, admin := harness.FreeAddr(), harness.FreeAddr()
	args = append(append(c.client(), "--sds-dir", filepath.Join(t.TempDir(), "sds"), "--delta", "--node-id", "envoy",
		"--xds-addr", s.XDS, "--egress-address", egress, "--admin-address", admin), args...)
	return launch(t, bootstrapFile(t, "envoy", args...), egress, admin)
}

// Envoy and gRPC clients show certificates and verify the server's. All of them
// and the authority are replaced without a stream that ends; a server that
// starts with the new ones alone is reached by clients that were not touched.
func TestCertificatesOfXDSAreReplacedUnderLiveClients(t *testing.T) {
	certs, next := newCertificates(t), newCertificates(t)
	s := harness.StartServer(t, certs.xds("require")...)
	reg := harness.Connect(t, s.Polaris)
	one, two, three := harness.StartBackend(t, "one"), harness.StartBackend(t, "two"), harness.StartBackend(t, "three")
	move := func(add, remove *harness.Backend) {
		t.Helper()
		if err := reg.Put(harness.Instance("cart", add.Addr)); err != nil {
			t.Fatal(err)
		}
		if remove != nil {
			if err := reg.Remove(harness.Instance("cart", remove.Addr)); err != nil {
				t.Fatal(err)
			}
		}
	}
	move(one, nil)
	envoy := envoyOverTLS(t, s, certs)
	calls := map[string]caller{"Envoy": func(n int) harness.Counts { return envoy.Get("cart", n) }}
	for _, language := range []string{"go", "python"} {
		bootstrap := quickly(t, bootstrapFile(t, "grpc", append(certs.client(), "--xds-addr", s.XDS, "--node-id", language)...))
		calls[language] = viaChild(harness.StartGRPC(t, language, bootstrap, "xds:///cart.default"))
	}
	each := func(why, backend string) {
		t.Helper()
		for name, call := range calls {
			if err := harness.Poll(3*soon, func() error { return answeredBy(call, backend) }); err != nil {
				t.Errorf("%s, %s: %v", why, name, err)
			}
		}
	}
	each("over mutual TLS", "one")
	before := streams(t, s)
	if len(before) != 3 {
		t.Fatalf("streams: %v", before)
	}

	both := append(certs.read(t, "ca.pem"), next.read(t, "ca.pem")...)
	reloaded := func(times int) {
		t.Helper()
		harness.Wait(t, soon, func() error {
			if n := bytes.Count([]byte(s.Log.String()), []byte("new TLS files are in force")); n < times {
				return fmt.Errorf("the server took %d of %d", n, times)
			}
			return nil
		})
	}
	certs.put(t, map[string][]byte{"ca.pem": both})
	if err := s.Signal(syscall.SIGHUP); err != nil { // it looks by itself too, as below
		t.Fatal(err)
	}
	reloaded(1)
	if !bytes.Contains([]byte(s.Log.String()), []byte("told to read the files of TLS again")) {
		t.Error("SIGHUP is not heard")
	}
	leaves := map[string][]byte{}
	for _, f := range []string{"server-key.pem", "server.pem", "client-web-key.pem", "client-web.pem"} {
		leaves[f] = next.read(t, f)
	}
	certs.put(t, leaves)
	reloaded(2)
	certs.put(t, map[string][]byte{"ca.pem": next.read(t, "ca.pem")})
	reloaded(3)
	move(two, one)
	each("after the change", "two")
	if after := streams(t, s); !maps.Equal(before, after) {
		t.Errorf("streams were dropped: %v became %v", before, after)
	}

	if err := s.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	move(three, two)
	each("with new connections", "three")
}

// Who has no certificate, or one of another authority, gets nothing; nor does a
// server that its client cannot verify.
func TestXDSRefusesStrangers(t *testing.T) {
	certs, foreign := newCertificates(t), newCertificates(t)
	s := harness.StartServer(t, certs.xds("require")...)
	refused := func(why string, start func()) {
		t.Helper()
		const metric = `polestar_tls_handshake_failures_total{door="xds",reason="certificate"}`
		was, err := s.Metric(metric)
		if err != nil {
			was = 0 // none yet
		}
		start()
		harness.Wait(t, soon, func() error {
			if now, err := s.Metric(metric); err != nil || now <= was {
				return fmt.Errorf("%s: %v refusals after %v: %w", why, now, was, err)
			}
			return nil
		})
	}
	envoyWith := func(stat string, flags ...string) {
		t.Helper()
		egress, admin := harness.FreeAddr(), harness.FreeAddr()
		path := bootstrapFile(t, "envoy", append(flags, "--xds-addr", s.XDS, "--egress-address", egress, "--admin-address", admin)...)
		e, err := harness.LaunchEnvoyUntil(path, egress, admin, stat)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
	}
	grpcWith := func(flags ...string) {
		t.Helper()
		c := harness.StartGRPC(t, "go", bootstrapFile(t, "grpc", append(flags, "--xds-addr", s.XDS)...), "xds:///cart.default")
		if got := viaChild(c)(1); got.Errors != 1 {
			t.Errorf("a call succeeds: %v", got)
		}
	}
	stranger := []string{"--ca-file", certs.file("ca.pem"), "--cert-file", foreign.file("client-web.pem"), "--key-file", foreign.file("client-web-key.pem")}
	refused("Envoy without a certificate", func() { envoyWith("cluster.polestar.upstream_cx_total", "--ca-file", certs.file("ca.pem")) })
	refused("Envoy with another's", func() { envoyWith("cluster.polestar.upstream_cx_total", stranger...) })
	refused("gRPC without a certificate", func() { grpcWith("--ca-file", certs.file("ca.pem")) })
	refused("gRPC with another's", func() { grpcWith(stranger...) })
	// These end it themselves.
	envoyWith("cluster.polestar.ssl.fail_verify_error", foreign.client()...)
	envoyWith("cluster.polestar.ssl.fail_verify_san", append(certs.client(), "--server-name", "other.internal")...)
	grpcWith(foreign.client()...)
	if got := streams(t, s); len(got) != 0 {
		t.Errorf("streams of strangers: %v", got)
	}
}

// Envoy without --sds-dir, and gRPC in Java, which takes the authorities of its
// virtual machine, verify the server and show nothing.
func TestXDSOverTLSWithoutClientCertificates(t *testing.T) {
	certs := newCertificates(t)
	s := harness.StartServer(t, certs.xds("request")...)
	backend := harness.StartBackend(t, "one")
	if err := harness.Connect(t, s.Polaris).Put(harness.Instance("cart", backend.Addr)); err != nil {
		t.Fatal(err)
	}
	envoy := envoyOf(t, s, "--ca-file", certs.file("ca.pem"))
	if err := harness.Poll(soon, func() error { return answeredBy(func(n int) harness.Counts { return envoy.Get("cart", n) }, "one") }); err != nil {
		t.Errorf("Envoy: %v", err)
	}
	store := certs.file("trust.p12")
	out, err := exec.Command("keytool", "-importcert", "-noprompt", "-file", certs.file("ca.pem"), "-keystore", store, "-storepass", "changeit").CombinedOutput() //nolint:gosec // files of the test
	if err != nil {
		t.Fatal(errors.Join(err, errors.New(string(out))))
	}
	t.Setenv("JAVA_TOOL_OPTIONS", "-Djavax.net.ssl.trustStore="+store+" -Djavax.net.ssl.trustStorePassword=changeit")
	java := viaChild(harness.StartGRPC(t, "java", bootstrapFile(t, "grpc", "--tls", "--xds-addr", s.XDS), "xds:///cart.default"))
	if err := harness.Poll(3*soon, func() error { return answeredBy(java, "one") }); err != nil {
		t.Errorf("Java: %v", err)
	}
}

// polaris-java shows a certificate. polaris-go speaks plain text only.
func TestPolarisJavaOverMutualTLS(t *testing.T) {
	certs := newCertificates(t)
	if _, err := harness.Run("tls", "init", "--dir", certs.dir, "--client", "java", "--rsa"); err != nil {
		t.Fatal(err)
	}
	s := harness.StartServer(t, "--polaris.tls.cert-file", certs.file("server.pem"), "--polaris.tls.key-file", certs.file("server-key.pem"),
		"--polaris.tls.client-ca-file", certs.file("ca.pem"))
	command := javaDriver(t)
	env := []string{
		"POLARIS_CA_FILE=" + certs.file("ca.pem"), "POLARIS_CERT_FILE=" + certs.file("client-java.pem"), "POLARIS_KEY_FILE=" + certs.file("client-java-key.pem"),
	}
	java := harness.StartChild(t, env, command[0], append(command[1:], s.Polaris)...)
	if err := java.Do("register cart 10.0.0.1 80 5 100", nil); err != nil {
		t.Fatal(err)
	}
	harness.Wait(t, soon, func() error {
		var out struct{ Instances []seen }
		if err := java.Do("all cart", &out); err != nil {
			return err
		}
		if len(out.Instances) != 1 {
			return fmt.Errorf("%d instances", len(out.Instances))
		}
		return nil
	})
	if out, err := harness.Run("get", "instances", "--server", s.HTTP); err != nil || !bytes.Contains(out, []byte("10.0.0.1:80")) {
		t.Errorf("the server has %s, %v", out, err)
	}
}
