package receipt

import "github.com/prometheus/client_golang/prometheus"

type meter struct {
	waits   prometheus.Gauge
	refused prometheus.Counter
	results *prometheus.CounterVec
}

func newMeter() meter {
	return meter{
		waits: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "polestar_receipt_waits", Help: "Waits for a revision that are under way.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polestar_receipt_refused_total", Help: "Waits refused because too many were under way.",
		}),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_receipts_total", Help: "Receipts handed out, by whether every client had the revision.",
		}, []string{"converged"}),
	}
}

func (m meter) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.waits, m.refused, m.results} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (m meter) ended(converged bool) {
	label := "false"
	if converged {
		label = "true"
	}
	m.results.WithLabelValues(label).Inc()
}
