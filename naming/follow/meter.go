package follow

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type meter struct {
	gaps    prometheus.Counter
	reloads prometheus.Counter
	shrinks prometheus.Counter
	cutOff  prometheus.Gauge
}

func newMeter() meter {
	return meter{
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polestar_follow_gaps_total", Help: "Own commits that had to wait for those of other servers.",
		}),
		reloads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polestar_follow_reloads_total", Help: "Times that the whole world was loaded because the change log did not reach back.",
		}),
		shrinks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polestar_follow_shrinks_total", Help: "Loaded worlds that were refused because too much was missing.",
		}),
		cutOff: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "polestar_follow_cut_off_timestamp_seconds", Help: "Unix time at which this node lost the store; 0 while it can be read.",
		}),
	}
}

func (m meter) register(r prometheus.Registerer) error {
	return errors.Join(r.Register(m.gaps), r.Register(m.reloads), r.Register(m.shrinks), r.Register(m.cutOff))
}
