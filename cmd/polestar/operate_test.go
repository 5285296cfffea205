package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"polestar/naming"
	"polestar/web"
)

// cli runs a command line against a server; it must succeed.
func (w *whole) cli(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t, append(args, "--server", w.web.Addr().String())...)
	if err != nil {
		t.Fatalf("polestar %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// refuse runs a command line that the server must refuse with these words.
func (w *whole) refuse(t *testing.T, words []string, args ...string) {
	t.Helper()
	_, err := run(t, append(args, "--server", w.web.Addr().String())...)
	if err == nil {
		t.Errorf("polestar %s: accepted", strings.Join(args, " "))
		return
	}
	if got := exitCode(err); got != exitRefused {
		t.Errorf("polestar %s: exit code %d, want %d (%v)", strings.Join(args, " "), got, exitRefused, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("polestar %s: error %q does not name %q", strings.Join(args, " "), err, word)
		}
	}
}

// What an operator sets reaches SDKs and is taken back again.
func TestOperatorsCommandsReachClients(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.register(t, 50)
	id := w.discovered(t)[0].GetId().GetValue()
	for _, c := range []struct {
		args string
		want string // isolated, healthy, weight as Discover shows them
		says []string
	}{
		{"isolate " + id + " --reason disk", "true true 50", []string{id, "updated at revision 2", "isolated (its own: not isolated)"}},
		{"isolate " + id, "true true 50", []string{"unchanged"}},
		{"set weight 7 " + id, "true true 7", []string{"weight 7 (its own: 50)"}},
		{"set healthy false --service default/cart --host 10.0.0.1", "true false 7", []string{"not healthy (its own: healthy)"}},
		{"isolate --off --service cart --host 10.0.0.1 --port 80", "false false 7", []string{"not isolated"}},
		{"clear all " + id, "false true 50", []string{"weight 50, healthy, not isolated"}},
		{"set version 2.0 " + id, "false true 50", []string{"updated"}},
		{"set metadata lane=blue " + id, "false true 50", []string{"updated"}},
		{"set isolated true " + id, "true true 50", []string{"isolated"}},
		{"clear isolated --service default/cart --host 10.0.0.1", "false true 50", []string{"not isolated"}},
	} {
		out := w.cli(t, strings.Fields(c.args)...)
		for _, word := range c.says {
			if !strings.Contains(out, word) {
				t.Errorf("%s: %q does not say %q", c.args, out, word)
			}
		}
		i := w.discovered(t)[0]
		text, _ := json.Marshal([]any{i.GetIsolate().GetValue(), i.GetHealthy().GetValue(), i.GetWeight().GetValue()})
		if got := strings.Join(strings.Split(strings.Trim(string(text), "[]"), ","), " "); got != c.want {
			t.Errorf("%s: SDKs see %s, want %s", c.args, got, c.want)
		}
	}
	if i := w.discovered(t)[0]; i.GetVersion().GetValue() != "2.0" || i.GetMetadata()["lane"] != "blue" {
		t.Errorf("%v", i)
	}
	w.cli(t, "isolate", id, "--reason", "disk")
	if out := w.cli(t, "get", "instances"); !strings.Contains(out, "true (own false)") {
		t.Errorf("both values are shown:\n%s", out)
	}
	w.cli(t, "delete", "instance", id)
	if out := w.cli(t, "get", "overrides"); !strings.Contains(out, "isolated=true") || !strings.Contains(out, "disk") || !strings.Contains(out, "10.0.0.1:80") {
		t.Errorf("what waits for the instance is shown:\n%s", out)
	}
	w.register(t, 50)
	if !w.discovered(t)[0].GetIsolate().GetValue() {
		t.Error("an instance that came back is in traffic although an operator isolated it")
	}
}

func TestManagingCommands(t *testing.T) {
	w := startWhole(t, t.TempDir())
	for _, c := range []struct{ args, want string }{
		{"create namespace shop --comment text --export-to web --reason new", "namespace shop created at revision 1"},
		{"create service shop/cart --metadata polestar/retries=2 --metadata team=a --ports 80 --export-to * --cmdb x --cmdb y", "service shop/cart created"},
		{"create alias web/basket --for shop/cart", "alias web/basket for shop/cart created"},
		{"update service shop/cart --metadata team- --metadata k=v", "service shop/cart updated"},
		{"update service shop/cart --metadata k=v", "unchanged"},
		{"update alias web/basket --owner me", "alias web/basket for shop/cart updated"},
		{"update namespace shop --export-to=", "namespace shop updated"},
		{"create service a/b/c", "service a/b/c created"},
		{"delete service b/c --namespace a", "service a/b/c deleted"},
	} {
		if out := w.cli(t, strings.Fields(c.args)...); !strings.Contains(out, c.want) {
			t.Errorf("%s: %q, want %q", c.args, out, c.want)
		}
	}
	var services []web.Service
	if err := json.Unmarshal([]byte(w.cli(t, "get", "services", "-o", "json")), &services); err != nil || len(services) != 1 {
		t.Fatalf("%v %+v", err, services)
	}
	if s := services[0]; s.Metadata["k"] != "v" || s.Metadata["team"] != "" || s.Ports != "80" || s.Cmdb[1] != "y" || s.ExportTo[0] != "*" {
		t.Errorf("%+v", s)
	}
	if out := w.cli(t, "get", "aliases", "--service", "cart"); !strings.Contains(out, "basket") || !strings.Contains(out, "shop/cart") {
		t.Errorf("%s", out)
	}
	w.refuse(t, []string{"409", "1 aliases", "alias web/basket"}, "delete", "service", "shop/cart")
	w.refuse(t, []string{"409", "exists"}, "create", "namespace", "shop")
	w.refuse(t, []string{"404", "shop/none"}, "update", "service", "shop/none", "--comment", "x")
	w.refuse(t, []string{"412", "revision"}, "update", "namespace", "shop", "--comment", "x", "--if-revision", "99")
	w.refuse(t, []string{"400", "polestar/retires", "did you mean polestar/retries?"}, "update", "service", "shop/cart", "--metadata", "polestar/retires=2")
	var m web.Mutation
	if err := yaml.Unmarshal([]byte(w.cli(t, "delete", "alias", "web/basket", "--reason", "old", "-o", "yaml")), &m); err != nil || m.Outcome != "deleted" {
		t.Errorf("%v %+v", err, m)
	}
	w.cli(t, "delete", "service", "shop/cart")
	w.cli(t, "delete", "namespace", "shop")
}

func TestWrongOperatorsCommands(t *testing.T) {
	for name, c := range map[string]struct{ args, want string }{
		"no target":            {"isolate", "name an instance"},
		"two targets":          {"isolate x --service s --host h", "not both"},
		"half a target":        {"set weight 1 --service s", "--service and --host"},
		"unknown attribute":    {"set wieght 1 x", "did you mean weight?"},
		"no number":            {"set weight much x", `"much"`},
		"no truth":             {"set healthy yes x", "true nor false"},
		"no pair":              {"set metadata x y", "key=value"},
		"unknown to clear":     {"clear isolate x", "did you mean isolated?"},
		"unknown kind":         {"create servise x", "did you mean service?"},
		"unknown kind to get":  {"get aliasses", "did you mean aliases?"},
		"unknown flag":         {"create service x --metdata k=v", "did you mean --metadata?"},
		"no pair of a service": {"create service x --metadata k", "--metadata"},
		"doubled key":          {"update service x --metadata k=1 --metadata k-", "twice"},
		"nothing to change":    {"update service x", "nothing to change"},
		"alias for nothing":    {"create alias x", `"for"`},
		"unknown output":       {"isolate x -o xml", `"xml"`},
		"no place":             {"register --service s", "--port"},
		"removal at the start": {"register --service s --host h --port 1 --metadata k-", "key=value"},
		"deregister nothing":   {"deregister", "--service"},
		"deregister two ways":  {"deregister x --host h", "not both"},
		"nobody listens":       {"isolate x --server 127.0.0.1:1", "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, strings.Fields(c.args)...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			want := exitFailed
			if name == "nobody listens" {
				want = exitServer
			}
			if got := exitCode(err); got != want {
				t.Errorf("exit code %d, want %d", got, want)
			}
		})
	}
}

func TestRegisterAndDeregisterCommands(t *testing.T) {
	w := startWhole(t, t.TempDir())
	door := w.app.polaris.Addr().String()
	here := []string{"--service", "default/cart", "--host", "10.0.0.1", "--port", "80", "--polaris-addr", door}
	out, err := run(t, append([]string{"register", "--weight", "5", "--metadata", "lane=blue", "--zone", "z", "--version", "2"}, here...)...)
	if err != nil || !strings.Contains(out, "registered "+naming.InstanceID(naming.ServiceKey{Namespace: "default", Name: "cart"}, "", "10.0.0.1", 80)) {
		t.Fatalf("%v %s", err, out)
	}
	if !strings.HasSuffix(out, " at revision "+strconv.FormatUint(w.pipeline.Revision(), 10)+"\n") {
		t.Errorf("the revision to wait for is not told: %s", out)
	}
	i := w.discovered(t)[0]
	if i.GetWeight().GetValue() != 5 || i.GetMetadata()["lane"] != "blue" || i.GetLocation().GetZone().GetValue() != "z" || i.GetVersion().GetValue() != "2" || i.GetHealthCheck() != nil {
		t.Errorf("%v", i)
	}
	if _, err = run(t, append([]string{"deregister"}, here...)...); err != nil || len(w.discovered(t)) != 0 {
		t.Errorf("%v", err)
	}
	if _, err = run(t, "deregister", "none", "--polaris-addr", door); err != nil {
		t.Errorf("what is not there is no error: %v", err)
	}
	_, err = run(t, append([]string{"register"}, append(here, "--host", "no host")...)...)
	if err == nil || exitCode(err) != exitRefused || !strings.Contains(err.Error(), "400131") {
		t.Errorf("%v", err)
	}
}

// Kept alive, an instance that the server lost comes back with the next beat,
// and an interrupt takes it away.
func TestKeepAlive(t *testing.T) {
	w := startWhole(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	cmd := root()
	cmd.SetArgs([]string{
		"register", "--service", "default/cart", "--host", "10.0.0.1", "--port", "80", "--ttl", "1", "--keep-alive",
		"--polaris-addr", w.app.polaris.Addr().String(),
	})
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	await := func(rev naming.Revision) {
		t.Helper()
		bounded, stop := context.WithTimeout(t.Context(), 20*time.Second)
		defer stop()
		if err := w.registry.Await(bounded, rev); err != nil {
			t.Fatalf("revision %d did not come: %v", rev, err)
		}
	}
	await(1)
	i := w.discovered(t)[0]
	if i.GetHealthCheck().GetHeartbeat().GetTtl().GetValue() != 1 {
		t.Errorf("%v", i)
	}
	w.cli(t, "delete", "instance", i.GetId().GetValue())
	await(3)
	if len(w.discovered(t)) != 1 {
		t.Error("not registered again")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(w.discovered(t)) != 0 {
		t.Errorf("still registered: %s", out.String())
	}
}

func TestANoteAboutWhatStaysIsolated(t *testing.T) {
	w := startWhole(t, t.TempDir())
	_, err := run(t, "register", "--service", "cart", "--host", "10.0.0.1", "--port", "80", "--isolated", "--polaris-addr", w.app.polaris.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w.cli(t, "set", "weight", "3", "--service", "cart", "--host", "10.0.0.1")
	var out bytes.Buffer
	cmd := root()
	cmd.SetArgs([]string{"isolate", "--off", "--service", "cart", "--host", "10.0.0.1", "--server", w.web.Addr().String()})
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	if err := cmd.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), "still isolated: its client says so") {
		t.Errorf("%v %s", err, out.String())
	}
}
