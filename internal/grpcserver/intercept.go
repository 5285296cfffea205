package grpcserver

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"polestar/internal/connlimit"
)

// unary counts a call and turns a panic into Internal.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (res any, err error) {
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(info.FullMethod, p)
		}
		s.meter.requests.WithLabelValues(info.FullMethod, status.Code(err).String()).Inc()
		s.meter.seconds.WithLabelValues(info.FullMethod).Observe(time.Since(began).Seconds())
	}()
	return next(ctx, req)
}

// stream does the same for a stream; only registered methods come here, so
// label values are bounded.
func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	s.meter.streams.WithLabelValues(info.FullMethod).Inc()
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(info.FullMethod, p)
		}
		s.meter.streams.WithLabelValues(info.FullMethod).Dec()
		s.meter.requests.WithLabelValues(info.FullMethod, status.Code(err).String()).Inc()
	}()
	return next(srv, ss)
}

func (s *Server) panicked(method string, p any) error {
	s.log.Error("a handler panicked", zap.String("method", method), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
	s.meter.panics.Inc()
	return status.Error(codes.Internal, "internal error")
}

type meter struct {
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	streams     *prometheus.GaugeVec
	refused     *prometheus.CounterVec
	connections prometheus.Gauge
	panics      prometheus.Counter
}

func newMeter(door string) *meter {
	labels := prometheus.Labels{"door": door}
	return &meter{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_grpc_requests_total", Help: "Calls that ended.", ConstLabels: labels,
		}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "polestar_grpc_request_seconds", Help: "Time of unary calls.", ConstLabels: labels,
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}, []string{"method"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "polestar_grpc_streams", Help: "Open streams.", ConstLabels: labels,
		}, []string{"method"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_grpc_connections_refused_total", Help: "Connections closed for a limit.", ConstLabels: labels,
		}, []string{"limit"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "polestar_grpc_connections", Help: "Open connections.", ConstLabels: labels,
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polestar_grpc_panics_total", Help: "Handlers that panicked.", ConstLabels: labels,
		}),
	}
}

// watch counts connections.
func (m *meter) watch() connlimit.Watch {
	return connlimit.Watch{
		Open:    func(n int) { m.connections.Set(float64(n)) },
		Refused: func(why string) { m.refused.WithLabelValues(why).Inc() },
	}
}

func (m *meter) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.streams, m.refused, m.connections, m.panics} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
