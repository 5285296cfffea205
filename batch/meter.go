package batch

import "github.com/prometheus/client_golang/prometheus"

type meter struct {
	queue   prometheus.Gauge
	group   prometheus.Histogram
	commit  prometheus.Histogram
	refused *prometheus.CounterVec
}

func newMeter() meter {
	return meter{
		queue: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "polestar_batch_queue_length", Help: "Writes that wait for their group.",
		}),
		group: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "polestar_batch_group_size", Help: "Writes in one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "polestar_batch_commit_seconds", Help: "Time of one commit until it is visible.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_batch_refused_total", Help: "Writes that were not done, by reason.",
		}, []string{"reason"}),
	}
}

func (m meter) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.queue, m.group, m.commit, m.refused} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
