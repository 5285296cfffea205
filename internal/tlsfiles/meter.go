package tlsfiles

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type meter struct {
	failures *prometheus.CounterVec
	refused  *prometheus.CounterVec
	expiry   *expiry
}

func newMeter() *meter {
	return &meter{
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_tls_reload_failures_total", Help: "Changed TLS files that could not be used; what was read before stayed in force.",
		}, []string{"door"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_tls_handshake_failures_total", Help: "TLS handshakes of gRPC doors that failed.",
		}, []string{"door", "reason"}),
		expiry: &expiry{ends: map[string]time.Time{}},
	}
}

func (m *meter) register(r prometheus.Registerer) error {
	return errors.Join(r.Register(m.failures), r.Register(m.refused), r.Register(m.expiry))
}

// expiry shows how long certificates are valid, counted when it is read.
type expiry struct {
	mu   sync.Mutex // guards everything below
	ends map[string]time.Time
}

var descExpiry = prometheus.NewDesc("polestar_tls_certificate_expiry_seconds",
	"Seconds until the first certificate in the chain of a door ends; negative when it has.", []string{"door"}, nil)

func (e *expiry) set(door string, end time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ends[door] = end
}

// Describe implements prometheus.Collector.
func (*expiry) Describe(ch chan<- *prometheus.Desc) { ch <- descExpiry }

// Collect implements prometheus.Collector.
func (e *expiry) Collect(ch chan<- prometheus.Metric) {
	e.mu.Lock()
	ends := maps.Clone(e.ends)
	e.mu.Unlock()
	for door, end := range ends {
		ch <- prometheus.MustNewConstMetric(descExpiry, prometheus.GaugeValue, time.Until(end).Seconds(), door)
	}
}
