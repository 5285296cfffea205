package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"polestar/e2e/harness"
)

// principalsOf are the streams of each principal of a server.
func principalsOf(s *harness.Server) (map[string]int, error) {
	all, err := s.Clients()
	out := map[string]int{}
	for _, c := range all {
		out[c.Principal]++
	}
	return out, err
}

// connectedAre waits until principals have so many streams.
func connectedAre(t *testing.T, s *harness.Server, want map[string]int) {
	t.Helper()
	harness.Wait(t, soon, func() error {
		got, err := principalsOf(s)
		if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
			err = fmt.Errorf("connected are %v, want %v", got, want)
		}
		return err
	})
}

// grows runs something until a counter of the server is higher.
func grows(t *testing.T, s *harness.Server, metric string, do func()) {
	t.Helper()
	was, err := s.Metric(metric)
	if err != nil {
		was = 0 // none yet
	}
	do()
	harness.Wait(t, soon, func() error {
		if now, err := s.Metric(metric); err != nil || now <= was {
			return fmt.Errorf("%s is %v after %v: %w", metric, now, was, err)
		}
		return nil
	})
}

// TestCertificatesSayWhoXDSClientsAre: real Envoys and gRPC whose certificates
// are those of users see what these may read. A certificate of nobody is
// refused by name, one of another authority in its handshake.
func TestCertificatesSayWhoXDSClientsAre(t *testing.T) {
	certs, foreign := newCertificates(t), newCertificates(t)
	if _, err := harness.Run("tls", "init", "--dir", certs.dir, "--client", "shop", "--client", "bank", "--client", "nobody"); err != nil {
		t.Fatal(err)
	}
	s := harness.StartServer(t, append(certs.xds("require"), "--auth.client-open=true")...)
	for _, name := range []string{"shop", "bank"} {
		must(t, s, "create user "+name+" --identity spiffe://polestar/client/"+name, "create policy "+name+" --user "+name+" --action read --resource "+name+"/*")
		host, port := harness.HostPort(harness.StartBackend(t, "of-"+name).Addr)
		if _, err := harness.Run("register", "--polaris-addr", s.Polaris, "--token-file", filepath.Join(s.DataDir, "admin.token"),
			"--service", name+"/cart", "--host", host, "--port", fmt.Sprint(port)); err != nil {
			t.Fatal(err)
		}
	}
	envoyUntil := func(stat, namespace string, flags []string) *harness.Envoy {
		t.Helper()
		egress, admin := harness.FreeAddr(), harness.FreeAddr()
		e, err := harness.LaunchEnvoyUntil(bootstrapFile(t, "envoy", append(flags, "--sds-dir", filepath.Join(t.TempDir(), "sds"), "--delta",
			"--namespace", namespace, "--xds-addr", s.XDS, "--egress-address", egress, "--admin-address", admin)...), egress, admin, stat)
		if err != nil {
			t.Fatal(err)
		}
		harness.ShowOnFailure(t, "envoy", e.Log)
		t.Cleanup(e.Stop)
		return e
	}
	grpc := func(flags []string, target string) caller {
		t.Helper()
		return viaChild(harness.StartGRPC(t, "go", bootstrapFile(t, "grpc", append(flags, "--namespace", "shop", "--xds-addr", s.XDS)...), "xds:///"+target))
	}
	const listens, failed = "listener_manager.total_listeners_active", "cluster_manager.cds.update_failure"
	shop, bank := envoyUntil(listens, "shop", certs.of("shop")), envoyUntil(listens, "bank", certs.of("bank"))
	onlyFrom(t, func(n int) harness.Counts { return shop.Get("cart.shop", n) }, "of-shop")
	onlyFrom(t, func(n int) harness.Counts { return bank.Get("cart.bank", n) }, "of-bank")
	onlyFrom(t, grpc(certs.of("shop"), "cart.shop"), "of-shop")
	for name, call := range map[string]caller{
		"Envoy of shop": func(n int) harness.Counts { return shop.Get("cart.bank", n) },
		"Envoy of bank": func(n int) harness.Counts { return bank.Get("cart.shop", n) },
		"gRPC of shop":  grpc(certs.of("shop"), "cart.bank"),
	} {
		if got := call(1); got.Errors != 1 {
			t.Errorf("%s sees the other's service: %+v", name, got)
		}
	}
	const strange, handshake = `polestar_auth_refusals_total{api="client",reason="bad_token"}`, `polestar_tls_handshake_failures_total{door="xds",reason="certificate"}`
	refused := func(why, metric string, flags []string, stat string) {
		t.Helper()
		grows(t, s, metric, func() { envoyUntil(stat, "shop", flags) })
		grows(t, s, metric, func() {
			if got := grpc(flags, "cart.shop")(1); got.Errors != 1 {
				t.Errorf("%s: %+v", why, got)
			}
		})
	}
	refused("a certificate of nobody", strange, certs.of("nobody"), failed)
	refused("of another authority", handshake, append(foreign.client(), "--ca-file", certs.file("ca.pem")), "cluster.polestar.upstream_cx_total")
	grows(t, s, `polestar_auth_refusals_total{api="client",reason="forbidden"}`, func() {
		envoyUntil(failed, "bank", certs.of("shop")) // the certificate counts, not the namespace
	})
	connectedAre(t, s, map[string]int{"shop": 3, "bank": 1})

	// Who loses its name loses its streams, and gets them back with it; traffic
	// goes on, and so do others.
	must(t, s, "update user shop --identity= ")
	connectedAre(t, s, map[string]int{"bank": 1})
	onlyFrom(t, func(n int) harness.Counts { return shop.Get("cart.shop", n) }, "of-shop")
	must(t, s, "update user shop --identity spiffe://polestar/client/shop")
	harness.Wait(t, 2*soon, func() error {
		if got, err := principalsOf(s); err != nil || got["shop"] < 3 || got["bank"] != 1 {
			return fmt.Errorf("connected are %v, %w", got, err)
		}
		return nil
	})
}
