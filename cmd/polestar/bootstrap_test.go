package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3" // named in the config
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"                           // named in the config
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"gopkg.in/yaml.v3"
)

// envoyConfig prints the Envoy bootstrap and reads it as Envoy does.
func envoyConfig(t *testing.T, args ...string) *bootstrapv3.Bootstrap {
	t.Helper()
	out, err := run(t, append([]string{"bootstrap", "envoy"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err = yaml.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	b := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(raw, b); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := b.ValidateAll(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return b
}

func TestBootstrapEnvoy(t *testing.T) {
	b := envoyConfig(t, "--namespace", "shop", "--service", `we"b`, "--egress-address", "[::1]:15001", "--zone", "z1", "--delta", "--node-id", "n: 1")
	m := b.GetNode().GetMetadata().GetFields()
	if b.GetNode().GetId() != "n: 1" || m["namespace"].GetStringValue() != "shop" || m["service"].GetStringValue() != `we"b` ||
		m["egress_address"].GetStringValue() != "[::1]:15001" || b.GetNode().GetLocality().GetZone() != "z1" {
		t.Errorf("node %v", b.GetNode())
	}
	if api := b.GetDynamicResources().GetAdsConfig().GetApiType().String(); api != "DELTA_GRPC" {
		t.Errorf("--delta gives %s", api)
	}
	if leds := envoyConfig(t, "--delta", "--leds", "100").GetNode().GetMetadata().GetFields()["leds"].GetStringValue(); leds != "100" {
		t.Errorf("--leds 100 gives %q", leds)
	}
	for _, wrong := range [][]string{{"--leds", "true"}, {"--delta", "--leds", "0"}, {"--delta", "--leds", "yes"}, {"--delta", "--leds", "1000001"}} {
		if _, err := run(t, append([]string{"bootstrap", "envoy"}, wrong...)...); err == nil || !strings.Contains(err.Error(), "--leds") {
			t.Errorf("%v: error %v", wrong, err)
		}
	}
	if api := envoyConfig(t).GetDynamicResources().GetAdsConfig().GetApiType().String(); api != "GRPC" {
		t.Errorf("the default is %s", api)
	}
}

func TestBootstrapGRPC(t *testing.T) {
	out, err := run(t, "bootstrap", "grpc", "--xds-addr", "127.0.0.1:9", "--namespace", "shop")
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		Servers []struct {
			URI   string `json:"server_uri"`
			Creds []struct{ Type string }
		} `json:"xds_servers"`
		Node struct {
			ID       string
			Metadata map[string]string
			Locality map[string]string
		}
	}
	if err := json.Unmarshal([]byte(out), &b); err != nil {
		t.Fatal(err)
	}
	if len(b.Servers) != 1 || b.Servers[0].URI != "127.0.0.1:9" || b.Node.ID == "" || b.Node.Metadata["namespace"] != "shop" || b.Node.Locality == nil {
		t.Errorf("%s", out)
	}
}

func TestBootstrapRefusesWhatIsNoAddress(t *testing.T) {
	for flag, value := range map[string]string{"--xds-addr": "nowhere", "--egress-address": "localhost:1", "--admin-address": "localhost:1"} {
		if _, err := run(t, "bootstrap", "envoy", flag, value); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s %s: %v", flag, value, err)
		}
	}
}

// The comment at the top holds the address too: no text may leave it.
func TestBootstrapTakesNoTextForAHost(t *testing.T) {
	for _, addr := range []string{"a\nadmin: {}:1", "a b:1", "{a}:1", `"a":1`, "ä:1", ":1"} {
		if out, err := run(t, "bootstrap", "envoy", "--xds-addr", addr); err == nil {
			t.Errorf("%q is accepted:\n%s", addr, out)
		}
	}
}

// The whole text is fixed, comments included: people read and copy it.
// POLESTAR_E2E_UPDATE=1 rewrites the files.
func TestBootstrapGolden(t *testing.T) {
	place := []string{"--node-id", "host-1-web", "--region", "r1", "--zone", "z1", "--sub-zone", "s1"}
	for name, args := range map[string][]string{
		"envoy.yaml":       {"envoy", "--service", "web", "--xds-addr", "[::1]:15010"},
		"envoy-delta.yaml": {"envoy", "--namespace", "shop", "--delta", "--xds-addr", "polestar.internal:15010"},
		"envoy-tls.yaml":   {"envoy", "--service", "web", "--xds-addr", "polestar.internal:15010", "--ca-file", "/etc/polestar/ca.pem", "--cert-file", "/etc/polestar/web.pem", "--key-file", "/etc/polestar/web-key.pem"},
		"grpc-tls.json":    {"grpc", "--service", "web", "--xds-addr", "polestar.internal:15010", "--ca-file", "/etc/polestar/ca.pem", "--cert-file", "/etc/polestar/web.pem", "--key-file", "/etc/polestar/web-key.pem"},
		"grpc.json":        {"grpc", "--namespace", "shop", "--service", "web", "--xds-addr", "polestar.internal:15010"},
	} {
		got, err := run(t, append(append([]string{"bootstrap"}, args...), place...)...)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "bootstrap-"+name)
		if os.Getenv("POLESTAR_E2E_UPDATE") != "" {
			if err = os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := fs.ReadFile(os.DirFS("testdata"), filepath.Base(path))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestBootstrapNamesTheNode(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		host + "-default": nil, host + "-shop": {"--namespace", "shop"}, host + "-web": {"--namespace", "shop", "--service", "web"},
	} {
		if got := envoyConfig(t, args...).GetNode().GetId(); got != want {
			t.Errorf("%v: node id %q, want %q", args, got, want)
		}
	}
}

// A client's token is in its first config only when it is named: that of the
// main user, which lies in the data directory, never is.
func TestBootstrapWithToken(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("POLESTAR_DATA_DIR", dir)
	t.Setenv("POLESTAR_TOKEN", "of-the-operator")
	for name, token := range map[string]string{adminTokenFile: "of-root-0123456789", "mine": "of-web-0123456789"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, args := range map[string][]string{"": nil, "of-web-0123456789": {"--token-file", filepath.Join(dir, "mine")}, "given": {"--token", "given"}} {
		shown := envoyConfig(t, args...).GetDynamicResources().GetAdsConfig().GetGrpcServices()[0].GetInitialMetadata()
		if (want == "") != (len(shown) == 0) || want != "" && (shown[0].GetKey() != "x-polaris-token" || shown[0].GetValue() != want) {
			t.Errorf("%v: Envoy shows %v, want %q", args, shown, want)
		}
		out, err := run(t, append([]string{"bootstrap", "grpc"}, args...)...)
		if err != nil || strings.Contains(out, `"x-polaris-token": "`+want+`"`) != (want != "") || strings.Contains(out, "of-root") || strings.Contains(out, "of-the-operator") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	for _, wrong := range [][]string{{"--token", "a", "--token-file", "b"}, {"--token", "a b"}, {"--token-file", filepath.Join(dir, "none")}} {
		if out, err := run(t, append([]string{"bootstrap", "envoy"}, wrong...)...); err == nil || !strings.Contains(err.Error(), "--token") {
			t.Errorf("%v: %v\n%s", wrong, err, out)
		}
	}
}
