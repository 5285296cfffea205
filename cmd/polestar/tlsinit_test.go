package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func madeFiles(t *testing.T, args ...string) (dir, out string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "tls")
	out, err := run(t, append([]string{"tls", "init", "--dir", dir}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return dir, out
}

func content(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTLSInit(t *testing.T) {
	dir, out := madeFiles(t, "--host", "polestar.internal", "--host", "10.0.0.1", "--client", "web", "--cluster", "c1")
	for name, mode := range map[string]os.FileMode{
		"ca.pem": 0o644, "ca-key.pem": 0o600, "server-key.pem": 0o600, "peer.pem": 0o644, "peer-key.pem": 0o600, "client-web-key.pem": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), mode)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		t.Fatal(err)
	}
	told, err := run(t, append([]string{"tls", "check"}, files...)...)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		"certificate authority", "polestar.internal, 127.0.0.1, ::1, 10.0.0.1", "spiffe://polestar/cluster/c1", "spiffe://polestar/client/web",
		"for servers and clients", "ECDSA P-256) of " + filepath.Join(dir, "server.pem"), "364 days left",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("check does not say %q:\n%s", want, told)
		}
	}
	if !strings.Contains(out, "--cluster.peer-identities spiffe://polestar/cluster/c1") {
		t.Errorf("the flags to paste are wrong:\n%s", out)
	}
}

func TestTLSInitKeepsWhatIsThere(t *testing.T) {
	dir, _ := madeFiles(t, "--host", "h1", "--cluster", "c1")
	before := map[string][]byte{}
	for _, f := range []string{"ca.pem", "server.pem", "server-key.pem", "client-admin.pem"} {
		before[f] = content(t, dir, f)
	}
	if _, err := run(t, "tls", "init", "--dir", dir, "--client", "web"); err != nil {
		t.Fatal(err)
	}
	for f, was := range before {
		if !bytes.Equal(was, content(t, dir, f)) {
			t.Errorf("%s was overwritten", f)
		}
	}
	if _, err := run(t, "tls", "init", "--dir", dir, "--host", "h2"); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("other hosts for a certificate that is there: %v", err)
	}
	if _, err := run(t, "tls", "init", "--dir", dir, "--force"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before["ca.pem"], content(t, dir, "ca.pem")) || bytes.Equal(before["server.pem"], content(t, dir, "server.pem")) {
		t.Error("--force renews certificates, and keeps the authority")
	}
	told, err := run(t, "tls", "check", filepath.Join(dir, "server.pem"), filepath.Join(dir, "peer.pem"))
	if err != nil || strings.Count(told, "h1") != 2 || !strings.Contains(told, "cluster/c1") {
		t.Errorf("renewed certificates lost their names: %v\n%s", err, told)
	}
	if _, err = run(t, "tls", "init", "--dir", dir, "--client", "java", "--rsa"); err != nil {
		t.Fatal(err)
	}
	if told, err = run(t, "tls", "check", filepath.Join(dir, "client-java-key.pem")); err != nil || !strings.Contains(told, "RSA 2048") {
		t.Errorf("--rsa: %v\n%s", err, told)
	}
	if err := os.Remove(filepath.Join(dir, "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "tls", "init", "--dir", dir); err == nil || !strings.Contains(err.Error(), "ca-key.pem") {
		t.Errorf("half an authority: %v", err)
	}
}

func TestTLSMistakesAreNamed(t *testing.T) {
	dir, _ := madeFiles(t)
	other, _ := madeFiles(t)
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"days":          {[]string{"init", "--dir", dir, "--days", "0"}, "--days: 0"},
		"client":        {[]string{"init", "--dir", dir, "--client", "a/b"}, `"a/b"`},
		"host":          {[]string{"init", "--dir", dir, "--host", "a b"}, `"a b"`},
		"no PEM":        {[]string{"check", junk}, "junk: holds no PEM"},
		"no file":       {[]string{"check", junk + "s"}, "no such file"},
		"another's key": {[]string{"check", filepath.Join(dir, "ca.pem"), filepath.Join(other, "ca-key.pem")}, "none of the certificates"},
	} {
		if _, err := run(t, append([]string{"tls"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
