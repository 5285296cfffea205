package registry

import (
	"sync"

	"polestar/naming"
)

// Subscription is one follower's list of services that changed since it last
// looked. It holds each service at most once, so a slow follower finds the
// newest state, never a backlog.
type Subscription struct {
	registry *Registry
	wake     chan struct{} // capacity 1: "look again"; carries no data

	mu    sync.Mutex
	dirty map[naming.ServiceKey]bool // true: membership or the service itself changed
}

// Subscribe starts to collect; everything registered now counts as changed.
func (r *Registry) Subscribe() *Subscription {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &Subscription{registry: r, wake: make(chan struct{}, 1), dirty: map[naming.ServiceKey]bool{}}
	all := map[naming.ServiceKey]bool{}
	for st := range r.current.Load().Services("") {
		all[st.Service.Key] = true
	}
	s.mark(all)
	r.subs[s] = struct{}{}
	return s
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	delete(s.registry.subs, s)
}

// Wake delivers when there is something to [Subscription.Take].
func (s *Subscription) Wake() <-chan struct{} { return s.wake }

// Take returns the changed services and forgets them. The value is true when
// the service appeared, disappeared or changed itself, false when only its
// instances did. A snapshot loaded after Take contains all of it.
func (s *Subscription) Take() map[naming.ServiceKey]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.dirty
	s.dirty = map[naming.ServiceKey]bool{}
	return out
}

// Settled returns the newest published revision, and whether everything up to
// it has been taken.
func (s *Subscription) Settled() (naming.Revision, bool) {
	s.registry.mu.Lock() // held while a revision is published and marked
	defer s.registry.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.registry.current.Load().revision, len(s.dirty) == 0
}

func (s *Subscription) mark(dirty map[naming.ServiceKey]bool) {
	if len(dirty) == 0 {
		return
	}
	s.mu.Lock()
	for key, membership := range dirty {
		s.dirty[key] = s.dirty[key] || membership
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}
