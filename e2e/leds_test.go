package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/e2e/harness"
)

// startLEDS starts an Envoy that asks for the endpoints of services with least
// or more of them one by one. It must not refuse anything, or wait in vain.
func startLEDS(t *testing.T, xds, least string) *harness.Envoy {
	t.Helper()
	egress, admin := harness.FreeAddr(), harness.FreeAddr()
	config, err := harness.Run("bootstrap", "envoy", "--xds-addr", xds, "--egress-address", egress, "--admin-address", admin,
		"--delta", "--leds", least)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := harness.LaunchEnvoy(path, egress, admin)
	if err != nil {
		t.Fatal(err)
	}
	harness.ShowOnFailure(t, "envoy", e.Log)
	t.Cleanup(func() {
		e.CheckNothingRefused(t)
		timeouts, err := e.Stats("init_fetch_timeout")
		for name, n := range timeouts {
			if n > 0 {
				t.Errorf("Envoy waited in vain: %s = %d", name, n)
			}
		}
		if err != nil {
			t.Errorf("stats: %v", err)
		}
		e.Stop()
	})
	return e
}

// collected waits until a service is, or is not, in Envoy as collections.
func collected(t *testing.T, e *harness.Envoy, service string, want bool) {
	t.Helper()
	harness.Wait(t, soon, func() error {
		got, err := e.Stats("^cluster.default/" + service + ".leds.update_empty$")
		if err == nil && (len(got) > 0) != want {
			err = fmt.Errorf("endpoints of %s one by one: %t, want %t", service, len(got) > 0, want)
		}
		return err
	})
}

// TestLEDSTrafficFollows takes a service whose endpoints come one by one
// through everything that a registration can say, under requests that must not
// fail.
func TestLEDSTrafficFollows(t *testing.T) {
	s := harness.StartServer(t)
	r := harness.Connect(t, s.Polaris)
	b := map[string]*harness.Backend{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		b[name] = harness.StartBackend(t, name)
	}
	put := func(name string, set ...func(*service_manage.Instance)) {
		t.Helper()
		if err := r.Put(harness.Instance("cart", b[name].Addr, set...)); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) {
		t.Helper()
		if err := r.Remove(harness.Instance("cart", b[name].Addr)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		put(name)
	}
	e := startLEDS(t, s.XDS, "4")
	call := func(n int) harness.Counts { return e.Get("cart", n) }
	onlyFrom(t, call, "a", "b", "c", "d")
	collected(t, e, "cart", true)
	stop := underRequests(t, call)

	t.Log("weights")
	put("a", harness.Weight(300))
	harness.Wait(t, soon, func() error { return shared(call, "a", 0.5) })
	t.Log("addition, isolation, removal")
	put("e")
	onlyFrom(t, call, "a", "b", "c", "d", "e")
	put("a", harness.Isolated(true))
	onlyFrom(t, call, "b", "c", "d", "e")
	remove("b")
	onlyFrom(t, call, "c", "d", "e")
	t.Log("health")
	put("c", harness.Healthy(false))
	onlyFrom(t, call, "d", "e")
	put("c", harness.Healthy(true))
	onlyFrom(t, call, "c", "d", "e")
	collected(t, e, "cart", true) // three quarters of the threshold are left
	t.Log("a changed cluster warms")
	for n := range 3 {
		update := fmt.Sprintf("polestar/connect-timeout=%ds", n+1)
		if _, err := harness.Run("update", "--server", s.HTTP, "service", "default/cart", "--metadata", update); err != nil {
			t.Fatal(err)
		}
		harness.Wait(t, soon, func() error {
			got, err := e.Stats("^cluster_manager.(cluster_modified|warming_clusters)$")
			if err == nil && (got["cluster_manager.cluster_modified"] != uint64(n+1) || got["cluster_manager.warming_clusters"] > 0) {
				err = fmt.Errorf("after change %d: %v", n+1, got)
			}
			return err
		})
		if err := answeredBy(call, "c", "d", "e"); err != nil {
			t.Errorf("after change %d: %v", n+1, err)
		}
	}
	t.Log("another zone comes, and one moves there")
	zone := func(i *service_manage.Instance) {
		i.Location = &model.Location{Zone: wrapperspb.String("z/2 ~ж")}
	}
	put("a", harness.Isolated(false), harness.Weight(100), zone)
	onlyFrom(t, call, "a", "c", "d", "e")
	put("c", zone)
	onlyFrom(t, call, "a", "c", "d", "e")
	put("d", harness.Isolated(true))
	onlyFrom(t, call, "a", "c", "e")
	put("d", harness.Isolated(false))
	onlyFrom(t, call, "a", "c", "d", "e")
	t.Log("the server is killed, and what changed is told when it is back")
	s.Kill()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	harness.Wait(t, soon, func() error { return r.Put(harness.Instance("cart", b["d"].Addr, harness.Weight(0))) })
	within(t, time.Minute, call, "a", "c", "e")
	t.Log("fewer than three quarters are a list; enough are collections again")
	remove("a")
	onlyFrom(t, call, "c", "e")
	collected(t, e, "cart", false)
	put("a")
	put("d")
	onlyFrom(t, call, "a", "c", "d", "e")
	collected(t, e, "cart", true)
	stop()
}

// within is [onlyFrom] with another limit.
func within(t *testing.T, most time.Duration, call caller, names ...string) {
	t.Helper()
	harness.Wait(t, most, func() error { return answeredBy(call, names...) })
}

// underRequests calls all the time until stop; no request may fail.
func underRequests(t *testing.T, call caller) (stop func()) {
	quit, done := make(chan struct{}), make(chan harness.Counts)
	go func() {
		var total harness.Counts
		for {
			select {
			case <-quit:
				done <- total
				return
			default:
				c := call(10)
				if total.Errors += c.Errors; c.Errors > 0 {
					total.Last = c.Last
				}
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(quit)
		if c := <-done; c.Errors > 0 {
			t.Errorf("%d requests failed: %s", c.Errors, c.Last)
		}
	})
}

// TestLEDSOneChangeIsLessThanAKilobyte counts what a real Envoy receives when
// one of a thousand endpoints changes.
func TestLEDSOneChangeIsLessThanAKilobyte(t *testing.T) {
	const n = 1000
	s := harness.StartServer(t)
	r := harness.Connect(t, s.Polaris)
	tags := func(i *service_manage.Instance) {
		i.Metadata = map[string]string{"env": "prod", "zone": "z1", "team": "checkout", "build": "20260101", "canary": "no"}
	}
	addr := func(k int) string { return fmt.Sprintf("127.1.%d.%d:80", k/250, k%250) }
	put := func(k int, set ...func(*service_manage.Instance)) {
		t.Helper()
		if err := r.Put(harness.Instance("cart", addr(k), append(set, tags)...)); err != nil {
			t.Fatal(err)
		}
	}
	for k := range n {
		put(k)
	}
	wire := harness.StartWire(t, s.XDS)
	e := startLEDS(t, wire.Addr, "true")
	members := func(want uint64) {
		t.Helper()
		harness.Wait(t, soon, func() error {
			got, err := e.Stat("cluster.default/cart.membership_total")
			if err == nil && got != want {
				err = fmt.Errorf("Envoy has %d endpoints, want %d", got, want)
			}
			return err
		})
	}
	members(n)
	whole := wire.Received()
	quiet := func() int64 { // nothing has come for a second
		t.Helper()
		last, since := wire.Received(), time.Now()
		harness.Wait(t, soon, func() error {
			if now := wire.Received(); now != last {
				last, since = now, time.Now()
			}
			if time.Since(since) < time.Second {
				return errors.New("more comes all the time")
			}
			return nil
		})
		return last
	}
	for _, change := range []struct {
		what string
		do   func()
	}{
		{"weight", func() {
			put(7, harness.Weight(300))
			harness.Wait(t, soon, func() error { return adminSays(e, "/clusters", "default/cart::"+addr(7)+"::weight::300") })
		}},
		{"health", func() {
			put(8, harness.Healthy(false))
			harness.Wait(t, soon, func() error {
				return adminSays(e, "/clusters", "default/cart::"+addr(8)+"::health_flags::/failed_eds_health")
			})
		}},
		{"addition", func() { put(n); members(n + 1) }},
		{"removal", func() {
			if err := r.Remove(harness.Instance("cart", addr(9))); err != nil {
				t.Fatal(err)
			}
			members(n)
		}},
	} {
		before := quiet()
		change.do()
		got := quiet() - before
		t.Logf("%s: %d bytes; all endpoints at the start: %d", change.what, got, whole)
		if got >= 1000 || got == 0 {
			t.Errorf("%s: %d bytes, want less than 1,000", change.what, got)
		}
	}
}

// adminSays looks for a text in a page of Envoy's admin port.
func adminSays(e *harness.Envoy, page, text string) error {
	res, err := http.Get("http://" + e.Admin + page) //nolint:gosec // a loopback address
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && !strings.Contains(string(body), text) {
		err = fmt.Errorf("%s does not say %q", page, text)
	}
	return err
}
