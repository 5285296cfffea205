package xds

import "github.com/prometheus/client_golang/prometheus"

// meter holds the pipeline's metrics.
type meter struct {
	rebuild  prometheus.Histogram
	problems prometheus.Gauge
	refused  *prometheus.CounterVec
}

func newMeter() meter {
	return meter{
		rebuild: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "polestar_xds_rebuild_seconds",
			Help:    "Time to rebuild what one batch of registry changes touched and wake the streams.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 16),
		}),
		problems: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "polestar_xds_problems",
			Help: "Endpoints and names left out of watched resources because clients would refuse them.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_xds_invalid_resources_total",
			Help: "Resources that failed validation and were not published.",
		}, []string{"type"}),
	}
}

func (m meter) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.rebuild, m.problems, m.refused} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
