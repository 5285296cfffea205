package main

import (
	"context"
	"fmt"
	"time"

	"polestar/naming"
	"polestar/naming/registry"
	"polestar/store"
)

// stopMargin is what a part may need beyond the drain timeout to stop.
const stopMargin = 2 * time.Second

// commit is what happens to one group of writes: durable, then visible, then
// known to the leases; only then are the callers answered.
func (a *app) commit(ctx context.Context, writes []naming.Write) ([]naming.Result, error) {
	done, results, err := a.store.Apply(ctx, writes)
	if err != nil {
		return nil, err
	}
	newest := done.Revision
	for n := range results {
		// What changed nothing tells of what is; that must be visible all the same.
		newest = max(newest, results[n].Revision)
	}
	// What is durable must be shown, also when its caller is gone.
	if err := a.follower.Commit(context.WithoutCancel(ctx), done, newest); err != nil {
		return nil, &naming.Error{Kind: naming.OutcomeUnknown, Msg: "stored, but this node cannot show it yet", Err: err}
	}
	if a.cluster != nil && done.Revision != 0 {
		a.cluster.Hint(done.Revision)
	}
	return results, nil
}

// writers is how many commits a store runs at once: they are one after the
// other in each of ours.
const writers = 1

// applied is told each commit when it is visible.
func (a *app) applied(c *naming.Commit) {
	a.auth.Refresh() // whoever is answered next is decided by this commit
	for n := range c.Changes {
		a.track(&c.Changes[n])
	}
}

// track renews, corrects or drops the lease of a changed instance or client.
func (a *app) track(ch *naming.Change) {
	if c, ok := ch.Object().(*naming.Client); ok {
		a.trackClient(ch, c)
		return
	}
	i, ok := ch.Object().(*naming.Instance)
	switch {
	case !ok:
	case ch.Deleted() || i.TTL == 0 || !a.owns(i.ID):
		a.leases.Forget(i.ID)
	case ch.Cause == naming.CauseClient || ttlChanged(ch.Before, i):
		a.leases.TrackIn(i.ID, i.Service, i.TTL, i.Own().Healthy) // a registration is a sign of life
	case ch.Cause == naming.CauseLease || ch.Cause == naming.CauseBeat:
		a.leases.Flipped(i.ID, i.Own().Healthy)
	default:
		a.leases.Stored(i.ID, i.Own().Healthy) // beats decide on the instance's own health, not on an operator's word
	}
}

// ttlChanged reports whether a change gave an instance another health check.
func ttlChanged(before naming.Object, i *naming.Instance) bool {
	was, ok := before.(*naming.Instance)
	return ok && was.TTL != i.TTL
}

// flip writes the health that a lease asks for.
func (a *app) flip(ctx context.Context, id string, healthy bool) error {
	w := &naming.SetHealth{ID: id, Healthy: healthy, Cause: naming.CauseBeat}
	if !healthy {
		w.Cause = naming.CauseLease
		w.Actor, w.Reason = a.guard.releases.find(id)
	}
	res, err := writer{a.batch}.Do(ctx, w)
	if err == nil {
		err = res.Err
	}
	if err == nil && res.Outcome == naming.Absent {
		a.forgetAbsent(id)
	}
	return err
}

// forgetAbsent drops the lease of an instance that is not stored: it went while
// leases got other owners. One that came back meanwhile keeps a lease.
func (a *app) forgetAbsent(id string) {
	a.leases.Forget(id)
	if i := a.registry.World().Instance(id); i != nil && i.TTL > 0 && a.owns(id) {
		a.leases.TrackIn(id, i.Service, i.TTL, i.Own().Healthy)
	}
}

// load reads the whole store into the registry and publishes it in one step.
func load(ctx context.Context, from store.Loader, into *registry.Registry) error {
	l := into.Load()
	head, err := from.Load(ctx, l.Add, l.Touched)
	if err != nil {
		return fmt.Errorf("load the store: %w", err)
	}
	return l.Publish(head)
}
