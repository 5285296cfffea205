package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// flags parses args as `polestar server` would.
func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("server", pflag.ContinueOnError)
	addFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

func yamlFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "polestar.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	path := yamlFile(t, "data-dir: from-file\nxds-addr: 127.0.0.1:1\nhttp-addr: 127.0.0.1:2\nbatch:\n  register:\n    max-batch-count: 7\n  heartbeat:\n    open: false\nnaming:\n  auto-create: false\n")
	cfg, origin, err := loadConfig(
		flags(t, "--config", path, "--xds-addr", "127.0.0.1:3"),
		[]string{"POLESTAR_XDS_ADDR=127.0.0.1:4", "POLESTAR_HTTP_ADDR=127.0.0.1:5", "PATH=/bin", "POLESTAR_E2E_ANYTHING=1"},
	)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DataDir != "from-file" || cfg.XDS.Addr != "127.0.0.1:3" || cfg.HTTPAddr != "127.0.0.1:5" || cfg.Batch.Kinds[kindRegister].MaxBatchCount != 7 || cfg.Batch.Kinds[kindHeartbeat].Open || cfg.AutoCreate {
		t.Errorf("%+v", cfg)
	}
	for key, want := range map[string]string{
		"data-dir": "file " + path, "xds-addr": "flag --xds-addr", "http-addr": "env POLESTAR_HTTP_ADDR", "polaris-addr": "default",
	} {
		if origin[key] != want {
			t.Errorf("%s comes from %q, want %q", key, origin[key], want)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		env  string
		args []string
		want []string
	}{
		"unknown key":          {file: "xds-adr: x\n", want: []string{`"xds-adr"`, "did you mean xds-addr"}},
		"unknown nested key":   {file: "batch:\n  register:\n    que-size: 1\n", want: []string{"batch.register.que-size", "batch.register.queue-size"}},
		"list for a value":     {file: "data-dir: [a, b]\n", want: []string{"data-dir", "single value"}},
		"no YAML":              {file: "a: [\n", want: []string{"config file"}},
		"unknown variable":     {env: "POLESTAR_XDS_ADRR=x", want: []string{"POLESTAR_XDS_ADRR", "POLESTAR_XDS_ADDR"}},
		"not a number":         {args: []string{"--batch.other.queue-size", "many"}, want: []string{"batch.other.queue-size", "many"}},
		"number over 32 bits":  {args: []string{"--xds.max-concurrent-streams", "4294967296"}, want: []string{"xds.max-concurrent-streams"}},
		"out of range":         {args: []string{"--batch.heartbeat.queue-size", "0"}, want: []string{"batch.heartbeat.queue-size", "1000000"}},
		"not a switch":         {args: []string{"--batch.register.open", "maybe"}, want: []string{"batch.register.open", "maybe", "true nor false"}},
		"not a time":           {args: []string{"--drain-timeout", "5"}, want: []string{"drain-timeout", "5s"}},
		"not an address":       {args: []string{"--http-addr", "8090"}, want: []string{"http-addr", "host:port"}},
		"not a level":          {args: []string{"--log-level", "loud"}, want: []string{"log-level", "loud"}},
		"not a log format":     {args: []string{"--log-format", "xml"}, want: []string{"log-format", "console"}},
		"empty data directory": {args: []string{"--data-dir", ""}, want: []string{"data-dir"}},
		"clean-up age":         {args: []string{"--cleanup.overrides", "1s"}, want: []string{"cleanup.overrides", "1m"}},
		"lease factor":         {args: []string{"--lease.factor", "1"}, want: []string{"lease.factor"}},
		"guard's share":        {args: []string{"--lease.guard-share", "0"}, want: []string{"lease.guard-share", "1 and 100"}},
		"guard's minimum":      {file: "lease:\n  guard-min: 1001\n", want: []string{"lease.guard-min", "1 and 1000"}},
		"guard's patience":     {env: "POLESTAR_LEASE_GUARD_HOLD=2h", want: []string{"lease.guard-hold", "1s and 1h"}},
		"rate":                 {args: []string{"--polaris.rate-per-ip", "1000001"}, want: []string{"polaris.rate-per-ip", "1000000"}},
		"HTTP connections":     {args: []string{"--http.max-connections", "10"}, want: []string{"http.max-connections-per-ip", "(10)"}},
		"burst without a rate": {args: []string{"--http.rate-burst-per-ip", "5"}, want: []string{"http.rate-burst-per-ip", "http.rate-per-ip"}},
		"log bound":            {args: []string{"--store.log-max-bytes", "1"}, want: []string{"store.log-max-bytes", "1048576"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if c.file != "" {
				args = append(args, "--config", yamlFile(t, c.file))
			}
			_, _, err := loadConfig(flags(t, args...), []string{c.env})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not name %q", err, w)
				}
			}
		})
	}
}

// Every setting can be written as it is printed, under each of its names.
func TestEverySettingRoundTrips(t *testing.T) {
	def := defaultConfig()
	var args, env []string
	for _, s := range settings() {
		args = append(args, "--"+s.key, s.get(&def))
		env = append(env, s.env()+"="+s.get(&def))
	}
	for _, c := range []struct {
		args, env []string
	}{{args, nil}, {nil, env}} {
		if _, _, err := loadConfig(flags(t, c.args...), c.env); err != nil {
			t.Error(err)
		}
	}
}

// run runs a command line and returns what it printed.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestConfigPrintIsAConfig(t *testing.T) {
	out, err := run(t, "config", "print", "--data-dir", "/tmp/x y", "--batch.client-register.max-batch-count", "9")
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := loadConfig(flags(t, "--config", yamlFile(t, out)), nil)
	if err != nil {
		t.Fatalf("what is printed must be accepted: %v\n%s", err, out)
	}
	if cfg.DataDir != "/tmp/x y" || cfg.Batch.Kinds[kindClientRegister].MaxBatchCount != 9 || !strings.Contains(out, "# flag --data-dir") {
		t.Errorf("%+v\n%s", cfg, out)
	}
}
