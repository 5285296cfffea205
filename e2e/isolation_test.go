package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// TestIsolationLetsRequestsFinish isolates an instance while it answers, and
// then removes it: the request under way gets its answer, no new one comes. An
// Envoy that asks for it sees the instance as draining meanwhile.
func TestIsolationLetsRequestsFinish(t *testing.T) {
	for name, draining := range map[string]bool{"LeftOut": false, "Draining": true} {
		t.Run(name, func(t *testing.T) {
			s := harness.StartServer(t)
			reg := harness.Connect(t, s.Polaris)
			arrived, release := make(chan struct{}), make(chan struct{})
			slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					close(arrived)
					<-release
				}
				_, _ = io.WriteString(w, "slow")
			}))
			t.Cleanup(slow.Close)
			other := harness.StartBackend(t, "other")
			isolate := func(on bool) {
				t.Helper()
				if err := reg.Put(harness.Instance("cart", slow.Listener.Addr().String(), harness.Isolated(on))); err != nil {
					t.Fatal(err)
				}
			}
			isolate(false)
			e := drainingEnvoy(t, s, draining)
			call := func(n int) harness.Counts { return e.Get("cart", n) }
			onlyFrom(t, call, "slow")

			answer := make(chan error, 1)
			go func() { answer <- ask(t.Context(), e.Egress, "/slow", "slow") }()
			select {
			case <-arrived:
			case err := <-answer:
				t.Fatal(err)
			}
			if err := reg.Put(harness.Instance("cart", other.Addr)); err != nil {
				t.Fatal(err)
			}
			isolate(true)
			onlyFrom(t, call, "other")
			status, err := page(t.Context(), e.Admin, "/clusters?filter=default/cart")
			if err != nil {
				t.Fatal(err)
			}
			if seen := strings.Contains(status, "eds_status_draining"); seen != draining {
				t.Errorf("seen as draining: %t, want %t\n%s", seen, draining, status)
			}
			if err := reg.Remove(harness.Instance("cart", slow.Listener.Addr().String())); err != nil {
				t.Fatal(err)
			}
			harness.Wait(t, soon, func() error {
				if status, err = page(t.Context(), e.Admin, "/clusters?filter=default/cart"); err == nil && strings.Contains(status, slow.Listener.Addr().String()) {
					err = errors.New("a removed instance is still there")
				}
				return err
			})
			close(release)
			if err := <-answer; err != nil {
				t.Errorf("the request under way: %v", err)
			}
		})
	}
}

// drainingEnvoy starts an Envoy that asks for isolated instances, or not.
func drainingEnvoy(t *testing.T, s *harness.Server, draining bool) *harness.Envoy {
	t.Helper()
	egress, admin := harness.FreeAddr(), harness.FreeAddr()
	path := bootstrapFile(t, "envoy", "--xds-addr", s.XDS, "--egress-address", egress, "--admin-address", admin)
	if draining {
		config, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(config), "  metadata:\n", "  metadata:\n    draining: \"true\"\n", 1)
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil || changed == string(config) {
			t.Fatalf("%v: %s", err, config)
		}
	}
	return launch(t, path, egress, admin)
}

func ask(ctx context.Context, addr, path, want string) error {
	got, err := page(ctx, addr, path)
	if err == nil && got != want {
		err = fmt.Errorf("answered %q", got)
	}
	return err
}

// page gets a page of the service, or of an admin port.
func page(ctx context.Context, addr, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return "", err
	}
	req.Host = "cart"
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return string(body), err
}
