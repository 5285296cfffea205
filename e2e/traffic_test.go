package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// client is a real data plane that calls service "cart" of namespace default.
type client struct {
	name  string
	grpc  bool // backends are registered with their gRPC port
	start func(t *testing.T, s *harness.Server) caller
}

func clients() []client {
	return []client{
		{"EnvoySotW", false, func(t *testing.T, s *harness.Server) caller { return viaEnvoy(t, s, false) }},
		{"EnvoyDelta", false, func(t *testing.T, s *harness.Server) caller { return viaEnvoy(t, s, true) }},
		{"GRPCGo", true, viaGRPCGo},
		{"GRPCPython", true, viaPython},
	}
}

func viaEnvoy(t *testing.T, s *harness.Server, delta bool) caller {
	e := harness.StartEnvoy(t, s, delta)
	return func(n int) harness.Counts { return e.Get("cart", n) }
}

// grpcBootstrap writes what `polestar bootstrap grpc` prints.
func grpcBootstrap(t *testing.T, s *harness.Server) string {
	t.Helper()
	config, err := harness.Run("bootstrap", "grpc", "--xds-addr", s.XDS, "--namespace", "default")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bootstrap.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return "GRPC_XDS_BOOTSTRAP=" + path
}

func viaGRPCGo(t *testing.T, s *harness.Server) caller {
	bin, err := harness.Binary(".", "./drivers/grpcgo")
	if err != nil {
		t.Fatal(err)
	}
	return viaChild(harness.StartChild(t, []string{grpcBootstrap(t, s)}, bin, "xds:///cart.default"))
}

func viaPython(t *testing.T, s *harness.Server) caller {
	python := filepath.Join(harness.Cache(), "venv", "bin", "python")
	script := filepath.Join(harness.Root(), "drivers", "python", "client.py")
	return viaChild(harness.StartChild(t, []string{grpcBootstrap(t, s)}, python, script, "xds:///default/cart"))
}

func viaChild(c *harness.Child) caller {
	return func(n int) harness.Counts {
		var out harness.Counts
		if err := c.Do(fmt.Sprint("calls ", n), &out); err != nil {
			return harness.Counts{Errors: n, Last: err.Error()}
		}
		return out
	}
}

// TestTrafficFollowsRegistrations takes one backend after the other through
// everything that a registration can say.
func TestTrafficFollowsRegistrations(t *testing.T) {
	for _, cl := range clients() {
		t.Run(cl.name, func(t *testing.T) {
			s := harness.StartServer(t)
			r := harness.Connect(t, s.Polaris)
			a, b := harness.StartBackend(t, "a"), harness.StartBackend(t, "b")
			addr := func(x *harness.Backend) string {
				if cl.grpc {
					return x.GRPCAddr
				}
				return x.HTTPAddr
			}
			do := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			do(r.Put(harness.Instance("cart", addr(a))))
			call := cl.start(t, s)

			t.Log("a registered backend is reached")
			onlyFrom(t, call, "a")
			t.Log("a new backend gets traffic")
			do(r.Put(harness.Instance("cart", addr(b))))
			onlyFrom(t, call, "a", "b")
			t.Log("equal weights share evenly")
			split(t, call, "a", 0.5)
			t.Log("weights 300:100 share three to one")
			do(r.Put(harness.Instance("cart", addr(a), harness.Weight(300))))
			split(t, call, "a", 0.75)
			t.Log("an isolated backend gets none")
			do(r.Put(harness.Instance("cart", addr(a), harness.Isolated(true))))
			onlyFrom(t, call, "b")
			do(r.Put(harness.Instance("cart", addr(a), harness.Isolated(false))))
			onlyFrom(t, call, "a", "b")
			t.Log("a backend of weight 0 gets none")
			do(r.Put(harness.Instance("cart", addr(b), harness.Weight(0))))
			onlyFrom(t, call, "a")
			t.Log("an unhealthy backend gets none")
			do(r.Put(harness.Instance("cart", addr(b), harness.Healthy(false))))
			onlyFrom(t, call, "a")
			t.Log("a backend whose beats stop gets none, and is back with the first beat")
			beating := harness.Instance("cart", addr(b), harness.TTL(1))
			do(r.Put(beating))
			onlyFrom(t, call, "a", "b")
			onlyFrom(t, call, "a") // no beats for three seconds
			if _, err := r.Heartbeat(context.Background(), beating); err != nil {
				t.Fatal(err)
			}
			onlyFrom(t, call, "a", "b")
			t.Log("a deregistered backend gets none")
			do(r.Remove(beating))
			onlyFrom(t, call, "a")
			t.Log("a whole service may go and come back")
			do(r.Put(harness.Instance("cart", addr(b))))
			do(r.Remove(harness.Instance("cart", addr(a))))
			onlyFrom(t, call, "b")
		})
	}
}

// TestServerRestartCostsNoRequest kills and restarts the server under a
// running loop of requests, then changes something.
func TestServerRestartCostsNoRequest(t *testing.T) {
	for _, cl := range clients() {
		t.Run(cl.name, func(t *testing.T) {
			s := harness.StartServer(t)
			r := harness.Connect(t, s.Polaris)
			a, b := harness.StartBackend(t, "a"), harness.StartBackend(t, "b")
			addr := func(x *harness.Backend) string {
				if cl.grpc {
					return x.GRPCAddr
				}
				return x.HTTPAddr
			}
			if err := r.Put(harness.Instance("cart", addr(a))); err != nil {
				t.Fatal(err)
			}
			call := cl.start(t, s)
			onlyFrom(t, call, "a")

			stop, sent := make(chan struct{}), make(chan harness.Counts, 1)
			go func() {
				total := harness.Counts{By: map[string]int{}}
				for {
					select {
					case <-stop:
						sent <- total
						return
					default:
					}
					c := call(10)
					total.Errors += c.Errors
					if c.Errors > 0 {
						total.Last = c.Last
					}
					for n, k := range c.By {
						total.By[n] += k
					}
				}
			}()
			for _, end := range []func(){s.Kill, func() {
				if err := s.Terminate(); err != nil {
					t.Errorf("SIGTERM with an open xDS stream: %v", err)
				}
			}} {
				end()
				time.Sleep(time.Second) // requests go on without a server
				if err := s.Start(); err != nil {
					t.Fatal(err)
				}
			}
			harness.Wait(t, soon, func() error { return r.Put(harness.Instance("cart", addr(b))) })
			var seen harness.Counts
			harness.Wait(t, time.Minute, func() error { // gRPC reconnects with a back-off
				select {
				case <-stop:
				default:
					close(stop)
					seen = <-sent
				}
				if c := call(24); c.By["b"] == 0 {
					return fmt.Errorf("after the restart the new backend gets nothing: %v %s", c.By, c.Last)
				}
				return nil
			})
			if seen.Errors > 0 || seen.Total() == 0 {
				t.Errorf("%d of %d requests failed around two restarts: %s", seen.Errors, seen.Total()+seen.Errors, seen.Last)
			}
		})
	}
}
