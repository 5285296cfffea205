package registry

import (
	"context"

	"polestar/naming"
)

// Await returns when a revision is visible here and marked at every
// [Subscription], with nil, or when ctx ends, with its error. It costs writers
// nothing while nobody waits.
func (r *Registry) Await(ctx context.Context, rev naming.Revision) error {
	for {
		// The lock is held from publishing a commit until it is marked.
		r.mu.Lock()
		if r.current.Load().revision >= rev {
			r.mu.Unlock()
			return nil
		}
		if r.next == nil {
			r.next = make(chan struct{})
		}
		next := r.next
		r.mu.Unlock()
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// published marks the changed services at all subscriptions and wakes who
// awaits a revision. r.mu is held.
func (r *Registry) published(dirty map[naming.ServiceKey]bool) {
	for s := range r.subs {
		s.mark(dirty)
	}
	if r.next != nil {
		close(r.next)
		r.next = nil
	}
}
