package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/registry"
)

// order makes commits visible in the order of their revisions. A store that
// runs several commits at once may return revision 8 before 7.
type order struct {
	registry *registry.Registry
	track    func(*naming.Change)        // called for each change, in the same order
	reload   func(context.Context) error // publishes what the store has
	patience time.Duration               // how long a commit waits for the one before it
	log      *zap.Logger

	turn sync.Mutex // held while a commit is applied and tracked

	mu   sync.Mutex
	next chan struct{} // closed when something became visible; nil while nobody waits
}

// publish makes a durable commit visible, after all that came before it, and
// returns when it is. A commit before it that does not come in time is read
// from the store. It does not end with its caller: what is durable must be
// shown. An error means that this node cannot show it now.
func (o *order) publish(ctx context.Context, c naming.Commit, results []naming.Result) error {
	ctx = context.WithoutCancel(ctx)
	if c.Revision == 0 {
		// Nothing was written; what the results tell of must be visible all the same.
		var newest naming.Revision
		for n := range results {
			newest = max(newest, results[n].Revision)
		}
		return o.await(ctx, newest)
	}
	if err := o.await(ctx, c.Revision-1); err != nil {
		return err
	}
	defer o.announce()
	return o.apply(c)
}

func (o *order) apply(c naming.Commit) error {
	o.turn.Lock()
	defer o.turn.Unlock()
	if err := o.registry.Apply(c); err != nil {
		return err
	}
	for n := range c.Changes {
		o.track(&c.Changes[n])
	}
	return nil
}

// await returns when a revision is visible.
func (o *order) await(ctx context.Context, rev naming.Revision) error {
	if o.visible() >= rev {
		return nil
	}
	timer := time.NewTimer(o.patience)
	defer timer.Stop()
	for {
		next := o.waiting()
		if o.visible() >= rev {
			return nil
		}
		select {
		case <-next:
		case <-timer.C:
			return o.fetch(ctx, rev)
		}
	}
}

// fetch reads the store, because a commit did not come.
func (o *order) fetch(ctx context.Context, rev naming.Revision) error {
	defer o.announce()
	o.turn.Lock()
	defer o.turn.Unlock()
	newest := o.visible()
	if newest >= rev {
		return nil
	}
	err := o.reload(ctx)
	o.log.Error("the registry missed a commit and was loaded again from the store",
		zap.Uint64("newest", uint64(newest)), zap.Uint64("wanted", uint64(rev)), zap.Error(err))
	if o.visible() < rev {
		return errors.Join(fmt.Errorf("revision %d is not visible", rev), err)
	}
	return nil
}

func (o *order) visible() naming.Revision { return o.registry.World().Revision() }

// waiting returns what is closed at the next announcement.
func (o *order) waiting() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next == nil {
		o.next = make(chan struct{})
	}
	return o.next
}

// announce wakes those who wait for a revision.
func (o *order) announce() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next != nil {
		close(o.next)
		o.next = nil
	}
}
