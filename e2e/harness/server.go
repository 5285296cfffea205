package harness

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a polestar process.
type Server struct {
	DataDir            string
	Polaris, XDS, HTTP string // addresses, the same over restarts
	Args               []string
	Log                *Log
	cmd                *exec.Cmd
	exited             chan struct{}
	exit               error
}

// NewServer picks addresses for a server on dir; it starts nothing.
func NewServer(dir string) *Server {
	return &Server{DataDir: dir, Polaris: FreeAddr(), XDS: FreeAddr(), HTTP: FreeAddr(), Log: &Log{}}
}

// StartServer starts a server on a fresh directory and ends it with the test.
func StartServer(t testing.TB, args ...string) *Server {
	t.Helper()
	s := NewServer(t.TempDir())
	s.Args = args
	s.StartFor(t)
	return s
}

// StartFor starts the server and ends it with the test.
func (s *Server) StartFor(t testing.TB) {
	t.Helper()
	ShowOnFailure(t, "polestar", s.Log)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd != nil {
			if err := s.Terminate(); err != nil {
				t.Errorf("stop of the server: %v", err)
			}
		}
	})
}

// Launch starts the process without waiting for it to be ready.
func (s *Server) Launch() error {
	bin, err := Binary("..", "./cmd/polestar")
	if err != nil {
		return err
	}
	args := append([]string{
		"server", "--data-dir", s.DataDir, "--polaris-addr", s.Polaris, "--xds-addr", s.XDS, "--http-addr", s.HTTP,
		"--auth.console-open=false", // a test that is about who may do what says otherwise
	}, s.Args...)
	s.cmd = exec.Command(bin, args...) //nolint:gosec // our own binary
	s.cmd.Stdout, s.cmd.Stderr = s.Log, s.Log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func() { s.exit = s.cmd.Wait(); close(s.exited) }()
	return nil
}

// Start starts the process and waits until it is ready.
func (s *Server) Start() error {
	if err := s.Launch(); err != nil {
		return err
	}
	return Poll(20*time.Second, func() error {
		select {
		case <-s.exited:
			return fmt.Errorf("the server ended: %w\n%s", s.exit, s.Log.Tail())
		default:
		}
		res, err := http.Get("http://" + s.HTTP + "/readyz")
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

// Kill ends the process as a crash would.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// End kills the process if it runs.
func (s *Server) End() {
	if s.cmd != nil {
		s.Kill()
	}
}

// Signal sends a signal.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

// Terminate sends SIGTERM and returns what the process ended with.
func (s *Server) Terminate() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	err := s.WaitExit(30 * time.Second)
	s.cmd = nil
	return err
}

// WaitExit waits for the end of the process; nil for exit status 0.
func (s *Server) WaitExit(most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-s.exited:
		return s.exit
	case <-timer.C:
		_ = s.cmd.Process.Kill()
		return fmt.Errorf("still running after %s", most)
	}
}

// Admin runs a command that talks to the server's HTTP door, with the token
// that its first start wrote.
func (s *Server) Admin(args ...string) (string, error) {
	out, err := Run(append(args, "--server", s.HTTP, "--token-file", filepath.Join(s.DataDir, "admin.token"))...)
	return strings.TrimSpace(string(out)), err
}

// Run runs another polestar command to its end.
func Run(args ...string) ([]byte, error) {
	bin, err := Binary("..", "./cmd/polestar")
	if err != nil {
		return nil, err
	}
	out, err := exec.Command(bin, args...).CombinedOutput() //nolint:gosec // our own binary
	if err != nil {
		return out, fmt.Errorf("polestar %v: %w: %s", args, err, out)
	}
	return out, nil
}
