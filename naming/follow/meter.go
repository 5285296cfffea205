package follow

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type meter struct {
	gaps     prometheus.Counter
	reloads  prometheus.Counter
	shrinks  prometheus.Counter
	rewrites prometheus.Counter
	cutOff   prometheus.Gauge

	comparisons, differences prometheus.Counter
	compared, comparedAt     prometheus.Gauge
}

func newMeter() meter {
	return meter{
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polestar_follow_gaps_total", Help: "Own commits that had to wait for those of other servers.",
		}),
		reloads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polestar_follow_reloads_total", Help: "Times that the whole world was loaded because the change log did not reach back, or memory differed from the store.",
		}),
		shrinks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polestar_follow_shrinks_total", Help: "Loaded worlds that were refused because too much was missing.",
		}),
		rewrites: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polestar_follow_rewrites_total", Help: "Times that the database had forgotten commits which this node had shown.",
		}),
		cutOff: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "polestar_follow_cut_off_timestamp_seconds", Help: "Unix time at which this node lost the store; 0 while it can be read.",
		}),
		comparisons: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polestar_follow_comparisons_total", Help: "Times that memory was compared with the store.",
		}),
		differences: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polestar_follow_differences_total", Help: "Objects that differed between memory and store at the same revision, twice in a row.",
		}),
		compared: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "polestar_follow_compared_timestamp_seconds", Help: "Unix time of the last comparison of memory and store; 0 before the first.",
		}),
		comparedAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "polestar_follow_compared_revision", Help: "Revision at which memory was last compared with the store.",
		}),
	}
}

func (m meter) register(r prometheus.Registerer) error {
	return errors.Join(r.Register(m.gaps), r.Register(m.reloads), r.Register(m.shrinks), r.Register(m.rewrites), r.Register(m.cutOff),
		r.Register(m.comparisons), r.Register(m.differences), r.Register(m.compared), r.Register(m.comparedAt))
}
