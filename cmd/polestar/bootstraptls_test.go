package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"gopkg.in/yaml.v3"
)

// upstreamTLS is the TLS of the cluster in an Envoy bootstrap.
func upstreamTLS(t *testing.T, args ...string) *tlsv3.UpstreamTlsContext {
	t.Helper()
	socket := envoyConfig(t, args...).GetStaticResources().GetClusters()[0].GetTransportSocket()
	out := &tlsv3.UpstreamTlsContext{}
	if err := socket.GetTypedConfig().UnmarshalTo(out); err != nil {
		t.Fatal(err)
	}
	if err := out.ValidateAll(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBootstrapEnvoyTLS(t *testing.T) {
	if socket := envoyConfig(t).GetStaticResources().GetClusters()[0].GetTransportSocket(); socket != nil {
		t.Errorf("TLS without being asked for: %v", socket)
	}
	files := []string{"--ca-file", "/x/ca.pem", "--cert-file", "/x/c.pem", "--key-file", "/x/k.pem"}
	c := upstreamTLS(t, append(files, "--xds-addr", "polestar.internal:1")...)
	common := c.GetCommonTlsContext()
	san := common.GetValidationContext().GetMatchTypedSubjectAltNames()
	if c.GetSni() != "polestar.internal" || common.GetValidationContext().GetTrustedCa().GetFilename() != "/x/ca.pem" ||
		common.GetTlsCertificates()[0].GetPrivateKey().GetFilename() != "/x/k.pem" || len(san) != 1 ||
		san[0].GetSanType() != tlsv3.SubjectAltNameMatcher_DNS || san[0].GetMatcher().GetExact() != "polestar.internal" {
		t.Errorf("%v", c)
	}
	c = upstreamTLS(t, "--ca-file", "/x/ca.pem", "--xds-addr", "10.0.0.1:1")
	if san = c.GetCommonTlsContext().GetValidationContext().GetMatchTypedSubjectAltNames(); c.GetSni() != "" || san[0].GetSanType() != tlsv3.SubjectAltNameMatcher_IP_ADDRESS {
		t.Errorf("an address: %v", c)
	}
	if c = upstreamTLS(t, "--ca-file", "/x/ca.pem", "--xds-addr", "10.0.0.1:1", "--server-name", "n"); c.GetSni() != "n" {
		t.Errorf("a name: %v", c)
	}
}

// With --sds-dir the config leads to files that lead to the certificates, which
// Envoy follows.
func TestBootstrapEnvoyFollowsFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sds")
	c := upstreamTLS(t, "--ca-file", "/x/ca.pem", "--cert-file", "/y/c.pem", "--key-file", "/y/k.pem", "--sds-dir", dir).GetCommonTlsContext()
	combined := c.GetCombinedValidationContext()
	if len(combined.GetDefaultValidationContext().GetMatchTypedSubjectAltNames()) != 1 {
		t.Errorf("the server's name is not verified: %v", combined)
	}
	for name, at := range map[string]*tlsv3.SdsSecretConfig{
		"polestar-ca": combined.GetValidationContextSdsSecretConfig(), "polestar-cert": c.GetTlsCertificateSdsSecretConfigs()[0],
	} {
		path := at.GetSdsConfig().GetPathConfigSource().GetPath()
		if at.GetName() != name || path != filepath.Join(dir, name+".yaml") {
			t.Errorf("%s: %v", name, at)
		}
		var file struct{ Resources []map[string]any }
		if err := yaml.Unmarshal(content(t, dir, name+".yaml"), &file); err != nil {
			t.Fatal(err)
		}
		delete(file.Resources[0], "@type")
		raw, err := json.Marshal(file.Resources[0])
		if err != nil {
			t.Fatal(err)
		}
		var secret tlsv3.Secret
		if err = protojson.Unmarshal(raw, &secret); err != nil {
			t.Fatal(err)
		}
		watched := secret.GetValidationContext().GetWatchedDirectory().GetPath() + secret.GetTlsCertificate().GetWatchedDirectory().GetPath()
		if secret.GetName() != name || watched != map[string]string{"polestar-ca": "/x", "polestar-cert": "/y"}[name] {
			t.Errorf("%s: %v", name, &secret)
		}
	}
}

func TestBootstrapGRPCTLS(t *testing.T) {
	creds := func(args ...string) string {
		t.Helper()
		out, err := run(t, append([]string{"bootstrap", "grpc", "--xds-addr", "h:1"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		var b struct {
			Servers []struct {
				Creds []json.RawMessage `json:"channel_creds"`
			} `json:"xds_servers"`
		}
		if err = json.Unmarshal([]byte(out), &b); err != nil {
			t.Fatal(err)
		}
		var compact []byte
		for _, c := range b.Servers[0].Creds { // one: no client may fall back to plain text
			var v any
			if err = json.Unmarshal(c, &v); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			compact = append(compact, raw...)
		}
		return string(compact)
	}
	for want, args := range map[string][]string{
		`{"type":"insecure"}`:        nil,
		`{"config":{},"type":"tls"}`: {"--tls"},
		`{"config":{"ca_certificate_file":"/x/ca","certificate_file":"/x/c","private_key_file":"/x/k","refresh_interval":"30s"},"type":"tls"}`: {
			"--ca-file", "/x/ca", "--cert-file", "/x/c", "--key-file", "/x/k", "--server-name", "h",
		},
	} {
		if got := creds(args...); got != want {
			t.Errorf("%v: %s, want %s", args, got, want)
		}
	}
}

func TestBootstrapTLSMistakes(t *testing.T) {
	for want, args := range map[string][]string{
		"--ca-file":     {"envoy", "--tls"},
		"--key-file":    {"envoy", "--ca-file", "ca", "--cert-file", "c"},
		"--cert-file":   {"grpc", "--key-file", "k"},
		"--server-name": {"grpc", "--server-name", "other"},
		"no host":       {"envoy", "--ca-file", "ca", "--server-name", "a b"},
		"--sds-dir":     {"envoy", "--ca-file", "ca", "--sds-dir", "/dev/null/x"},
	} {
		if _, err := run(t, append([]string{"bootstrap"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
}
