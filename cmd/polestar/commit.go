package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"polestar/batch"
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
	if err := a.registry.Apply(done); err != nil {
		// The store is ahead of memory: read it again rather than guess.
		a.log.Error("the registry missed a commit; loading it again from the store", zap.Error(err))
		if err := load(ctx, a.store, a.registry); err != nil {
			return nil, &naming.Error{Kind: naming.OutcomeUnknown, Msg: "stored, but this node cannot show it yet", Err: err}
		}
	}
	for n := range done.Changes {
		a.track(&done.Changes[n])
	}
	return results, nil
}

// track renews, corrects or drops the lease of a changed instance.
func (a *app) track(ch *naming.Change) {
	i, ok := ch.Object().(*naming.Instance)
	switch {
	case !ok:
	case ch.Deleted() || i.TTL == 0:
		a.leases.Forget(i.ID)
	case ch.Cause == naming.CauseClient || ttlChanged(ch.Before, i):
		a.leases.TrackIn(i.ID, i.Service, i.TTL, i.Own().Healthy) // a registration is a sign of life
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
	cause := naming.CauseLease
	if healthy {
		cause = naming.CauseBeat
	}
	res, err := a.writer().Do(ctx, &naming.SetHealth{ID: id, Healthy: healthy, Cause: cause})
	if err == nil {
		err = res.Err
	}
	return err
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

// writer puts writes into the batch and names its refusals as naming does.
type writer struct {
	batch *batch.Batcher[naming.Write, naming.Result]
	// most bounds every write: a store that hangs must not hang its callers.
	most time.Duration
}

func (a *app) writer() writer { return writer{a.batch, a.cfg.Batch.CommitTimeout} }

// Do implements naming.Writer.
func (w writer) Do(ctx context.Context, wr naming.Write) (naming.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, w.most)
	defer cancel()
	res, err := w.batch.Do(ctx, wr)
	if err == nil {
		return res, nil
	}
	if _, ours := errors.AsType[*naming.Error](err); ours {
		return res, err
	}
	switch {
	case errors.Is(err, batch.ErrFull):
		return res, &naming.Error{Kind: naming.Overloaded, Msg: "the write queue is full; nothing was done", Err: err}
	case errors.Is(err, batch.ErrNotDone):
		return res, &naming.Error{Kind: naming.NotDone, Msg: "the caller's time ran out before the write began; nothing was done", Err: err}
	case errors.Is(err, batch.ErrClosed):
		return res, &naming.Error{Kind: naming.NotReady, Msg: "the server is shutting down; nothing was done", Err: err}
	case errors.Is(err, batch.ErrOutcomeUnknown), errors.Is(err, batch.ErrPanicked):
		return res, &naming.Error{Kind: naming.OutcomeUnknown, Msg: "outcome unknown; a retry is safe", Err: err}
	default:
		return res, &naming.Error{Kind: naming.Internal, Err: err}
	}
}

// splittable reports whether a failed group may be tried again in halves:
// only when nothing of it was done, and when the store itself is not at fault.
func splittable(err error) bool {
	return naming.KindOf(err) == naming.Invalid || naming.KindOf(err) == naming.Internal
}
