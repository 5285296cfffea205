package tlsfiles

import (
	"os"
	"strings"
	"testing"
	"time"

	"polestar/internal/localca"
)

func TestWhatIsWrongWithFilesIsNamed(t *testing.T) {
	w := newWorld(t)
	w.server("s")
	w.server("other")
	w.issue("client", localca.Request{Client: true, URIs: []string{"spiffe://x/c"}})
	w.issue("old", localca.Request{Server: true, Hosts: []string{"h"}, From: time.Now().Add(-time.Hour), Life: time.Minute})
	w.issue("early", localca.Request{Server: true, Hosts: []string{"h"}, From: time.Now().Add(20 * time.Minute)})
	w.put("junk.pem", []byte("hello"))
	cert := must(os.ReadFile(w.file("s.pem")))
	w.put("damaged.pem", []byte(strings.Replace(string(cert), "MII", "M I", 1)))
	w.put("encrypted.pem", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	w.put("huge.pem", make([]byte, maxFile+1))
	oldCA := must(localca.New("old authority", -time.Minute))
	oldPEM, _, err := oldCA.PEM()
	if err != nil {
		t.Fatal(err)
	}
	w.put("old-ca.pem", oldPEM)
	for name, c := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"missing":       {func(c *Config) { c.Cert.Path = w.file("none.pem") }, []string{"d.tls.cert-file", "none.pem", "no such file"}},
		"a directory":   {func(c *Config) { c.Key.Path = w.dir }, []string{"d.tls.key-file", w.dir, "no regular file"}},
		"huge":          {func(c *Config) { c.Cert.Path = w.file("huge.pem") }, []string{"d.tls.cert-file", "huge.pem", "1048576"}},
		"no PEM":        {func(c *Config) { c.Cert.Path = w.file("junk.pem") }, []string{"d.tls.cert-file", "junk.pem", "no certificate"}},
		"damaged":       {func(c *Config) { c.Cert.Path = w.file("damaged.pem") }, []string{"d.tls.cert-file", "damaged.pem", "damaged PEM"}},
		"key as cert":   {func(c *Config) { c.Cert.Path = c.Key.Path }, []string{"d.tls.cert-file", "s-key.pem", "no certificate"}},
		"cert as key":   {func(c *Config) { c.Key.Path = c.Cert.Path }, []string{"d.tls.key-file", "s.pem", "certificate rather than a key"}},
		"another's key": {func(c *Config) { c.Key.Path = w.file("other-key.pem") }, []string{"d.tls.key-file", "other-key.pem", "s.pem", "does not match"}},
		"encrypted key": {func(c *Config) { c.Key.Path = w.file("encrypted.pem") }, []string{"d.tls.key-file", "encrypted.pem", "passphrase"}},
		"expired":       {func(c *Config) { *c = w.config("old") }, []string{"d.tls.cert-file", "old.pem", "expired at"}},
		"not yet":       {func(c *Config) { *c = w.config("early") }, []string{"d.tls.cert-file", "early.pem", "not valid before"}},
		"for clients":   {func(c *Config) { *c = w.config("client") }, []string{"d.tls.cert-file", "client.pem", "not for servers"}},
		"not to call":   {func(c *Config) { c.Calls = true }, []string{"d.tls.cert-file", "s.pem", "client authentication"}},
		"no authority":  {func(c *Config) { c.ClientCA.Path = w.file("s.pem") }, []string{"d.tls.client-ca-file", "s.pem", "no certificate authority"}},
		"old authority": {func(c *Config) { c.ClientCA.Path = w.file("old-ca.pem") }, []string{"d.tls.client-ca-file", "old-ca.pem", "expired at"}},
		"no key":        {func(c *Config) { c.Key.Path = "" }, []string{"d.tls.key-file", "d.tls.cert-file"}},
		"no cert":       {func(c *Config) { c.Cert.Path = "" }, []string{"d.tls.cert-file", "d.tls.key-file"}},
		"only a CA":     {func(c *Config) { c.Cert.Path, c.Key.Path, c.ClientCA.Path = "", "", "x" }, []string{"d.tls.client-ca-file", "d.tls.cert-file"}},
		"auth, no CA":   {func(c *Config) { c.Auth = AuthRequire }, []string{"d.tls.client-ca-file", "require"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := w.config("s")
			c.change(&cfg)
			_, err := watch(t).Add("d", cfg)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, word := range c.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("error %q does not name %q", err, word)
				}
			}
			if strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("error %q shows content", err)
			}
		})
	}
}

func TestWhatShouldNotBeSoIsAWarning(t *testing.T) {
	w := newWorld(t)
	w.issue("s", localca.Request{Server: true, URIs: []string{"spiffe://x/s"}})
	if err := os.Chmod(w.file("s-key.pem"), 0o644); err != nil { //nolint:gosec // that is the point
		t.Fatal(err)
	}
	oldPEM, _, err := must(localca.New("old authority", -time.Minute)).PEM()
	if err != nil {
		t.Fatal(err)
	}
	w.put("ca.pem", append(must(os.ReadFile(w.file("ca.pem"))), oldPEM...))
	d := watch(t)
	d.add(t, w.mutual("s"))
	var all []string
	for _, e := range d.logs.All() {
		all = append(all, e.ContextMap()["warning"].(string))
	}
	told := strings.Join(all, "\n")
	for _, word := range []string{"s-key.pem", "everybody", "no host in its SANs", "ca.pem expired"} {
		if !strings.Contains(told, word) {
			t.Errorf("%q is not told: %s", word, told)
		}
	}
}

func TestADoorTakesWhatAllShare(t *testing.T) {
	shared := Config{Cert: File{"tls.cert-file", "c"}, Key: File{"tls.key-file", "k"}, ClientCA: File{"tls.client-ca-file", "ca"}, Min: "1.2"}
	for name, c := range map[string]struct {
		set  func(*Config)
		want [5]string // certificate, key, CA, auth, version
	}{
		"nothing of its own": {func(*Config) {}, [5]string{"c", "k", "ca", AuthRequire, "1.2"}},
		"its own pair":       {func(c *Config) { c.Cert.Path, c.Key.Path = "c2", "k2" }, [5]string{"c2", "k2", "ca", AuthRequire, "1.2"}},
		"no half of a pair":  {func(c *Config) { c.Cert.Path = "c2" }, [5]string{"c2", "", "ca", AuthRequire, "1.2"}},
		"its own asking":     {func(c *Config) { c.Auth = AuthNone }, [5]string{"c", "k", "ca", AuthNone, "1.2"}},
		"off":                {func(c *Config) { c.Cert.Path = Off }, [5]string{Off, "", "", AuthNone, ""}},
	} {
		own := Named("d.tls")
		c.set(&own)
		got := own.Or(shared)
		if a := [5]string{got.Cert.Path, got.Key.Path, got.ClientCA.Path, got.auth(), got.Min}; a != c.want {
			t.Errorf("%s: %q, want %q", name, a, c.want)
		}
		if got.On() != (got.Cert.Path != Off) {
			t.Errorf("%s: on is %t", name, got.On())
		}
	}
}
