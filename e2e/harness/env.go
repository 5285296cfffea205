package harness

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Cache is where install.sh puts things.
func Cache() string {
	if dir := os.Getenv("POLESTAR_E2E_CACHE"); dir != "" {
		return dir
	}
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			panic(err)
		}
		base = filepath.Join(home, ".cache")
	}
	return filepath.Join(base, "polestar")
}

var (
	buildMu sync.Mutex
	built   = map[string]string{}
	binDir  string
)

// Binary builds a Go command once per test run and returns its path. dir is
// the module to build in, relative to the e2e folder. POLESTAR_E2E_RACE builds
// the server with the race detector.
func Binary(dir, pkg string) (string, error) {
	buildMu.Lock()
	defer buildMu.Unlock()
	if path, ok := built[dir+pkg]; ok {
		return path, nil
	}
	if binDir == "" {
		tmp, err := os.MkdirTemp("", "polestar-e2e-")
		if err != nil {
			return "", err
		}
		binDir = tmp
	}
	path := filepath.Join(binDir, filepath.Base(filepath.Join(dir, pkg)))
	args := []string{"build", "-o", path}
	if dir == ".." && os.Getenv("POLESTAR_E2E_RACE") != "" {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, pkg)...) //nolint:gosec // our own packages
	cmd.Dir = filepath.Join(Root(), dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	built[dir+pkg] = path
	return path, nil
}

// Cleanup removes what Binary built; for TestMain.
func Cleanup() {
	if binDir != "" {
		_ = os.RemoveAll(binDir)
	}
}

// Root is the e2e folder.
func Root() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "install.sh")); err == nil {
			return dir
		}
		if dir == "/" {
			panic("not inside the e2e folder")
		}
		dir = filepath.Dir(dir)
	}
}

// FreeAddr returns a loopback address that nobody listens on.
func FreeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Log collects the output of a child.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Tail is the end of the log, for messages.
func (l *Log) Tail() string {
	s := l.String()
	if len(s) > 6000 {
		s = "…" + s[len(s)-6000:]
	}
	return s
}

// ShowOnFailure prints a child's log when the test failed.
func ShowOnFailure(t testing.TB, name string, l *Log) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("--- end of the log of %s\n%s", name, l.Tail())
		}
	})
}

// Wait polls f until it returns nil, or fails the test with f's last error.
func Wait(t testing.TB, most time.Duration, f func() error) {
	t.Helper()
	if err := Poll(most, f); err != nil {
		t.Fatalf("not within %s: %v", most, err)
	}
}

// Poll calls f every 20 ms until it returns nil or the time is over.
func Poll(most time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
