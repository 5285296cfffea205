package grpcserver

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc/test/bufconn"

	"polestar/internal/connlimit"
)

// Whoever says nothing, or begins and does not go on, is cut off within 20 s.
func TestSilentConnectionIsClosed(t *testing.T) {
	for name, said := range map[string]string{
		"nothing": "", "half of the preface": "PRI * HTTP/2.0\r\n", "the preface alone": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"half of a frame": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06\x04",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := New(Default("d", ""), prometheus.NewRegistry(), zap.NewNop())
				if err != nil {
					t.Fatal(err)
				}
				pipe := bufconn.Listen(1 << 16)
				s.listener = connlimit.New(pipe, 10, 10, s.meter.watch())
				ctx, stop := context.WithCancel(context.Background())
				served := make(chan error, 1)
				go func() { served <- s.Serve(ctx) }()
				c, err := pipe.DialContext(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if _, err := c.Write([]byte(said)); err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, c) // until it is closed
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("cut off after %s", took)
				}
				stop()
				if err := <-served; err != nil {
					t.Error(err)
				}
				_ = c.Close()
			})
		})
	}
}
