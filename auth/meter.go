package auth

import (
	"github.com/prometheus/client_golang/prometheus"
)

// meter counts refusals. A counter for each pair is made beforehand: a refusal
// must not cost more than what is refused.
type meter struct {
	refusals *prometheus.CounterVec
	counters [AdminAPI + 1][Forbidden + 1]prometheus.Counter
}

func newMeter() *meter {
	m := &meter{refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "polestar_auth_refusals_total", Help: "Requests that were refused for who asked, by the kind of API and the reason.",
	}, []string{"api", "reason"})}
	for api := range m.counters {
		for reason := NoCredentials; reason <= Forbidden; reason++ {
			m.counters[api][reason] = m.refusals.WithLabelValues(API(api).String(), reason.String())
		}
	}
	return m
}

func (m *meter) refused(api API, r Reason) { m.counters[min(api, AdminAPI)][r].Inc() }

// register also shows how many users, groups, tokens and policies decide.
func (m *meter) register(r prometheus.Registerer, e *Engine) error {
	count := func(what string, of func(*compiled) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "polestar_auth_objects", Help: "Users, groups, tokens and policies by which requests are decided.",
			ConstLabels: prometheus.Labels{"kind": what},
		}, func() float64 { return float64(of(e.state.Load())) })
	}
	for _, c := range []prometheus.Collector{
		m.refusals,
		count("user", func(c *compiled) int { return len(c.names) }),
		count("group", func(c *compiled) int { return len(c.subjects) - len(c.names) }),
		count("token", func(c *compiled) int { return len(c.tokens) }),
		count("policy", func(c *compiled) int { return c.policies }),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
