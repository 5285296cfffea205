package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// served checks the arguments of a server as an operator would type them.
func served(t *testing.T, args []string) {
	t.Helper()
	if len(args) == 0 || args[0] != "server" {
		t.Fatalf("arguments %v do not start a server", args)
	}
	fs := pflag.NewFlagSet("server", pflag.ContinueOnError)
	addFlags(fs)
	if err := fs.Parse(args[1:]); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"mysql-password-file", "cluster.secret-file"} { // they are made where it runs
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte("sixteen bytes or more"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := fs.Set(key, secret); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := loadConfig(fs, nil); err != nil {
		t.Error(err)
	}
}

// What the files in deploy/ say is understood by this program.
func TestDeployFiles(t *testing.T) {
	read := func(path string, into any) {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join("../../deploy", path))
		if err == nil {
			err = yaml.Unmarshal(raw, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	var compose struct {
		Services map[string]struct{ Command []string }
	}
	read("compose/compose.yaml", &compose)
	if len(compose.Services) != 4 {
		t.Errorf("%d services", len(compose.Services))
	}
	for name, s := range compose.Services {
		if name != "db" {
			served(t, s.Command)
		}
	}
	if _, err := readFile("../../deploy/systemd/polestar.yaml"); err != nil {
		t.Error(err)
	}
	chart, err := os.ReadFile("../../deploy/helm/polestar/templates/statefulset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{}
	for line := range strings.Lines(string(chart)) {
		if arg, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok && (arg == "server" || strings.HasPrefix(arg, "--")) {
			args = append(args, strings.NewReplacer(
				"$(POD_NAME)", "polestar-0", "{{ .Release.Name }}", "polestar", "{{ .Values.mysql.dsn }}", "u@tcp(h:1)/d", "{{ .Values.logLevel }}", "info",
				"{{ .Values.tls.clientAuth }}", "require", "{{ .Values.allowPlaintext }}", "false",
				"{{ .Values.auth.clientOpen }}", "true", "{{ .Values.auth.allowOpenBind }}", "false", "{{ .Values.auth.metrics }}", "always",
			).Replace(arg))
		}
	}
	served(t, args)
}
