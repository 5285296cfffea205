package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polestar/auth"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/web"
	"polestar/xds/ads"
	"polestar/xds/explain"
	"polestar/xds/receipt"
)

// clients turns the status of every xDS stream into the admin API's form.
func (a *app) clients() []web.Client {
	all := a.ads.Clients()
	out := make([]web.Client, len(all))
	for n, c := range all {
		out[n] = web.Client{
			Stream: c.ID, Node: c.NodeID, View: c.View, Principal: c.Principal.Name, UserAgent: c.UserAgent, Peer: c.Peer, Protocol: "sotw", Since: web.Time(c.Since),
			Types: make([]web.ClientType, len(c.Types)), Unserved: c.Unserved,
		}
		if c.Delta {
			out[n].Protocol = "delta"
		}
		for k, t := range c.Types {
			out[n].Types[k] = clientType(t)
		}
	}
	return out
}

func clientType(t ads.TypeStatus) web.ClientType {
	return web.ClientType{
		Type: t.Type.String(), Wildcard: t.Wildcard, Subscribed: t.Names,
		SentRevision: t.Sent.Revision, SentAt: web.Time(t.Sent.At), InFlight: t.InFlight,
		AckedRevision: t.Acked.Revision, AckedAt: web.Time(t.Acked.At),
		Refused: t.Refused.Reason, RefusedRevision: t.Refused.Revision, RefusedAt: web.Time(t.Refused.At),
		RefusedResources: t.Refused.Names, Refusals: t.Refused.Count, Withheld: t.Parked,
	}
}

// reach is what bounds the change log.
func reach(b store.LogBounds) web.Reach {
	r := web.Reach{MaxRevisions: b.MaxRevisions, MaxBytes: b.MaxBytes}
	if b.MaxAge > 0 {
		r.MaxAge = b.MaxAge.String()
	}
	return r
}

// explainer answers what clients have, and why.
func (a *app) explainer() *explain.Explainer {
	return explain.New(explain.Deps{
		World: a.registry.World, Clients: a.ads, Touched: a.pipeline.Touched, Lease: a.leases.State, Now: time.Now,
		Settle: func(ctx context.Context) error { return a.pipeline.Await(ctx, a.pipeline.Revision()) },
	})
}

// inspect is what somebody may see of clients and of what they have.
func (a *app) inspect(ctx context.Context, p auth.Principal) receipt.Shown {
	return a.access.InspectAs(ctx, p)
}

// problems lists what was left out of watched resources, in a steady order.
func (a *app) problems() []web.Problem {
	var out []web.Problem
	for key, all := range a.pipeline.Problems() {
		for _, p := range all {
			out = append(out, web.Problem{
				Type: key.Type.String(), Resource: key.Name, Service: p.Service, Instance: p.Instance, Reason: p.Reason,
			})
		}
	}
	slices.SortFunc(out, func(a, b web.Problem) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Reason, b.Reason))
	})
	return slices.Compact(out) // several scopes see the same
}

// worldCollector shows what is registered as metrics, read when asked.
type worldCollector struct{ registry *registry.Registry }

var (
	descRevision = prometheus.NewDesc("polestar_revision", "Newest revision that this node shows.", nil, nil)
	descObjects  = prometheus.NewDesc("polestar_registered", "Registered objects.", []string{"kind"}, nil)
)

// Describe implements prometheus.Collector.
func (worldCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descRevision
	ch <- descObjects
}

// Collect implements prometheus.Collector.
func (w worldCollector) Collect(ch chan<- prometheus.Metric) {
	s := w.registry.Snapshot()
	namespaces, services, instances, clients := s.Counts()
	ch <- prometheus.MustNewConstMetric(descRevision, prometheus.GaugeValue, float64(s.Revision()))
	for kind, n := range map[string]int{"namespace": namespaces, "service": services, "instance": instances, "client": clients} {
		ch <- prometheus.MustNewConstMetric(descObjects, prometheus.GaugeValue, float64(n), kind)
	}
}
