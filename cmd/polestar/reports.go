package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/health"
)

// clientService stands for all client records where the mass-loss guard counts
// by service: they are one herd. No service can be called so.
var clientService = naming.ServiceKey{Name: "clients"}

// clientMark begins the name of a client's lease among servers, which share one
// space of names; ids of instances hold no NUL.
const clientMark = "\x00"

// clientLeases is that of client records: reports are rare, so looking seldom
// and few workers do.
func (c *Config) clientLeases() health.Config {
	out := c.Lease
	out.Factor, out.Tick, out.Pause, out.Workers = 3, time.Second, 3*time.Second, 4
	out.RetryWait = max(out.RetryWait, out.Tick)
	return out
}

// maxClientTTL bounds client.ttl.
const maxClientTTL = time.Hour

func (c *Config) validateClients() error {
	if c.ClientTTL < time.Second || c.ClientTTL > maxClientTTL || c.ClientTTL%time.Second != 0 {
		return fmt.Errorf("client.ttl: %s is no number of whole seconds between 1s and %s", c.ClientTTL, maxClientTTL)
	}
	return nil
}

// clientTTL is in seconds, as leases count.
func (c *Config) clientTTL() uint32 { return uint32(c.ClientTTL / time.Second) }

// buildLeases makes the leases of instances and those of client records.
func (a *app) buildLeases() (err error) {
	of := func(what string) prometheus.Registerer {
		return prometheus.WrapRegistererWith(prometheus.Labels{"of": what}, a.metrics)
	}
	a.leases, err = health.New(a.cfg.Lease, health.Deps{Flip: a.flip, Metrics: of("instances"), Log: a.log.Named("leases")})
	if err != nil {
		return err
	}
	a.reports, err = health.New(a.cfg.clientLeases(), health.Deps{Flip: a.flipClient, Metrics: of("clients"), Log: a.log.Named("client leases")})
	a.guard = massGuard{instances: a.leases, clients: a.reports, log: a.log.Named("guard")}
	return err
}

// unrecorded counts the reports of clients that were answered while the store
// was away.
func (a *app) unrecorded() (func(error), error) {
	n := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "polestar_client_reports_unrecorded_total", Help: "Reports of clients that were answered without a record: the store was away or slow.",
	})
	return func(err error) {
		n.Inc()
		a.log.Debug("a client's report was not recorded", zap.Error(err))
	}, a.metrics.Register(n)
}

// flipClient removes the record of a client that reports no more.
func (a *app) flipClient(ctx context.Context, id string, alive bool) error {
	w := &naming.RemoveClient{ID: id, Cause: naming.CauseLease}
	if alive {
		// Nothing is to be written. The leases ask for it to learn whether this
		// server can write at all, so a write is tried that changes nothing.
		w.ID = ""
	} else {
		w.Actor, w.Reason = a.guard.releases.find(clientMark + id)
	}
	res, err := writer{a.batch}.Do(ctx, w)
	if err == nil {
		err = res.Err
	}
	return err
}

// trackClient renews or drops the lease of a changed client record.
func (a *app) trackClient(ch *naming.Change, c *naming.Client) {
	if ch.Deleted() || !a.owns(clientMark+c.ID) {
		a.reports.Forget(c.ID)
		return
	}
	a.reports.TrackIn(c.ID, clientService, a.cfg.clientTTL(), true)
}

// movedClients makes the leases of this server those of the client records that
// it owns now.
func (a *app) movedClients() {
	for c := range a.registry.World().Clients() {
		_, tracked := a.reports.State(c.ID)
		switch owned := a.owns(clientMark + c.ID); {
		case owned && !tracked:
			a.reports.TrackIn(c.ID, clientService, a.cfg.clientTTL(), true)
		case !owned && tracked:
			a.reports.Forget(c.ID)
		}
	}
}

// beatHere renews a lease that this server owns, of an instance or of a client
// record.
func (a *app) beatHere(name string) bool {
	if id, client := strings.CutPrefix(name, clientMark); client {
		return a.reports.Beat(id)
	}
	return a.leases.Beat(name)
}

// clientBeats is where reports of clients go.
type clientBeats struct{ naming.Beats }

// Beat implements naming.Beats.
func (c clientBeats) Beat(id string) bool { return c.Beats.Beat(clientMark + id) }

// beatFunc is a naming.Beats.
type beatFunc func(name string) bool

// Beat implements naming.Beats.
func (f beatFunc) Beat(name string) bool { return f(name) }
