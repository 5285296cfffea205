package health

import "github.com/prometheus/client_golang/prometheus"

// meter counts what leases do. Beats are counted in the shards, under a mutex
// that a beat holds anyway.
type meter struct {
	collectors  []prometheus.Collector
	expirations prometheus.Counter
	recoveries  prometheus.Counter
	failures    prometheus.Counter
	pauses      prometheus.Counter
	heldService prometheus.Counter
	heldAll     prometheus.Counter
	heldStore   prometheus.Counter
}

func newMeter(l *Leases) *meter {
	m := &meter{}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.collectors = append(m.collectors, c)
		return c
	}
	m.expirations = counter("polestar_lease_expirations_total", "Instances that turned unhealthy for want of beats.")
	m.recoveries = counter("polestar_lease_recoveries_total", "Instances that turned healthy again by a beat.")
	m.failures = counter("polestar_lease_flip_failures_total", "Changes of health that could not be written.")
	m.pauses = counter("polestar_lease_pauses_total", "Times the server itself paused, so that all leases started anew.")

	held := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "polestar_lease_held_total",
		Help: "Leases held healthy: too many of the service or of all fell silent, or the flip could not be written.",
	}, []string{"why"})
	m.heldService, m.heldAll, m.heldStore = held.WithLabelValues("service"), held.WithLabelValues("all"), held.WithLabelValues("store")
	m.collectors = append(m.collectors, held)

	m.gauges(l)
	beats := func(result string, of func(s *shard) uint64) {
		m.collectors = append(m.collectors, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "polestar_beats_total", Help: "Heartbeats, by whether the instance has a lease.",
			ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(l.sum(of)) }))
	}
	beats("ok", func(s *shard) uint64 { return s.beats })
	beats("unknown", func(s *shard) uint64 { return s.unknown })
	return m
}

func (m *meter) gauges(l *Leases) {
	gauge := func(name, help, state string, of func() float64) {
		opts := prometheus.GaugeOpts{Name: name, Help: help}
		if state != "" {
			opts.ConstLabels = prometheus.Labels{"state": state}
		}
		m.collectors = append(m.collectors, prometheus.NewGaugeFunc(opts, of))
	}
	const help = "Leases, by state; suspects are late but held healthy."
	suspects := func() float64 { return float64(l.all.suspects.Load()) }
	gauge("polestar_leases", help, "healthy", func() float64 { return float64(l.all.live.Load() - l.all.suspects.Load()) })
	gauge("polestar_leases", help, "suspect", suspects)
	gauge("polestar_leases", help, "unhealthy", func() float64 { return float64(l.all.size.Load() - l.all.live.Load()) })
	gauge("polestar_leases_suspect", "Leases that are late but held healthy by the mass-loss guard: alarm when above 0.", "", suspects)
	gauge("polestar_lease_outage_seconds", "How long changes of health cannot be written; 0 when they can.", "",
		func() float64 { return l.Outage().Seconds() })
}

// sum adds a count over all shards.
func (l *Leases) sum(of func(s *shard) uint64) uint64 {
	var n uint64
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += of(s)
		s.mu.Unlock()
	}
	return n
}

func (m *meter) register(r prometheus.Registerer) error {
	for _, c := range m.collectors {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
