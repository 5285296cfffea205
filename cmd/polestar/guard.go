package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/health"
	"polestar/web"
)

// massGuard shows and releases what the mass-loss guard holds. It implements
// web.Guard.
type massGuard struct {
	instances, clients *health.Leases
	releases           releases
	log                *zap.Logger
}

// Held implements web.Guard.
func (g *massGuard) Held() []web.Held {
	var out []web.Held
	for of, l := range map[string]*health.Leases{web.OfInstances: g.instances, web.OfClients: g.clients} {
		for _, s := range l.Suspects() {
			out = append(out, web.Held{
				Of: of, Namespace: s.Service.Namespace, Service: s.Service.Name, Held: s.Held, Leases: s.Leases,
				Since: web.Time(time.Now().Add(-s.Since)),
			})
		}
	}
	slices.SortStableFunc(out, func(a, b web.Held) int {
		return cmp.Or(cmp.Compare(b.Held, a.Held), cmp.Compare(b.Of, a.Of), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Service, b.Service))
	})
	return out
}

// Release implements web.Guard.
func (g *massGuard) Release(r web.Release) (int, error) {
	leases, service, mark := g.instances, r.Service, ""
	if r.Of == web.OfClients {
		leases, service, mark = g.clients, clientService, clientMark
	}
	if out := leases.Outage(); out > 0 {
		return 0, naming.Errorf(naming.StoreFailed, "", "changes of health cannot be written for %s; nothing was done", out.Round(time.Second))
	}
	// Before the flips begin: they tell the reason.
	g.releases.add(release{r.Actor, r.Reason, time.Now()}, mark, leases.Held(service))
	n := leases.Release(service)
	g.log.Warn("an operator let leases expire that the mass-loss guard held", zap.String("of", r.Of), zap.Stringer("service", service),
		zap.Int("leases", n), zap.String("by", cmp.Or(r.Actor.Principal, r.Actor.Address)), zap.String("reason", r.Reason))
	return n, nil
}

// releases remember who let a lease expire, and why, until that is written.
type releases struct {
	mu   sync.Mutex // guards everything below
	byID map[string]release
	last time.Time // when one was added
}

type release struct {
	actor  naming.Actor
	reason string
	at     time.Time
}

// releaseLife is how long a release is remembered: flips follow at once, or
// the instance was heard again.
const releaseLife = time.Minute

func (r *releases) add(x release, mark string, ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil || x.at.Sub(r.last) > releaseLife {
		r.byID = map[string]release{}
	}
	r.last = x.at
	for _, id := range ids {
		r.byID[mark+id] = x
	}
}

// find returns who let a lease expire, and why; zero when it expired by itself.
func (r *releases) find(id string) (actor naming.Actor, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x, ok := r.byID[id]; ok && time.Since(x.at) < releaseLife {
		return x.actor, x.reason
	}
	return naming.Actor{}, ""
}

// checkLeases tells for readiness what is unusual about the leases: nothing of
// it keeps the server from answering.
func (a *app) checkLeases() web.Check {
	c := web.Check{Name: "leases", Ready: true}
	held := 0
	for _, h := range a.guard.Held() {
		held += h.Held
	}
	switch out := max(a.leases.Outage(), a.reports.Outage()); {
	case out > 0:
		c.Text = fmt.Sprintf("changes of health cannot be written for %s; nothing expires", out.Round(time.Second))
	case held > 0:
		c.Text = fmt.Sprintf("%d leases are late but held: too many fell silent at once; see /api/v1/guard", held)
	}
	return c
}

func guardCommand() *cobra.Command {
	var c adminClient
	var namespace, reason string
	var clients bool
	release := &cobra.Command{
		Use:   "release NAMESPACE/SERVICE",
		Short: "Let the held instances of a service expire: they are gone indeed",
		Long: `Let the held instances of a service expire now. The guard holds them healthy because too many fell silent at once, as
when a server cannot hear them. "polestar get guard" lists what is held by the server that is asked.`,
		Example: `  polestar get guard
  polestar guard release default/cart --reason "the old cluster is switched off"`,
		Args: func(_ *cobra.Command, args []string) error {
			if clients != (len(args) == 0) || len(args) > 1 {
				return errors.New("name one service, or --clients")
			}
			return nil
		},
		PreRunE: c.check,
	}
	c.flags(release.Flags())
	release.Flags().StringVar(&namespace, "namespace", "", "namespace of the service, when its name has slashes")
	release.Flags().StringVar(&reason, "reason", "", "why; kept in the history (required)")
	release.Flags().BoolVar(&clients, "clients", false, "the records of SDK processes instead of a service")
	release.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]any{"reason": reason, "of": web.OfClients}
		if !clients {
			ns, service := key(namespace, args[0])
			body = map[string]any{"reason": reason, "of": web.OfInstances, "namespace": ns, "service": service}
		}
		answer, err := c.write(cmd.Context(), request{method: http.MethodPost, path: "/guard/release", body: body})
		if err != nil {
			return err
		}
		if c.output != "table" {
			return c.print(cmd.OutOrStdout(), []json.RawMessage{answer})
		}
		var done web.Released
		if err = json.Unmarshal(answer, &done); err != nil {
			return fmt.Errorf("the server answered no result: %w", err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d leases expire now\n", done.Released)
		return err
	}
	return group(&cobra.Command{Use: "guard", Short: "The guard against mass losses"}, release)
}
