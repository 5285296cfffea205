package web

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestListenErrorsAreClear(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for addr, want := range map[string]string{
		l.Addr().String(): "http address " + l.Addr().String() + " is already in use",
		"192.0.2.1:1":     "http address 192.0.2.1:1 cannot be listened on",
	} {
		s := New(addr, door(t, true).deps)
		if err := s.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if s.Addr() != nil {
			t.Error("an address without a listener")
		}
	}
}

// started serves s until the returned function is called, which gives Serve's
// error.
func started(t *testing.T, s *Server) (stop func() error) {
	t.Helper()
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(cancel)
	return func() error {
		cancel()
		return <-done
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	s := door(t, true)
	stop := started(t, s)
	addr := s.Addr().String()
	client := &http.Client{Transport: &http.Transport{}}
	res, err := client.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || string(body) != "ok\n" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	_ = res.Body.Close()
	if err := stop(); err != nil {
		t.Errorf("a stop is no error: %v", err)
	}
	client.CloseIdleConnections()
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("the port is still open")
	}
}

func TestHeadersHaveABound(t *testing.T) {
	s := door(t, true)
	stop := started(t, s)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Long", strings.Repeat("x", 128<<10))
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("128 KiB of headers: %d", res.StatusCode)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// pipe is a listener of one connection without a socket, so that its time is
// the bubble's.
type pipe struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (p pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conn:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipe) Close() error {
	close(p.closed)
	return nil
}

func (pipe) Addr() net.Addr { return &net.TCPAddr{} }

// A client that never ends its headers loses its connection after 5 s, and a
// request that never ends holds a stop for 2 s at most.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := door(t, true)
		p := pipe{make(chan net.Conn), make(chan struct{})}
		s.listener = p
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx) }()

		slow, server := net.Pipe()
		p.conn <- server
		start := time.Now()
		if _, err := slow.Write([]byte("GET /healthz HTTP/1.1\r\n")); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(slow)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("headers without an end were waited for %s, want 5s", took)
		}

		hang := make(chan struct{})
		s.deps.Checks = func() []Check { <-hang; return nil }
		stuck, server := net.Pipe()
		p.conn <- server
		go func() { _, _ = io.Copy(io.Discard, stuck) }()
		if _, err := stuck.Write([]byte("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start = time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("a request without an end held the stop for %s, want 2s", took)
		}
		close(hang)
	})
}
