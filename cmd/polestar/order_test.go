package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/registry"
)

// numbered is a commit that creates a namespace named after its revision.
func numbered(rev naming.Revision) naming.Commit {
	return naming.Commit{Revision: rev, Changes: []naming.Change{
		{After: &naming.Namespace{Name: string(rune('a' + rev)), Revision: rev}},
	}}
}

// ordered runs f with an order whose store has commits up to head.
func ordered(t *testing.T, head naming.Revision, reloadErr error, f func(o *order, tracked *[]naming.Revision)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		var tracked []naming.Revision // the order's turn guards it
		r := registry.New()
		f(&order{
			registry: r, patience: time.Second, log: zap.NewNop(),
			track: func(c *naming.Change) { tracked = append(tracked, c.Object().ObjectRevision()) },
			reload: func(context.Context) error {
				if reloadErr != nil {
					return reloadErr
				}
				l := r.Load()
				for rev := range head {
					if err := l.Add(numbered(rev + 1).Changes[0].After); err != nil {
						return err
					}
				}
				return l.Publish(head)
			},
		}, &tracked)
	})
}

func TestCommitsAreShownInOrder(t *testing.T) {
	ordered(t, 0, errors.New("nobody should ask the store"), func(o *order, tracked *[]naming.Revision) {
		done := make(chan error, 5)
		for _, rev := range []naming.Revision{4, 2, 3} {
			go func() { done <- o.publish(context.Background(), numbered(rev), nil) }()
		}
		// Nothing changed, but what this result tells of is not visible yet.
		go func() {
			done <- o.publish(context.Background(), naming.Commit{}, []naming.Result{{Revision: 3}, {Revision: 1}})
		}()
		synctest.Wait()
		if rev := o.visible(); rev != 0 || len(done) > 0 {
			t.Fatalf("revision %d is visible without those before it, %d callers were answered", rev, len(done))
		}
		time.Sleep(o.patience - 1)
		if err := o.publish(context.Background(), numbered(1), nil); err != nil {
			t.Error(err)
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if want := []naming.Revision{1, 2, 3, 4}; o.visible() != 4 || !slices.Equal(*tracked, want) {
			t.Errorf("revision %d is visible and %v were tracked, want 4 and %v", o.visible(), *tracked, want)
		}
	})
}

func TestACommitThatDoesNotComeIsRead(t *testing.T) {
	ordered(t, 3, nil, func(o *order, tracked *[]naming.Revision) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // whoever asked may be gone: what is stored is shown nevertheless
		began := time.Now()
		if err := o.publish(ctx, numbered(3), nil); err != nil {
			t.Fatal(err)
		}
		if o.visible() != 3 || time.Since(began) != o.patience || o.registry.World().Namespace("b") == nil {
			t.Errorf("revision %d is visible after %s", o.visible(), time.Since(began))
		}
		// The late one is tracked, and shows nothing old.
		if err := o.publish(context.Background(), numbered(2), nil); err != nil || o.visible() != 3 || !slices.Contains(*tracked, 2) {
			t.Errorf("a late commit: %v, revision %d, tracked %v", err, o.visible(), *tracked)
		}
	})
}

func TestACommitThatCannotBeShownIsNotAcknowledged(t *testing.T) {
	broken := errors.New("the store does not answer")
	ordered(t, 0, broken, func(o *order, _ *[]naming.Revision) {
		if err := o.publish(context.Background(), numbered(2), nil); !errors.Is(err, broken) {
			t.Errorf("err = %v", err)
		}
	})
}
