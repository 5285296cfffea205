package ads

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Watch collects which streams moved: the client said something, was sent
// something or was told of something, or the stream ended. It holds the number
// of each stream at most once.
type Watch struct {
	of   *watches
	wake chan struct{} // buffered 1: "look again"; carries no data

	mu    sync.Mutex
	moved map[uint64]struct{}
}

// watches are those of a server.
type watches struct {
	any atomic.Bool // there are some: streams need not look further when not

	mu  sync.Mutex
	all map[*Watch]struct{}
}

// Watch starts to collect; every open stream counts as moved. The caller
// closes it.
func (s *Server) Watch() *Watch {
	w := &Watch{of: &s.watches, wake: make(chan struct{}, 1), moved: map[uint64]struct{}{}}
	w.of.mu.Lock()
	if w.of.all == nil {
		w.of.all = map[*Watch]struct{}{}
	}
	w.of.all[w] = struct{}{}
	w.of.any.Store(true)
	w.of.mu.Unlock()
	for _, st := range s.list() { // those opened meanwhile have moved
		w.add(st.id)
	}
	return w
}

// Close ends the watch.
func (w *Watch) Close() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	delete(w.of.all, w)
	w.of.any.Store(len(w.of.all) > 0)
}

// Wake delivers when there is something to [Watch.Take].
func (w *Watch) Wake() <-chan struct{} { return w.wake }

// Take returns the streams that moved, oldest first, and forgets them. What
// [Server.Lag] says afterwards contains the movement.
func (w *Watch) Take() []uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := slices.Sorted(maps.Keys(w.moved))
	clear(w.moved)
	return out
}

func (w *Watch) add(id uint64) {
	w.mu.Lock()
	w.moved[id] = struct{}{}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// moved tells the watches that a stream moved. The caller holds the lock under
// which it did.
func (s *Server) moved(st *stream) {
	if !s.watches.any.Load() {
		return
	}
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	for w := range s.watches.all {
		w.add(st.id)
	}
}
