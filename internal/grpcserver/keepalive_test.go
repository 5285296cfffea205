package grpcserver

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"polestar/internal/connlimit"
)

// line is a client's connection that can go dead without being closed, as when
// a machine loses its power or a firewall its memory.
type line struct {
	net.Conn
	cut    chan struct{} // closed: nothing passes any more
	closed chan struct{}
	once   *sync.Once
}

func (l line) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	select {
	case <-l.cut:
		<-l.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (l line) Write(b []byte) (int, error) {
	select {
	case <-l.cut:
		return len(b), nil
	default:
		return l.Conn.Write(b)
	}
}

func (l line) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Conn.Close()
}

// held is a door in a bubble of fake time, with one open stream.
type held struct {
	conn   *grpc.ClientConn
	cut    chan struct{}
	stream healthv1.Health_WatchClient
	ended  chan time.Time // when the server noticed the end of the stream
}

func hold(t *testing.T, opts ...grpc.DialOption) *held {
	t.Helper()
	h := &held{cut: make(chan struct{}), ended: make(chan time.Time, 1)}
	s, err := New(Default("d", ""), prometheus.NewRegistry(), zap.NewNop(), grpc.ChainStreamInterceptor(
		func(_ any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, _ grpc.StreamHandler) error {
			if err := ss.SendMsg(&healthv1.HealthCheckResponse{}); err != nil {
				return err
			}
			<-ss.Context().Done()
			h.ended <- time.Now()
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	pipe := bufconn.Listen(1 << 16)
	s.listener = connlimit.New(pipe, 10, 10, s.meter.watch())
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	h.conn, err = grpc.NewClient("passthrough:///d", append(opts,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, failed := pipe.DialContext(ctx)
			return line{c, h.cut, make(chan struct{}), new(sync.Once)}, failed
		}))...)
	if err != nil {
		t.Fatal(err)
	}
	if h.stream, err = healthv1.NewHealthClient(h.conn).Watch(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err = h.stream.Recv(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = h.conn.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return h
}

func TestP06HalfOpenConnectionIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t)
		close(h.cut)
		start := time.Now()
		if took := (<-h.ended).Sub(start); took > 45*time.Second {
			t.Errorf("noticed after %s, want at most 45 s", took)
		}
	})
}

func TestP06QuietStreamStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		select {
		case <-h.ended:
			t.Error("a quiet stream was ended")
		default:
		}
	})
}

func TestP06ClientsMayPingEvery30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true,
		}))
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case <-h.ended:
			t.Error("a client was cut off for its PINGs")
		default:
		}
		if s := h.conn.GetState(); s != connectivity.Ready {
			t.Errorf("the connection is %s", s)
		}
	})
}
