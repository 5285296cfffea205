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

// settingExamples have a service.json that goes into the service's metadata;
// each has a server and backends of its own.
func settingExamples() []example {
	return []example{{"canary", canary}, {"tls-upstream", tlsUpstream}}
}

func TestExamplesSettings(t *testing.T) {
	for _, e := range settingExamples() {
		t.Run(e.folder, func(t *testing.T) { e.run(t, e.folder, harness.StartServer(t)) })
	}
}

// patch sends service.json as a README's curl does.
func patch(t *testing.T, s *harness.Server, body string) {
	t.Helper()
	if _, err := s.Patch("services/default/shop", body); err != nil {
		t.Fatal(err)
	}
}

func canary(t *testing.T, folder string, s *harness.Server) {
	shop(t, s, "backend shop blue 5 100 version=1")
	shop(t, s, "backend shop green 5 100 version=2")
	patch(t, s, exampleFile(t, folder, "service.json"))
	e := exampleEnvoy(t, folder, s)
	answers(t, folder, e, func(r *http.Request) { r.Header.Set("x-canary", "yes") })
	harness.Wait(t, soon, func() error {
		return shared(func(n int) harness.Counts { return e.Get("shop", n) }, "green", 0.1)
	})
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
	patch(t, s, strings.ReplaceAll(exampleFile(t, folder, "service.json"), "/tmp/polestar-tls", dir))
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
