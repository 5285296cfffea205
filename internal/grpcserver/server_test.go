package grpcserver

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves until the returned function is called, which reports Serve's
// result.
func start(t *testing.T, cfg Config, extra ...grpc.ServerOption) (*Server, *grpc.ClientConn, func() error) {
	t.Helper()
	s, err := New(cfg, prometheus.NewRegistry(), zap.NewNop(), extra...)
	if err != nil {
		t.Fatal(err)
	}
	if err = s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	cc, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return s, cc, func() error { cancel(); return <-done }
}

func TestPortInUse(t *testing.T) {
	s, _, stop := start(t, Default("polaris", "127.0.0.1:0"))
	other, err := New(Default("xds", s.Addr().String()), prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	want := "xds address " + s.Addr().String() + " is already in use"
	if err := other.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("err = %v, want %q", err, want)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestStopBeforeServingIsNoError(t *testing.T) {
	for range 50 { // either may win
		s, err := New(Default("d", "127.0.0.1:0"), prometheus.NewRegistry(), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if err = s.Listen(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err = s.Serve(ctx); err != nil {
			t.Fatalf("Serve: %v", err)
		}
	}
}

func TestPanicEndsOneCall(t *testing.T) {
	boom := true
	_, cc, stop := start(t, Default("d", "127.0.0.1:0"), grpc.ChainUnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if boom {
				boom = false
				panic("boom")
			}
			return next(ctx, req)
		}))
	c := healthv1.NewHealthClient(cc)
	if _, err := c.Check(t.Context(), &healthv1.HealthCheckRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("err = %v, want Internal", err)
	}
	if r, err := c.Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil || r.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("after a panic: %v, %v", r, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestOpenStreamDoesNotKeepTheServer(t *testing.T) {
	cfg := Default("d", "127.0.0.1:0")
	cfg.DrainTimeout = 50 * time.Millisecond
	// An interceptor that holds its stream as an xDS client would.
	held := make(chan struct{})
	_, cc, stop := start(t, cfg, grpc.ChainStreamInterceptor(
		func(_ any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, _ grpc.StreamHandler) error {
			close(held)
			<-ss.Context().Done()
			return nil
		}))
	w, err := healthv1.NewHealthClient(cc).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	<-held
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := w.Recv(); err == nil {
		t.Error("the stream is still open")
	}
}

func TestConnectionLimit(t *testing.T) {
	cfg := Default("d", "127.0.0.1:0")
	cfg.MaxConnectionsPerIP = 2
	s, _, stop := start(t, cfg)
	var open []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	over, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = over.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := over.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Error("a connection over the limit was served")
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() { //nolint:errorlint // net's own interface
		t.Error("a connection over the limit was left hanging")
	}
	for _, c := range append(open, over) {
		_ = c.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestConfigNamesTheKey(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"max-connections":        func(c *Config) { c.MaxConnections = 0 },
		"max-connections-per-ip": func(c *Config) { c.MaxConnectionsPerIP = c.MaxConnections + 1 },
		"max-concurrent-streams": func(c *Config) { c.MaxConcurrentStreams = 0 },
		"max-message-bytes":      func(c *Config) { c.MaxRecvBytes = 1 },
	} {
		cfg := Default("d", "")
		change(&cfg)
		if _, err := New(cfg, prometheus.NewRegistry(), zap.NewNop()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that names %s", err, want)
		}
	}
}
