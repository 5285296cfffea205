package ads

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polestar/xds/resource"
)

// meter holds the metrics of this room.
type meter struct {
	streams   *prometheus.GaugeVec
	responses *prometheus.CounterVec
	resources *prometheus.CounterVec
	bytes     *prometheus.CounterVec
	acks      *prometheus.CounterVec
	nacks     *prometheus.CounterVec
	ack       *prometheus.HistogramVec
}

func newMeter() meter {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"type"})
	}
	return meter{
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "polestar_xds_streams",
			Help: "Open xDS streams, by protocol: sotw or delta.",
		}, []string{"protocol"}),
		responses: counter("polestar_xds_responses_total", "Responses sent."),
		resources: counter("polestar_xds_resources_sent_total", "Resources sent in responses."),
		bytes:     counter("polestar_xds_bytes_sent_total", "Bytes of resources sent, before compression."),
		acks:      counter("polestar_xds_acks_total", "Responses that clients accepted."),
		nacks:     counter("polestar_xds_nacks_total", "Responses that clients refused."),
		ack: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "polestar_xds_ack_seconds",
			Help:    "Time from sending a response to its acceptance; Envoy accepts clusters after their warming only.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 14),
		}, []string{"type"}),
	}
}

func (m meter) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.streams, m.responses, m.resources, m.bytes, m.acks, m.nacks, m.ack} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	for _, protocol := range []string{sotw, delta} {
		m.streams.WithLabelValues(protocol)
	}
	for _, t := range resource.Types() { // so that rates exist before the first event
		for _, c := range []*prometheus.CounterVec{m.responses, m.resources, m.bytes, m.acks, m.nacks} {
			c.WithLabelValues(t.String())
		}
	}
	return nil
}

// typeMeter is a meter's part for one type, looked up once.
type typeMeter struct {
	responses, resources, bytes, acks, nacks prometheus.Counter
	ack                                      prometheus.Observer
}

func (m meter) of(t resource.Type) typeMeter {
	l := t.String()
	return typeMeter{
		responses: m.responses.WithLabelValues(l), resources: m.resources.WithLabelValues(l),
		bytes: m.bytes.WithLabelValues(l), acks: m.acks.WithLabelValues(l), nacks: m.nacks.WithLabelValues(l),
		ack: m.ack.WithLabelValues(l),
	}
}

func (m typeMeter) sent(p *packet) {
	m.responses.Inc()
	m.resources.Add(float64(len(p.Resources)))
	m.bytes.Add(float64(p.size()))
}

func (m typeMeter) judged(accepted bool, took time.Duration) {
	if !accepted {
		m.nacks.Inc()
		return
	}
	m.acks.Inc()
	m.ack.Observe(took.Seconds())
}
