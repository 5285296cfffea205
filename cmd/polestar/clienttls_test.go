package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestClientCommandsSpeakTLS(t *testing.T) {
	dir, _ := madeFiles(t)
	foreign, _ := madeFiles(t)
	w := startWhole(t, t.TempDir(), secured(t, dir))
	at := func(name string) string { return filepath.Join(dir, name) }
	creds := []string{"--ca-file", at("ca.pem"), "--cert-file", at("client-admin.pem"), "--key-file", at("client-admin-key.pem")}
	http, polaris := []string{"--server", w.web.Addr().String()}, []string{"--polaris-addr", w.app.polaris.Addr().String()}
	command := func(words []string, more ...[]string) []string {
		out := append([]string{}, words...)
		for _, m := range more {
			out = append(out, m...)
		}
		return out
	}
	for _, c := range []struct{ words, door []string }{
		{[]string{"register", "--service", "default/cart", "--host", "10.0.0.1", "--port", "80"}, polaris},
		{[]string{"get", "services"}, http},
		{[]string{"get", "services"}, []string{"--server", "https://" + w.web.Addr().String()}},
		{[]string{"history"}, http},
		{[]string{"events"}, http},
		{[]string{"clients"}, http},
		{[]string{"wait"}, http},
		{[]string{"isolate", "--service", "default/cart", "--host", "10.0.0.1", "--reason", "x"}, http},
		{[]string{"deregister", "--service", "default/cart", "--host", "10.0.0.1", "--port", "80"}, polaris},
		{[]string{"bench", "register", "--repeat", "1", "--callers", "1", "--duration", "10ms"}, polaris},
		{[]string{"bench", "push", "--xds-addr", w.xdsAddr(), "--repeat", "1", "--watchers", "2", "--changes", "2", "--instances", "2"}, polaris},
	} {
		if out, err := run(t, command(c.words, c.door, creds)...); err != nil {
			t.Errorf("%v: %v\n%s", c.words, err, out)
		}
		for name, wrong := range map[string][]string{
			"no certificate": {"--ca-file", at("ca.pem")}, "another authority": {"--ca-file", filepath.Join(foreign, "ca.pem")}, "another name": append([]string{"--server-name", "x"}, creds...),
		} {
			if _, err := run(t, command(c.words, c.door, wrong)...); err == nil {
				t.Errorf("%v with %s succeeds", c.words, name)
			}
		}
	}
	if out, err := run(t, command([]string{"get", "services"}, http)...); err == nil || !strings.Contains(err.Error(), "HTTPS") {
		t.Errorf("plain text to a TLS door: %v %s", err, out)
	}
	words := []string{"deregister", "--service", "default/cart", "--host", "10.0.0.1", "--port", "80"}
	if _, err := run(t, command(words, polaris)...); err == nil || !strings.Contains(err.Error(), "--tls") {
		t.Errorf("plain text to a gRPC door with TLS: %v", err)
	}
	if _, err := run(t, command([]string{"get", "services", "--server", "http://" + w.web.Addr().String()}, creds)...); err == nil || !strings.Contains(err.Error(), "http:// is plain text") {
		t.Errorf("http:// with TLS: %v", err)
	}
	t.Setenv(envClientCA, at("ca.pem"))
	t.Setenv(envClientCert, at("client-admin.pem"))
	t.Setenv(envClientKey, at("client-admin-key.pem"))
	if _, err := run(t, command([]string{"get", "services"}, http)...); err != nil {
		t.Errorf("by the environment: %v", err)
	}
	if _, _, err := loadConfig(flags(t), []string{envClientCA + "=x"}); err != nil {
		t.Errorf("the server trips over a client's variable: %v", err)
	}
}
