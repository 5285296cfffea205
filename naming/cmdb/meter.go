package cmdb

import "github.com/prometheus/client_golang/prometheus"

type meter struct {
	ranges prometheus.Gauge
	bad    prometheus.Gauge
	reads  *prometheus.CounterVec
}

func newMeter() meter {
	return meter{
		ranges: prometheus.NewGauge(prometheus.GaugeOpts{Name: "polestar_cmdb_ranges", Help: "Ranges of addresses whose location is known."}),
		bad: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "polestar_cmdb_bad", Help: "1 while the file cannot be used and what was read before is in force: alarm.",
		}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_cmdb_reads_total", Help: "Readings of the file, by result.",
		}, []string{"result"}),
	}
}

// read counts one reading.
func (m meter) read(err error) {
	if err != nil {
		m.bad.Set(1)
		m.reads.WithLabelValues("failed").Inc()
		return
	}
	m.bad.Set(0)
	m.reads.WithLabelValues("ok").Inc()
}

func (m meter) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.ranges, m.bad, m.reads} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
