package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"polestar/e2e/harness"
)

// settingExamples change the service's metadata; each has a server and
// backends of its own.
func settingExamples() []example {
	return []example{{"canary", canary}, {"nearby", nearby}, {"tls-upstream", tlsUpstream}}
}

func TestExamplesSettings(t *testing.T) {
	for _, e := range settingExamples() {
		t.Run(e.folder, func(t *testing.T) { e.run(t, e.folder, harness.StartServer(t)) })
	}
}

// update runs the README's command that changes the service's metadata.
func update(t *testing.T, folder string, s *harness.Server, change *strings.Replacer) {
	t.Helper()
	for line := range strings.Lines(change.Replace(exampleFile(t, folder, "README.md"))) {
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "bin/polestar update "); ok {
			if _, err := harness.Run(append([]string{"update", "--server", s.HTTP}, strings.Fields(command)...)...); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("the README has no command that updates the service")
}

func canary(t *testing.T, folder string, s *harness.Server) {
	shop(t, s, "backend shop blue 5 100 version=1")
	shop(t, s, "backend shop green 5 100 version=2")
	update(t, folder, s, strings.NewReplacer())
	e := exampleEnvoy(t, folder, s)
	answers(t, folder, e, func(r *http.Request) { r.Header.Set("x-canary", "yes") })
	harness.Wait(t, soon, func() error {
		return shared(func(n int) harness.Counts { return e.Get("shop", n) }, "green", 0.1)
	})
}

func nearby(t *testing.T, folder string, s *harness.Server) {
	blue := shop(t, s, "backend shop blue 1 100 zone=z1")
	shop(t, s, "backend shop green 1 100 zone=z2")
	update(t, folder, s, strings.NewReplacer())
	e := exampleEnvoy(t, folder, s)
	answers(t, folder, e)
	call := func(n int) harness.Counts { return e.Get("shop", n) }
	blue.Kill()
	onlyFrom(t, call, "green")
	shop(t, s, "backend shop blue 1 100 zone=z1")
	onlyFrom(t, call, "blue")
}

// tlsUpstream adds a backend with another authority's certificate: it must not
// get a request.
func tlsUpstream(t *testing.T, folder string, s *harness.Server) {
	dir, other := t.TempDir(), t.TempDir()
	for _, to := range []string{dir, other} {
		script := filepath.Join(harness.Root(), "..", "envoy-examples", folder, "certificates.sh")
		if out, err := exec.CommandContext(t.Context(), script, to).CombinedOutput(); err != nil { //nolint:gosec // our own script
			t.Fatalf("%v: %s", err, out)
		}
	}
	https := func(name, dir string) {
		shop(t, s, fmt.Sprintf("backend shop %s 5 100 tls=%s/shop.pem,%s/shop-key.pem", name, dir, dir))
	}
	https("blue", dir)
	https("green", dir)
	update(t, folder, s, strings.NewReplacer("/tmp/polestar-tls", dir))
	e := exampleEnvoy(t, folder, s)
	answers(t, folder, e)
	https("mallory", other)
	harness.Wait(t, soon, func() error {
		c := e.Get("shop", 6)
		if c.By["mallory"] > 0 {
			t.Errorf("a backend with another authority's certificate got requests: %v", c.By)
		}
		if c.Errors == 0 || c.By["blue"] == 0 || c.By["green"] == 0 {
			return fmt.Errorf("answered by %v, %d times by none", c.By, c.Errors)
		}
		return nil
	})
}
