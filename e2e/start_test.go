package e2e

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// TestStartSaysWhatIsWrong: each mistake ends with exit status 1 and a line
// that names it.
func TestStartSaysWhatIsWrong(t *testing.T) {
	running := harness.StartServer(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	garbage := t.TempDir()
	if err := os.WriteFile(filepath.Join(garbage, "polestar.db"), bytes.Repeat([]byte("no store "), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := filepath.Join(t.TempDir(), "polestar.yaml")
	if err := os.WriteFile(yaml, []byte("xds-adr: 127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	taken := l.Addr().String()
	for name, c := range map[string]struct {
		set  func(s *harness.Server)
		want []string
	}{
		"port in use":                    {func(s *harness.Server) { s.Polaris = taken }, []string{"polaris address", taken, "already in use"}},
		"xDS port in use":                {func(s *harness.Server) { s.XDS = taken }, []string{"xds address", taken, "already in use"}},
		"HTTP port in use":               {func(s *harness.Server) { s.HTTP = taken }, []string{"http address", taken, "already in use"}},
		"data directory is a file":       {func(s *harness.Server) { s.DataDir = file }, []string{"data directory", file}},
		"data directory that cannot be":  {func(s *harness.Server) { s.DataDir = "/proc/polestar" }, []string{"data directory", "/proc/polestar"}},
		"store file that is none":        {func(s *harness.Server) { s.DataDir = garbage }, []string{"store file", garbage, "damaged or no Polestar store"}},
		"second server on the same file": {func(s *harness.Server) { s.DataDir = running.DataDir }, []string{"another server has it open"}},
		"unknown key in the file":        {func(s *harness.Server) { s.Args = []string{"--config", yaml} }, []string{"xds-adr", "xds-addr"}},
		"unknown flag":                   {func(s *harness.Server) { s.Args = []string{"--no-such-flag"} }, []string{"no-such-flag"}},
		"value out of range":             {func(s *harness.Server) { s.Args = []string{"--batch.register.max-batch-count", "0"} }, []string{"batch.register.max-batch-count", "10000"}},
		"config file that is not there":  {func(s *harness.Server) { s.Args = []string{"--config", "/no/such"} }, []string{"/no/such"}},
		"address that is none":           {func(s *harness.Server) { s.XDS = "nonsense" }, []string{"xds-addr", "host:port"}},
		"log level that does not exist":  {func(s *harness.Server) { s.Args = []string{"--log-level", "loud"} }, []string{"log-level"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.NewServer(t.TempDir())
			c.set(s)
			if err := s.Launch(); err != nil {
				t.Fatal(err)
			}
			err := s.WaitExit(20 * time.Second)
			if err == nil || err.Error() != "exit status 1" {
				t.Errorf("ended with %v, want exit status 1", err)
			}
			lines := strings.Split(strings.TrimSpace(s.Log.String()), "\n")
			last := lines[len(lines)-1]
			for _, w := range c.want {
				if !strings.Contains(last, w) {
					t.Errorf("the last line %q does not name %q", last, w)
				}
			}
		})
	}
}

func TestGetReadsALiveServer(t *testing.T) {
	s := harness.StartServer(t)
	r := harness.Connect(t, s.Polaris)
	if err := r.Put(harness.Instance("cart", "10.1.2.3:80")); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"namespaces", "services", "instances", "clients", "problems"} {
		for _, form := range []string{"table", "json", "yaml"} {
			out, err := harness.Run("get", kind, "--server", s.HTTP, "-o", form)
			if err != nil {
				t.Fatal(err)
			}
			if kind == "instances" && !strings.Contains(string(out), "10.1.2.3") {
				t.Errorf("get %s -o %s: %s", kind, form, out)
			}
		}
	}
	if out, err := harness.Run("get", "services", "--server", "127.0.0.1:1"); err == nil || !strings.Contains(string(out), "127.0.0.1:1") {
		t.Errorf("a server that is not there: %v %s", err, out)
	}
}
