package cache

import "maps"

// DefaultMaxAbsent is how many names that do not exist all watchers together
// may subscribe to before those who have many are in excess. One takes about a
// kilobyte.
const DefaultMaxAbsent = 50_000

// fewAbsent is a number of absent names with which no watcher is in excess.
const fewAbsent = 16

// holder is whose watchers some are.
type holder struct{ watchers, absent int }

// BoundAbsent sets how many names that do not exist all watchers together may
// subscribe to; see [Watcher.Excess].
func (c *Cache) BoundAbsent(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.maxAbsent = most
}

// Absent is how many subscriptions there are to what does not exist.
func (c *Cache) Absent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.absent
}

// count notes that a watcher has more or fewer names that do not exist. c.mu is
// held.
func (c *Cache) count(w *Watcher, n int) {
	w.absent += n
	c.absent += n
	if w.holder != nil {
		w.holder.absent += n
	}
}

// HeldBy says whose watcher it is: names are counted together for all that one
// has. It is called once at most.
func (w *Watcher) HeldBy(who string) {
	c := w.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.holders[who]
	if h == nil {
		h = &holder{}
		c.holders[who] = h
	}
	h.watchers++
	h.absent += w.absent
	w.holder, w.who = h, who
}

// Ghosts notes that a watcher has n more names, or fewer, that do not exist and
// that it is not subscribed to here.
func (w *Watcher) Ghosts(n int) {
	w.cache.mu.Lock()
	defer w.cache.mu.Unlock()
	w.cache.count(w, n)
}

// Excess reports whether all watchers together have too many names that do not
// exist and this one has its part in that: it has more than its share of as many
// again, and whoever holds it has more than its share of all. Otherwise who asks
// for a few is never hindered by who asks for many.
func (w *Watcher) Excess() bool {
	c := w.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.absent <= c.maxAbsent || w.absent <= max(fewAbsent, (2*c.maxAbsent-c.absent)/max(1, c.watchers)) {
		return false
	}
	return w.holder == nil || w.holder.absent > c.maxAbsent/len(c.holders)
}

// leaveHolder ends the part of a watcher that is closed. c.mu is held.
func (c *Cache) leaveHolder(w *Watcher) {
	c.watchers--
	c.count(w, -w.absent)
	if w.holder == nil {
		return
	}
	if w.holder.watchers--; w.holder.watchers == 0 {
		delete(c.holders, w.who)
	}
}

// leastShrunk is the size from which it is worth to make a map smaller.
const leastShrunk = 1024

// Shrunk returns m, or a smaller map with the same content when m was four
// times as large: a map keeps the memory that its largest size took. peak is
// kept by the caller.
func Shrunk[K comparable, V any](m map[K]V, peak *int) map[K]V {
	*peak = max(*peak, len(m))
	if *peak < leastShrunk || len(m) > *peak/4 {
		return m
	}
	*peak = len(m)
	out := make(map[K]V, len(m))
	maps.Copy(out, m)
	return out
}
