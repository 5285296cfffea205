package health

import "github.com/prometheus/client_golang/prometheus"

type meter struct {
	collect     prometheus.Collector
	expirations prometheus.Counter
	recoveries  prometheus.Counter
	failures    prometheus.Counter
	pauses      prometheus.Counter
	beats       *prometheus.CounterVec
	beatKnown   prometheus.Counter
	beatUnknown prometheus.Counter
}

func newMeter(l *Leases) *meter {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &meter{
		expirations: counter("polestar_lease_expirations_total", "Instances that turned unhealthy for want of beats."),
		recoveries:  counter("polestar_lease_recoveries_total", "Instances that turned healthy again by a beat."),
		failures:    counter("polestar_lease_flip_failures_total", "Changes of health that could not be written; the leases were held."),
		pauses:      counter("polestar_lease_pauses_total", "Times the server itself paused, so that all leases started anew."),
		beats: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_beats_total", Help: "Heartbeats, by whether the instance has a lease.",
		}, []string{"result"}),
	}
	m.beatKnown, m.beatUnknown = m.beats.WithLabelValues("ok"), m.beats.WithLabelValues("unknown")
	m.collect = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "polestar_leases", Help: "Leases held."}, func() float64 {
		n := 0
		for i := range l.shards {
			s := &l.shards[i]
			s.mu.Lock()
			n += len(s.byID)
			s.mu.Unlock()
		}
		return float64(n)
	})
	return m
}

func (m *meter) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.collect, m.expirations, m.recoveries, m.failures, m.pauses, m.beats} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
