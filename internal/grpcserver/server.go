package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"polestar/internal/connlimit"
)

// Config of one door.
type Config struct {
	Name                 string // of the door, in errors, logs and metrics
	Addr                 string // host:port to listen on
	MaxConnections       int    // open connections at most, 1…1,000,000
	MaxConnectionsPerIP  int    // of them from one address
	MaxConcurrentStreams uint32 // per connection, 1…1,000,000
	MaxRecvBytes         int    // of one message, 1 KiB…64 MiB
	DrainTimeout         time.Duration
}

// Default returns the limits of a door at addr.
func Default(name, addr string) Config {
	return Config{
		Name: name, Addr: addr, MaxConnections: 20_000, MaxConnectionsPerIP: 20_000, MaxConcurrentStreams: 1000,
		MaxRecvBytes: 4 << 20, DrainTimeout: 5 * time.Second,
	}
}

// Validate returns an error that names the key and its bound.
func (c Config) Validate() error {
	switch {
	case c.MaxConnections < 1 || c.MaxConnections > 1_000_000:
		return fmt.Errorf("%s max-connections: %d is not between 1 and 1000000", c.Name, c.MaxConnections)
	case c.MaxConnectionsPerIP < 1 || c.MaxConnectionsPerIP > c.MaxConnections:
		return fmt.Errorf("%s max-connections-per-ip: %d is not between 1 and max-connections (%d)", c.Name, c.MaxConnectionsPerIP, c.MaxConnections)
	case c.MaxConcurrentStreams < 1 || c.MaxConcurrentStreams > 1_000_000:
		return fmt.Errorf("%s max-concurrent-streams: %d is not between 1 and 1000000", c.Name, c.MaxConcurrentStreams)
	case c.MaxRecvBytes < 1<<10 || c.MaxRecvBytes > 64<<20:
		return fmt.Errorf("%s max-message-bytes: %d is not between 1024 and 67108864", c.Name, c.MaxRecvBytes)
	}
	return nil
}

// Server is one door.
type Server struct {
	cfg      Config
	log      *zap.Logger
	grpc     *grpc.Server
	health   *health.Server
	listener *connlimit.Listener
	meter    *meter
}

// New makes a door. Services are registered on [Server.GRPC] before
// [Server.Serve]; health and reflection are there already.
func New(cfg Config, metrics prometheus.Registerer, log *zap.Logger, extra ...grpc.ServerOption) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log, health: health.NewServer(), meter: newMeter(cfg.Name)}
	if err := s.meter.register(metrics); err != nil {
		return nil, err
	}
	opts := []grpc.ServerOption{
		grpc.ConnectionTimeout(10 * time.Second), // a connection that says nothing is closed
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// xDS clients ping every 30 s (Envoy as configured) to 5 min (gRPC).
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.MaxConcurrentStreams(cfg.MaxConcurrentStreams),
		grpc.MaxRecvMsgSize(cfg.MaxRecvBytes),
		grpc.MaxHeaderListSize(64 << 10),
		grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream),
	}
	s.grpc = grpc.NewServer(append(opts, extra...)...)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	return s, nil
}

// GRPC is where services are registered.
func (s *Server) GRPC() *grpc.Server { return s.grpc }

// Addr is the address that the door listens on; nil before [Server.Listen].
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Listen opens the port.
func (s *Server) Listen(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.cfg.Addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s address %s is already in use: %w", s.cfg.Name, s.cfg.Addr, err)
	case err != nil:
		return fmt.Errorf("%s address %s cannot be listened on: %w", s.cfg.Name, s.cfg.Addr, err)
	}
	s.listener = connlimit.New(l, s.cfg.MaxConnections, s.cfg.MaxConnectionsPerIP, s.meter.watch())
	return nil
}

// Serve answers until ctx ends, then lets calls finish until the drain
// timeout, and ends what is left.
func (s *Server) Serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(s.listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	s.health.Shutdown()
	graceful := make(chan struct{})
	go func() { s.grpc.GracefulStop(); close(graceful) }()
	timer := time.NewTimer(s.cfg.DrainTimeout)
	defer timer.Stop()
	select {
	case <-graceful:
	case <-timer.C:
		s.log.Warn("calls were still running at the drain deadline and are ended", zap.String("door", s.cfg.Name))
		s.listener.CloseAll()
		s.grpc.Stop()
		<-graceful
	}
	// ErrServerStopped: the stop came before Serve had begun.
	if err := <-served; !errors.Is(err, grpc.ErrServerStopped) {
		return err // nil after a stop
	}
	return nil
}

// Close closes the port of a door that never served.
func (s *Server) Close() error {
	s.grpc.Stop()
	if s.listener == nil {
		return nil
	}
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
