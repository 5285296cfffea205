package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"polestar/e2e/harness"
)

// example reads a file of envoy-examples.
func example(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{harness.Root(), "..", "envoy-examples"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// isPrinted checks that a bootstrap of an example is what the command in its
// README prints.
func isPrinted(t *testing.T, file string, args ...string) {
	t.Helper()
	out, err := harness.Run(args...)
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != file {
		t.Errorf("the example's bootstrap is not what polestar %s prints:\n%s", strings.Join(args, " "), out)
	}
}

// shop starts an application as the READMEs do.
func shop(t *testing.T, s *harness.Server, line string) {
	t.Helper()
	bin, err := harness.Binary("drivers/polarisgo", ".")
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.StartChild(t, []string{"HOME=" + t.TempDir()}, bin, s.Polaris).Do(line, nil); err != nil {
		t.Fatal(err)
	}
}

// TestExampleQuickstart runs envoy-examples/quickstart on other ports.
func TestExampleQuickstart(t *testing.T) {
	config := example(t, "quickstart", "envoy.yaml")
	isPrinted(t, config, "bootstrap", "envoy", "--namespace", "default", "--service", "client", "--node-id", "quickstart")
	s := harness.StartServer(t)
	shop(t, s, "backend shop blue 5 100")
	shop(t, s, "backend shop green 5 100")
	egress, admin := harness.FreeAddr(), harness.FreeAddr()
	for _, move := range []struct{ port, to string }{{"15010", s.XDS}, {"15001", egress}, {"9901", admin}} {
		_, port, _ := strings.Cut(move.to, ":")
		if !strings.Contains(config, move.port) {
			t.Fatalf("port %s is not in the example", move.port)
		}
		config = strings.ReplaceAll(config, move.port, port)
	}
	path := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := harness.LaunchEnvoy(path, egress, admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	harness.ShowOnFailure(t, "envoy", e.Log)
	want := strings.Fields(example(t, "quickstart", "expected.txt")) // count, name, count, name
	harness.Wait(t, soon, func() error {
		c := e.Get("shop", 6)
		var got []string
		for name, n := range c.By {
			got = append(got, fmt.Sprint(n), name)
		}
		if slices.Sort(got); c.Errors > 0 || !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			return fmt.Errorf("got %v, %d errors; want %v", got, c.Errors, want)
		}
		return nil
	})
	e.CheckNothingRefused(t)
}

// TestExampleGRPCGo runs envoy-examples/grpc-go on another port, also with the
// client in Python.
func TestExampleGRPCGo(t *testing.T) {
	config := example(t, "grpc-go", "bootstrap.json")
	isPrinted(t, config, "bootstrap", "grpc", "--namespace", "default", "--node-id", "grpc-go-example")
	s := harness.StartServer(t)
	shop(t, s, "backend shop blue 5 300 grpc")
	shop(t, s, "backend shop green 5 100 grpc")
	path := filepath.Join(t.TempDir(), "bootstrap.json")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(config, "127.0.0.1:15010", s.XDS)), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"GRPC_XDS_BOOTSTRAP=" + path}
	bin, err := harness.Binary(".", "./drivers/grpcgo")
	if err != nil {
		t.Fatal(err)
	}
	var want harness.Counts
	if err := json.Unmarshal([]byte(example(t, "grpc-go", "expected.json")), &want); err != nil {
		t.Fatal(err)
	}
	python := filepath.Join(harness.Cache(), "venv", "bin", "python")
	for name, c := range map[string]*harness.Child{
		"go":     harness.StartChild(t, env, bin, "xds:///shop.default"),
		"python": harness.StartChild(t, env, python, filepath.Join(harness.Root(), "drivers", "python", "client.py"), "xds:///shop.default"),
	} {
		var got harness.Counts
		if err := c.Do(fmt.Sprint("calls ", want.Total()), &got); err != nil {
			t.Fatal(err)
		}
		share := float64(want.By["blue"]) / float64(want.Total())
		bound := 5 * math.Sqrt(share*(1-share)*float64(want.Total())) // a false alarm is rarer than one in a million
		if got.Errors > 0 || math.Abs(float64(got.By["blue"]-want.By["blue"])) > bound {
			t.Errorf("%s: got %v with %d errors (%s), want %v ± %.0f", name, got.By, got.Errors, got.Last, want.By, bound)
		}
	}
}
