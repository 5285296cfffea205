package cluster

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type meter struct {
	members   prometheus.Gauge
	forwarded prometheus.Counter
	lost      prometheus.Counter
	strays    prometheus.Counter
	failed    prometheus.Counter
	refused   prometheus.Counter
}

func newMeter() meter {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "polestar_cluster_" + name, Help: help})
	}
	return meter{
		members:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "polestar_cluster_members", Help: "Live members that this server sees, itself included."}),
		forwarded: counter("forwarded_beats_total", "Beats handed to the members that own the leases."),
		lost:      counter("lost_beats_total", "Beats that found no member to take them, or a full queue."),
		strays:    counter("stray_beats_total", "Beats from members for leases that this server does not have."),
		failed:    counter("failed_messages_total", "Messages to members, and rows in the store, that failed."),
		refused:   counter("refused_messages_total", "Messages of servers that did not prove the cluster's secret."),
	}
}

func (m meter) register(r prometheus.Registerer) error {
	return errors.Join(r.Register(m.members), r.Register(m.forwarded), r.Register(m.lost), r.Register(m.strays), r.Register(m.failed), r.Register(m.refused))
}
