package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Envoy is a real Envoy process with one egress listener.
type Envoy struct {
	Egress, Admin string
	Log           *Log
	cmd           *exec.Cmd
	exited        chan struct{}
}

// NewEnvoy starts an Envoy with the config that `polestar bootstrap envoy`
// prints, and waits until it has its listener. dir is for its files.
func NewEnvoy(s *Server, dir string, delta bool) (*Envoy, error) {
	egress, admin := FreeAddr(), FreeAddr()
	path, err := envoyConfig(s, dir, egress, admin, delta)
	if err != nil {
		return nil, err
	}
	return LaunchEnvoy(path, egress, admin)
}

func envoyConfig(s *Server, dir, egress, admin string, delta bool) (path string, err error) {
	config, err := Run("bootstrap", "envoy", "--xds-addr", s.XDS, "--namespace", "default", "--service", "client",
		"--egress-address", egress, "--admin-address", admin, "--delta="+strconv.FormatBool(delta))
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "envoy.yaml")
	return path, os.WriteFile(path, config, 0o600)
}

// LaunchEnvoy starts an Envoy with a config file that names these two
// addresses, and waits until it has its listener.
func LaunchEnvoy(path, egress, admin string) (*Envoy, error) {
	return LaunchEnvoyUntil(path, egress, admin, "listener_manager.total_listeners_active")
}

// LaunchEnvoyUntil waits until a stat of the new Envoy is not 0.
func LaunchEnvoyUntil(path, egress, admin, stat string) (*Envoy, error) {
	e := &Envoy{Egress: egress, Admin: admin, Log: &Log{}, exited: make(chan struct{})}
	e.cmd = exec.Command(filepath.Join(Cache(), "venv", "bin", "envoy"), "-c", path, "--concurrency", "1", //nolint:gosec // installed by install.sh
		"--use-dynamic-base-id", "--log-level", "warn", "--disable-hot-restart")
	e.cmd.Stdout, e.cmd.Stderr = e.Log, e.Log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		return nil, fmt.Errorf("envoy (run e2e/install.sh first): %w", err)
	}
	go func() { _ = e.cmd.Wait(); close(e.exited) }()
	err := Poll(30*time.Second, func() error {
		select {
		case <-e.exited:
			return errors.New("envoy ended: " + e.Log.Tail())
		default:
		}
		n, err := e.Stat(stat)
		if err == nil && n < 1 {
			err = fmt.Errorf("envoy's %s is 0: %s", stat, e.Log.Tail())
		}
		return err
	})
	if err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

// StartRefusingEnvoy starts an Envoy that ends with the test, and waits until
// it has refused its listener: its egress address is another machine's.
func StartRefusingEnvoy(t testing.TB, s *Server, delta bool) *Envoy {
	t.Helper()
	const elsewhere = "192.0.2.1:15001" // RFC 5737: for documentation
	admin := FreeAddr()
	path, err := envoyConfig(s, t.TempDir(), elsewhere, admin, delta)
	if err != nil {
		t.Fatal(err)
	}
	e, err := LaunchEnvoyUntil(path, elsewhere, admin, "listener_manager.lds.update_rejected")
	if err != nil {
		t.Fatal(err)
	}
	ShowOnFailure(t, "envoy that refuses", e.Log)
	t.Cleanup(e.Stop)
	return e
}

// StartEnvoy starts an Envoy that ends with the test. At the end it must not
// have refused anything.
func StartEnvoy(t testing.TB, s *Server, delta bool) *Envoy {
	t.Helper()
	e, err := NewEnvoy(s, t.TempDir(), delta)
	if err != nil {
		t.Fatal(err)
	}
	ShowOnFailure(t, "envoy", e.Log)
	t.Cleanup(func() {
		e.CheckNothingRefused(t)
		e.Stop()
	})
	return e
}

// Stop ends the process group: the installed envoy may be a wrapper.
func (e *Envoy) Stop() {
	_ = syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL)
	<-e.exited
}

// Stats reads all counters and gauges whose names contain filter (a regular
// expression).
func (e *Envoy) Stats(filter string) (map[string]uint64, error) {
	client := &http.Client{Timeout: 5 * time.Second}
	res, err := client.Get("http://" + e.Admin + "/stats?filter=" + filter)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	out := map[string]uint64{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			out[name] = n
		}
	}
	return out, nil
}

// Stat reads one counter or gauge.
func (e *Envoy) Stat(name string) (uint64, error) {
	all, err := e.Stats("^" + name + "$")
	return all[name], err
}

// CheckNothingRefused fails the test when Envoy refused an update.
func (e *Envoy) CheckNothingRefused(t testing.TB) {
	t.Helper()
	all, err := e.Stats("update_rejected")
	if err != nil {
		t.Errorf("envoy's stats: %v", err)
	}
	for name, n := range all {
		if n > 0 {
			t.Errorf("envoy refused updates: %s = %d\n%s", name, n, e.Log.Tail())
		}
	}
}

// Counts says which backends answered.
type Counts struct {
	By     map[string]int `json:"by"`
	Errors int            `json:"errors"`
	Last   string         `json:"last"` // the last error
}

// Total is the number of answered requests.
func (c Counts) Total() int {
	n := 0
	for _, k := range c.By {
		n += k
	}
	return n
}

// Get sends n requests for a host through the egress listener.
func (e *Envoy) Get(host string, n int, set ...func(*http.Request)) Counts {
	return Get(e.Egress, host, n, set...)
}

// Get sends n requests for a host to an address; set changes them.
func Get(addr, host string, n int, set ...func(*http.Request)) Counts {
	out := Counts{By: map[string]int{}}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	for range n {
		if who, err := get(client, addr, host, set); err != nil {
			out.Errors++
			out.Last = err.Error()
		} else {
			out.By[who]++
		}
	}
	return out
}

func get(client *http.Client, addr, host string, set []func(*http.Request)) (string, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/who", nil)
	if err != nil {
		return "", err
	}
	req.Host = host
	for _, f := range set {
		f(req)
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return string(body), err
}
