package batch

import "time"

// kind is the queue of one kind of items; the batcher's mutex guards it.
type kind[T, R any] struct {
	cfg      KindConfig
	patience time.Duration // how long an item may be queued
	meter    kindMeter

	first, last *waiter[T, R]
	size        int
	running     int // groups with items of the kind
}

// waiter is one item and its caller.
type waiter[T, R any] struct {
	item T
	kind *kind[T, R]
	came time.Time
	done chan struct{} // closed when res and err are set
	res  R
	err  error

	// The batcher's mutex guards these.
	prev, next *waiter[T, R] // in the queue
	seq        uint64        // order of arrival over all kinds
	state      state
}

// state is what is happening to a waiter.
type state uint8

const (
	queued  state = iota
	parked        // its group failed as a whole and nothing was done; its half comes later
	running       // it is being committed, or was
	gone          // its caller gave up before that
)

func (k *kind[T, R]) push(w *waiter[T, R]) {
	if w.prev = k.last; k.last == nil {
		k.first = w
	} else {
		k.last.next = w
	}
	k.last = w
	k.resize(1)
}

func (k *kind[T, R]) remove(w *waiter[T, R]) {
	if w.prev == nil {
		k.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		k.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	k.resize(-1)
}

func (k *kind[T, R]) resize(by int) {
	k.size += by
	k.meter.queue.Set(float64(k.size))
}

// enqueue puts a waiter into its queue, or says why not.
func (b *Batcher[T, R]) enqueue(w *waiter[T, R]) error {
	k := w.kind
	b.mu.Lock()
	switch {
	case b.closed:
		b.mu.Unlock()
		k.meter.closed.Inc()
		return ErrClosed
	case k.size >= k.cfg.QueueSize:
		b.mu.Unlock()
		k.meter.full.Inc()
		return ErrFull
	}
	b.seq++
	w.seq = b.seq
	k.push(w)
	b.mu.Unlock()
	b.signal()
	return nil
}

// signal wakes a goroutine that commits, or the next one that wants to sleep.
func (b *Batcher[T, R]) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// withdraw takes an item back whose commit has not begun.
func (b *Batcher[T, R]) withdraw(w *waiter[T, R]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch w.state {
	case queued:
		w.kind.remove(w)
	case parked:
	case running, gone:
		return false
	}
	w.state = gone
	return true
}

// take claims the next group. When none is due it returns how long until one
// will be by itself, 0: never.
func (b *Batcher[T, R]) take() (group []*waiter[T, R], wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for range b.turns {
		b.turn = (b.turn + 1) % len(b.turns)
		due, left := b.due(b.turns[b.turn], now)
		if due {
			if group = b.gather(b.turns[b.turn]); len(group) > 0 {
				b.claim(group)
				return group, 0
			}
		}
		if left > 0 && (wait == 0 || left < wait) {
			wait = left
		}
	}
	return nil, wait
}

// due reports whether some of the kinds need a commit now, or in how long one
// will.
func (b *Batcher[T, R]) due(kinds []*kind[T, R], now time.Time) (due bool, left time.Duration) {
	for _, k := range kinds {
		if k.first == nil || k.running >= k.cfg.Concurrency {
			continue
		}
		rest := k.cfg.WaitTime - now.Sub(k.first.came)
		if b.closed || !k.cfg.Open || k.size >= k.cfg.MaxBatchCount || rest <= 0 {
			return true, 0
		}
		if left == 0 || rest < left {
			left = rest
		}
	}
	return false, left
}

// gather takes items out of the queues in the order of their arrival, of each
// kind at most as many as it may have in a group. What another group is
// changing stays in its queue.
func (b *Batcher[T, R]) gather(kinds []*kind[T, R]) []*waiter[T, R] {
	type cursor struct {
		next *waiter[T, R]
		left int
	}
	cursors := make([]cursor, len(kinds))
	most := 0
	for n, k := range kinds {
		if k.running < k.cfg.Concurrency {
			cursors[n] = cursor{k.first, k.most()}
			most += min(k.size, k.most())
		}
	}
	group := make([]*waiter[T, R], 0, most)
	for {
		var first *cursor
		for n := range cursors {
			if c := &cursors[n]; c.next != nil && c.left > 0 && (first == nil || c.next.seq < first.next.seq) {
				first = c
			}
		}
		if first == nil {
			return group
		}
		w := first.next
		first.next = w.next
		if b.deps.Parallel > 1 {
			if _, running := b.busy[b.deps.Key(w.item)]; running {
				continue
			}
		}
		first.left--
		w.kind.remove(w)
		group = append(group, w)
	}
}

func (k *kind[T, R]) most() int {
	if k.cfg.Open {
		return k.cfg.MaxBatchCount
	}
	return 1
}

// claim marks a group as running.
func (b *Batcher[T, R]) claim(group []*waiter[T, R]) {
	for _, w := range group {
		w.state = running
		if b.deps.Parallel > 1 {
			b.busy[b.deps.Key(w.item)] = struct{}{}
		}
	}
	for k := range count(group) {
		k.running++
	}
}

// finish lets others have what a group was changing.
func (b *Batcher[T, R]) finish(group []*waiter[T, R]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range count(group) {
		k.running--
	}
	if b.deps.Parallel > 1 {
		for _, w := range group {
			delete(b.busy, b.deps.Key(w.item))
		}
	}
}

func count[T, R any](group []*waiter[T, R]) map[*kind[T, R]]int {
	n := map[*kind[T, R]]int{}
	for _, w := range group {
		n[w.kind]++
	}
	return n
}
