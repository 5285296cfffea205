package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"polestar/e2e/harness"
)

// example is a folder of envoy-examples and how it is run.
type example struct {
	folder string
	run    func(t *testing.T, folder string, s *harness.Server)
}

// envoyExamples need the backends of the quickstart, shop "blue" and "green"
// over HTTP.
func envoyExamples() []example {
	return []example{
		{"quickstart", func(t *testing.T, folder string, s *harness.Server) { shopViaEnvoy(t, folder, s) }},
		{"eds-only", func(t *testing.T, folder string, s *harness.Server) { shopViaEnvoy(t, folder, s) }},
		{"gateway", gateway},
		{"delta", onlyWhatChanged},
	}
}

// grpcExamples need the same backends over gRPC, blue with three times the
// weight. The folder's name ends in the language.
func grpcExamples() []example {
	return []example{{"grpc-go", shopViaGRPC}, {"grpc-java", shopViaGRPC}, {"grpc-python", shopViaGRPC}, {"grpc-node", shopViaGRPC}}
}

func TestEveryExampleIsRun(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(harness.Root(), "..", "envoy-examples"))
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	run := []string{"polaris-sidecar"} // by TestExamplePolarisSidecar, whose ports are fixed
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, e.Name())
		}
	}
	for _, e := range slices.Concat(envoyExamples(), grpcExamples(), settingExamples()) {
		run = append(run, e.folder)
	}
	if slices.Sort(run); !slices.Equal(folders, run) {
		t.Errorf("the examples are %v, and run are %v", folders, run)
	}
}

func TestExamplesEnvoy(t *testing.T) {
	s := harness.StartServer(t)
	shop(t, s, "backend shop blue 5 100")
	shop(t, s, "backend shop green 5 100")
	for _, e := range envoyExamples() {
		t.Run(e.folder, func(t *testing.T) { e.run(t, e.folder, s) })
	}
}

func TestExamplesGRPC(t *testing.T) {
	s := harness.StartServer(t)
	shop(t, s, "backend shop blue 5 300 grpc")
	shop(t, s, "backend shop green 5 100 grpc")
	for _, e := range grpcExamples() {
		t.Run(e.folder, func(t *testing.T) { e.run(t, e.folder, s) })
	}
}

// shop starts an application as the READMEs do.
func shop(t *testing.T, s *harness.Server, line string) *harness.Child {
	t.Helper()
	bin, err := harness.Binary("drivers/polarisgo", ".")
	if err != nil {
		t.Fatal(err)
	}
	c := harness.StartChild(t, []string{"HOME=" + t.TempDir()}, bin, s.Polaris)
	if err := c.Do(line, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// exampleFile reads a file of an example.
func exampleFile(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{harness.Root(), "..", "envoy-examples"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// bootstrapOf reads an example's bootstrap. If the README says which command
// prints it, it has to be what that prints.
func bootstrapOf(t *testing.T, folder, file string) string {
	t.Helper()
	text := exampleFile(t, folder, file)
	for line := range strings.Lines(exampleFile(t, folder, "README.md")) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "bin/polestar bootstrap ")
		if !ok {
			continue
		}
		out, err := harness.Run(append([]string{"bootstrap"}, strings.Fields(command)...)...)
		if err != nil {
			t.Fatal(err)
		}
		if string(out) != text {
			t.Errorf("%s is not what %s prints:\n%s", file, line, out)
		}
	}
	return text
}

// moved puts other ports in the place of those in an example's bootstrap and
// returns the path of the new file.
func moved(t *testing.T, folder, file string, to map[string]string) string {
	t.Helper()
	config := bootstrapOf(t, folder, file)
	for from, addr := range to {
		if !strings.Contains(config, from) {
			t.Fatalf("port %s is not in the example", from)
		}
		_, port, _ := strings.Cut(addr, ":")
		config = strings.ReplaceAll(config, from, port)
	}
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// exampleEnvoy runs an example's Envoy for the length of the test.
func exampleEnvoy(t *testing.T, folder string, s *harness.Server) *harness.Envoy {
	t.Helper()
	egress, admin := harness.FreeAddr(), harness.FreeAddr()
	path := moved(t, folder, "envoy.yaml", map[string]string{"15010": s.XDS, "15001": egress, "9901": admin})
	e, err := harness.LaunchEnvoy(path, egress, admin)
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

// shows waits until the lines that a README's command prints, through sort
// and uniq -c, are those of expected.txt.
func shows(t *testing.T, folder string, lines func() []string) {
	t.Helper()
	want := map[string]int{}
	for line := range strings.Lines(exampleFile(t, folder, "expected.txt")) {
		count, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(count)
		if err != nil {
			t.Fatalf("expected.txt: %q: %v", line, err)
		}
		want[text] = n
	}
	harness.Wait(t, soon, func() error {
		got := map[string]int{}
		for _, line := range lines() {
			got[line]++
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
}

// shopViaEnvoy runs an example's Envoy and compares its answers with those
// expected.
func shopViaEnvoy(t *testing.T, folder string, s *harness.Server) *harness.Envoy {
	t.Helper()
	e := exampleEnvoy(t, folder, s)
	answers(t, folder, e)
	return e
}

// answers compares six answers with those expected.
func answers(t *testing.T, folder string, e *harness.Envoy, set ...func(*http.Request)) {
	t.Helper()
	shows(t, folder, func() []string {
		var lines []string
		c := e.Get("shop", 6, set...)
		for name, n := range c.By {
			lines = append(lines, slices.Repeat([]string{name}, n)...)
		}
		return append(lines, slices.Repeat([]string{c.Last}, c.Errors)...)
	})
}

// gateway asks for public hosts, as curl --connect-to does.
func gateway(t *testing.T, folder string, s *harness.Server) {
	shop(t, s, "backend cart red 5 100")
	e := exampleEnvoy(t, folder, s)
	client := &http.Client{Timeout: soon, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, e.Egress)
		},
	}}
	defer client.CloseIdleConnections()
	shows(t, folder, func() []string {
		var lines []string
		for range 4 {
			for _, url := range []string{"www.example.com", "api.example.com/cart/7", "api.example.com", "cart.default"} {
				answer, err := fetch(client, "http://"+url)
				if err != nil {
					answer = err.Error()
				}
				lines = append(lines, answer+" "+url)
			}
		}
		return lines
	})
}

// fetch returns the body and the status code.
func fetch(client *http.Client, url string) (string, error) {
	res, err := client.Get(url) //nolint:noctx // the client has a timeout
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return fmt.Sprintf("%s %d", body, res.StatusCode), err
}

// onlyWhatChanged: a server that was restarted sends nothing that the Envoy
// has, and of a change only what changed. A change that Envoy has is a proof
// that all before it is over.
func onlyWhatChanged(t *testing.T, folder string, s *harness.Server) {
	e := shopViaEnvoy(t, folder, s)
	if err := s.Terminate(); err != nil {
		t.Error(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	shop(t, s, "backend shop red 5 100")
	harness.Wait(t, soon, func() error {
		return answeredBy(func(n int) harness.Counts { return e.Get("shop", n) }, "blue", "green", "red")
	})
	for of, want := range map[string]float64{"cds": 0, "eds": 1, "lds": 0, "rds": 0} {
		if got, err := s.Metric(`polestar_xds_resources_sent_total{type="` + of + `"}`); err != nil || got != want {
			t.Errorf("the restarted server sent %v resources of type %s (%v), want %v", got, of, err, want)
		}
	}
}

// shopViaGRPC runs an example's client and compares its answers with those
// expected.
func shopViaGRPC(t *testing.T, folder string, s *harness.Server) {
	path := moved(t, folder, "bootstrap.json", map[string]string{"15010": s.XDS})
	_, language, _ := strings.Cut(folder, "-")
	var want, got harness.Counts
	if err := json.Unmarshal([]byte(exampleFile(t, folder, "expected.json")), &want); err != nil {
		t.Fatal(err)
	}
	c := harness.StartGRPC(t, language, path, "xds:///shop.default")
	if err := c.Do(fmt.Sprint("calls ", want.Total()), &got); err != nil {
		t.Fatal(err)
	}
	share := float64(want.By["blue"]) / float64(want.Total())
	bound := 5 * math.Sqrt(share*(1-share)*float64(want.Total())) // a false alarm is rarer than one in a million
	if got.Errors > 0 || math.Abs(float64(got.By["blue"]-want.By["blue"])) > bound {
		t.Errorf("got %v with %d errors (%s), want %v ± %.0f", got.By, got.Errors, got.Last, want.By, bound)
	}
	nothingRefused(t, s, 1)
}
