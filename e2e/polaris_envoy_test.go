package e2e

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/e2e/harness"
)

// Where Envoys set up for Polaris listen, and look for the server.
const (
	polarisXDS      = "127.0.0.1:15010"
	polarisAdmin    = "127.0.0.1:15000"
	polarisOutbound = "127.0.0.1:15001"
	polarisInbound  = "127.0.0.1:15006"
	polarisVirtual  = "127.4.4.4:80" // in the place of 10.4.4.4, which polaris-sidecar answers for every service
)

// polarisServer starts a server at the port that bootstraps of Polaris name.
func polarisServer(t *testing.T) *harness.Server {
	t.Helper()
	s := harness.NewServer(t.TempDir())
	s.XDS = polarisXDS
	s.StartFor(t)
	return s
}

// polarisEnvoy starts an Envoy with a bootstrap of Polaris. At the end it must
// not have refused anything.
func polarisEnvoy(t *testing.T, config string) *harness.Envoy {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := harness.LaunchEnvoy(path, polarisOutbound, polarisAdmin)
	if err != nil {
		t.Fatal(err)
	}
	harness.ShowOnFailure(t, "envoy", e.Log)
	t.Cleanup(func() {
		e.CheckNothingRefused(t)
		e.Stop()
	})
	return e
}

// at sends requests for a host to an address.
func at(addr, host string) caller {
	return func(n int) harness.Counts { return harness.Get(addr, host, n) }
}

// variants are the bootstrap of an injected sidecar, which is incremental, and
// the same in state-of-the-world form.
func variants(config string) map[string]string {
	return map[string]string{"Delta": config, "SotW": strings.ReplaceAll(config, "DELTA_GRPC", "GRPC")}
}

// TestExamplePolarisSidecar runs envoy-examples/polaris-sidecar as it is.
func TestExamplePolarisSidecar(t *testing.T) {
	if !harness.Alone(t) {
		return
	}
	for name, config := range variants(exampleFile(t, "polaris-sidecar", "envoy.yaml")) {
		t.Run(name, func(t *testing.T) {
			s := polarisServer(t)
			shop(t, s, "backend web front 5 100")
			shop(t, s, "backend shop blue 5 100")
			shop(t, s, "backend shop green 5 100")
			polarisEnvoy(t, config)
			want := expectedCounts(t, "polaris-sidecar")
			harness.Wait(t, soon, func() error {
				c := harness.Get(polarisOutbound, "shop", 6)
				in := harness.Get(polarisInbound, "anything", 6)
				for who, n := range in.By {
					c.By[who] += n
				}
				if c.Errors += in.Errors; c.Errors > 0 || !maps.Equal(c.By, want) {
					return fmt.Errorf("got %v with %d errors (%s, %s), want %v", c.By, c.Errors, c.Last, in.Last, want)
				}
				return nil
			})
		})
	}
}

// expectedCounts reads an example's expected.txt, which is what uniq -c prints.
func expectedCounts(t *testing.T, folder string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for line := range strings.Lines(exampleFile(t, folder, "expected.txt")) {
		var n int
		var who string
		if _, err := fmt.Sscan(line, &n, &who); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out[who] = n
	}
	return out
}

// TestPolarisSidecarFollowsRegistrations takes services behind and before an
// unmodified sidecar through what can be registered.
func TestPolarisSidecarFollowsRegistrations(t *testing.T) {
	if !harness.Alone(t) {
		return
	}
	for name, config := range variants(exampleFile(t, "polaris-sidecar", "envoy.yaml")) {
		t.Run(name, func(t *testing.T) {
			s := polarisServer(t)
			r := harness.Connect(t, s.Polaris)
			do := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			polarisEnvoy(t, config)
			a, b, c := harness.StartBackend(t, "a"), harness.StartBackend(t, "b"), harness.StartBackend(t, "c")
			far := harness.Instance("pay", c.Addr)
			far.Namespace.Value = "bank"
			do(r.Put(far))
			do(r.Put(harness.Instance("cart", a.Addr)))
			t.Log("services appear under every name that they have at Polaris, also in other namespaces")
			for _, host := range []string{"cart", "cart:80", "cart.default", "cart.default.svc", "cart.default.svc.cluster.local:8080", "CART"} {
				onlyFrom(t, at(polarisOutbound, host), "a")
			}
			onlyFrom(t, at(polarisOutbound, "pay.bank"), "c")
			t.Log("endpoints, weights and health follow")
			do(r.Put(harness.Instance("cart", b.Addr)))
			harness.Wait(t, soon, func() error { return shared(at(polarisOutbound, "cart"), "a", 0.5) })
			do(r.Put(harness.Instance("cart", a.Addr, harness.Weight(300))))
			harness.Wait(t, soon, func() error { return shared(at(polarisOutbound, "cart"), "a", 0.75) })
			do(r.Put(harness.Instance("cart", b.Addr, harness.Healthy(false))))
			onlyFrom(t, at(polarisOutbound, "cart"), "a")
			t.Log("the inbound side follows the ports that the sidecar's own service registers")
			do(r.Put(harness.Instance("web", b.Addr)))
			onlyFrom(t, at(polarisInbound, "any.host"), "b")
			do(r.Remove(harness.Instance("web", b.Addr)))
			do(r.Put(harness.Instance("web", c.Addr)))
			onlyFrom(t, at(polarisInbound, "any.host"), "c")
			t.Log("a service that loses its instances takes nothing else with it")
			do(r.Remove(harness.Instance("cart", a.Addr)))
			do(r.Remove(harness.Instance("cart", b.Addr)))
			onlyFrom(t, at(polarisOutbound, "pay.bank"), "c")
			onlyFrom(t, at(polarisInbound, "any.host"), "c")
		})
	}
}

// TestPolarisSidecarIsTransparent leads connections to the sidecar by iptables,
// as the injected init container does.
func TestPolarisSidecarIsTransparent(t *testing.T) {
	if !harness.Alone(t) {
		return
	}
	const pod = "127.0.0.7" // the address that the application registers
	if !harness.IPTables(t,
		"-A OUTPUT -s 127.0.0.6/32 -o lo -j RETURN", // what the sidecar passes through untouched
		"-A OUTPUT -p tcp -d "+pod+" -j REDIRECT --to-ports 15006",
		"-A OUTPUT -p tcp -d 127.4.4.4 -j REDIRECT --to-ports 15001",
	) {
		return
	}
	s := polarisServer(t)
	r := harness.Connect(t, s.Polaris)
	e := polarisEnvoy(t, exampleFile(t, "polaris-sidecar", "envoy.yaml"))
	app, second := harness.StartBackendAt(t, "app", "127.0.0.1:8080"), harness.StartBackendAt(t, "second", "127.0.0.1:8081")
	probes := harness.StartBackendAt(t, "probes", pod+":9999") // a port that nobody registered
	peer := harness.StartBackend(t, "peer")
	for service, addr := range map[string]string{"web": pod + ":8080", "cart": peer.Addr} {
		if err := r.Put(harness.Instance(service, addr)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Put(harness.Instance("web", pod+":8081")); err != nil {
		t.Fatal(err)
	}
	onlyFrom(t, at(polarisVirtual, "cart"), peer.Name)
	onlyFrom(t, at(pod+":8080", "web"), app.Name)
	onlyFrom(t, at(pod+":8081", "web"), second.Name)
	onlyFrom(t, at(pod+":9999", "web"), probes.Name)
	for stat, least := range map[string]uint64{
		"http.OUTBOUND_HTTP.downstream_rq_total": 1, "http.INBOUND_HTTP.downstream_rq_total": 2,
		"cluster.InboundPassthroughCluster.upstream_cx_total": 1,
	} {
		if n, err := e.Stat(stat); err != nil || n < least {
			t.Errorf("%s is %d (%v): requests went around the sidecar", stat, n, err)
		}
	}
}

// polarisGateway is the bootstrap that Polaris documents for an Envoy at the edge.
const polarisGateway = `
node:
  id: "gateway~edge/c962adc3-673e-4637-9ba8-969d755ef66a~127.0.0.1"
  cluster: "default"
  metadata: {gateway_service: EnvoyGateway, gateway_namespace: default}
dynamic_resources:
  lds_config: {ads: {}, resource_api_version: V3}
  cds_config: {ads: {}, resource_api_version: V3}
  ads_config:
    api_type: GRPC
    transport_api_version: V3
    grpc_services:
      - google_grpc:
          target_uri: 127.0.0.1:15010
          stat_prefix: polarismesh
          channel_args:
            args:
              grpc.http2.max_ping_strikes: {int_value: 0}
              grpc.keepalive_time_ms: {int_value: 10000}
              grpc.keepalive_timeout_ms: {int_value: 20000}
admin:
  address:
    socket_address: {address: "127.0.0.1", port_value: 15000}
`

// TestPolarisGateway: the routes of a gateway arrive, and follow.
func TestPolarisGateway(t *testing.T) {
	if !harness.Alone(t) {
		return
	}
	for name, config := range map[string]string{"SotW": polarisGateway, "Delta": strings.ReplaceAll(polarisGateway, "api_type: GRPC", "api_type: DELTA_GRPC")} {
		t.Run(name, func(t *testing.T) {
			s := polarisServer(t)
			r := harness.Connect(t, s.Polaris)
			polarisEnvoy(t, config)
			a, b := harness.StartBackend(t, "a"), harness.StartBackend(t, "b")
			if err := r.Put(harness.Instance("cart", a.Addr)); err != nil {
				t.Fatal(err)
			}
			onlyFrom(t, at(polarisOutbound, "cart"), "a")
			onlyFrom(t, at(polarisOutbound, "cart.default:8080"), "a")
			if err := r.Put(harness.Instance("pay", b.Addr)); err != nil {
				t.Fatal(err)
			}
			onlyFrom(t, at(polarisOutbound, "pay.default"), "b")
			if c := harness.Get(polarisOutbound, "example.com", 1); c.Errors != 1 || !strings.Contains(c.Last, "404") {
				t.Errorf("a host of nobody's: %+v, want 404", c)
			}
		})
	}
}

// TestPolarisSidecarSpeaksMutualTLS calls an application through its own
// sidecar, twice: out by mutual TLS, and in again.
func TestPolarisSidecarSpeaksMutualTLS(t *testing.T) {
	if !harness.Alone(t) {
		return
	}
	for _, mode := range []string{"permissive", "strict"} {
		t.Run(mode, func(t *testing.T) {
			secrets := filepath.Join(t.TempDir(), "sds.sock")
			harness.StartSecrets(t, secrets)
			config := strings.NewReplacer(
				`"polarismesh.cn/tls-mode": "none"`, `"polarismesh.cn/tls-mode": "`+mode+`", "sidecar.polarismesh.cn/bindPorts": "8080"`,
				"/tmp/polaris-sidecar/mtls/sds.sock", secrets,
			).Replace(exampleFile(t, "polaris-sidecar", "envoy.yaml"))
			s := polarisServer(t)
			r := harness.Connect(t, s.Polaris)
			app, plain := harness.StartBackendAt(t, "app", "127.0.0.1:8080"), harness.StartBackend(t, "plain")
			speaks := func(i *service_manage.Instance) { i.Metadata = map[string]string{"polarismesh.cn/tls-mode": mode} }
			for _, i := range []*service_manage.Instance{harness.Instance("web", polarisInbound, speaks), harness.Instance("plain", plain.Addr)} {
				if err := r.Put(i); err != nil {
					t.Fatal(err)
				}
			}
			e := polarisEnvoy(t, config)
			onlyFrom(t, at(polarisOutbound, "web"), app.Name)
			if n, err := e.Stat("listener.0.0.0.0_15006.ssl.handshake"); err != nil || n == 0 {
				t.Errorf("%d handshakes on the inbound side (%v): the call went in the clear", n, err)
			}
			switch mode {
			case "permissive":
				onlyFrom(t, at(polarisOutbound, "plain"), plain.Name)
				onlyFrom(t, at(polarisInbound, "web"), app.Name)
			case "strict":
				for name, c := range map[string]harness.Counts{
					"out to an application without TLS": harness.Get(polarisOutbound, "plain", 1), "in without TLS": harness.Get(polarisInbound, "web", 1),
				} {
					if c.Errors != 1 {
						t.Errorf("%s: %v was reached in the clear", name, c.By)
					}
				}
			}
		})
	}
}

// TestPolarisSidecarOnDemand: a sidecar without cds_config gets each cluster
// with the first request for it, and no other.
func TestPolarisSidecarOnDemand(t *testing.T) {
	if !harness.Alone(t) {
		return
	}
	config := exampleFile(t, "polaris-sidecar", "envoy.yaml")
	for _, change := range [][2]string{
		{"  cds_config:\n    ads: {}\n    resource_api_version: V3\n", ""},
		{`"app": "web"`, `"app": "web", "sidecar.polarismesh.cn/openOnDemand": "true"`},
	} {
		if !strings.Contains(config, change[0]) {
			t.Fatalf("%q is not in the example", change[0])
		}
		config = strings.Replace(config, change[0], change[1], 1)
	}
	s := polarisServer(t)
	r := harness.Connect(t, s.Polaris)
	a, b := harness.StartBackend(t, "a"), harness.StartBackend(t, "b")
	for service, addr := range map[string]string{"cart": a.Addr, "pay": b.Addr, "web": b.Addr} {
		if err := r.Put(harness.Instance(service, addr)); err != nil {
			t.Fatal(err)
		}
	}
	e := polarisEnvoy(t, config)
	harness.Wait(t, soon, func() error { // it listens; a connection asks for nothing yet
		c, err := net.Dial("tcp", polarisOutbound)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	if c := harness.Get(polarisOutbound, "cart", 1); c.By["a"] != 1 {
		t.Errorf("the first request: %+v", c)
	}
	onlyFrom(t, at(polarisInbound, "web"), "b")
	held, err := e.Stats(`^cluster\.(OUTBOUND|INBOUND).*\.membership_total$`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"cluster.OUTBOUND|default|cart.membership_total": 1, "cluster.INBOUND|default|web.membership_total": 1}
	if !maps.Equal(held, want) {
		t.Errorf("Envoy holds %v, want %v", held, want)
	}
	if err := r.Put(harness.Instance("cart", b.Addr)); err != nil {
		t.Fatal(err)
	}
	onlyFrom(t, at(polarisOutbound, "cart"), "a", "b")
}
