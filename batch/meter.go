package batch

import "github.com/prometheus/client_golang/prometheus"

type meter struct {
	queue   *prometheus.GaugeVec
	group   *prometheus.HistogramVec
	wait    *prometheus.HistogramVec
	commit  *prometheus.HistogramVec
	refused *prometheus.CounterVec
	commits *prometheus.CounterVec
}

// kindMeter is what one kind counts.
type kindMeter struct {
	queue                       prometheus.Gauge
	group, wait, commit         prometheus.Observer
	full, closed, left, expired prometheus.Counter
}

func newMeter() *meter {
	kind := []string{"kind"}
	seconds := prometheus.ExponentialBuckets(0.0001, 2, 16)
	return &meter{
		queue: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "polestar_batch_queue_length", Help: "Writes that wait for their group.",
		}, kind),
		group: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "polestar_batch_group_size", Help: "Writes of one kind in one group.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}, kind),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "polestar_batch_wait_seconds", Help: "Time from the arrival of a write until its commit began.", Buckets: seconds,
		}, kind),
		commit: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "polestar_batch_commit_seconds", Help: "Time of one commit until it is visible, by the kinds of writes in it.", Buckets: seconds,
		}, kind),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_batch_refused_total", Help: "Writes that were not done, by reason.",
		}, []string{"kind", "reason"}),
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_batch_commits_total", Help: "Commits, by what became of them; split: tried again in halves.",
		}, []string{"result"}),
	}
}

func (m *meter) kind(name string) kindMeter {
	refused := func(reason string) prometheus.Counter { return m.refused.WithLabelValues(name, reason) }
	return kindMeter{
		queue: m.queue.WithLabelValues(name), group: m.group.WithLabelValues(name),
		wait: m.wait.WithLabelValues(name), commit: m.commit.WithLabelValues(name),
		full: refused("full"), closed: refused("closed"), left: refused("caller gone"), expired: refused("expired"),
	}
}

func (m *meter) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.queue, m.group, m.wait, m.commit, m.refused, m.commits} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
