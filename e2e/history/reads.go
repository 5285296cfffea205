package history

import (
	"cmp"
	"maps"
	"slices"
)

// placed is a reading and the least revision at which it fits everything.
type placed struct {
	*Read
	at uint64
}

// reads finds for each reading a revision whose state it is, such that nobody
// saw anything older than he was told or had seen. Taking the least one that
// fits is no loss: it only leaves more room for those after it.
func (c *checker) reads() {
	order := make([]*Read, len(c.Reads))
	for n := range c.Reads {
		order[n] = &c.Reads[n]
	}
	slices.SortStableFunc(order, func(a, b *Read) int { return cmp.Compare(a.Asked, b.Asked) })
	var done []placed
	newest := map[string]uint64{} // by session
	for _, r := range order {
		low := max(c.told(r), newest[r.Session])
		if !r.Pushed {
			low = max(low, seen(done, r))
		}
		at, why := c.place(r, low)
		if why != "" {
			c.blame("", at, "node %d showed %v (%s, asked %d, told %d): %s", r.Node, r.World, r.Session, r.Asked, r.Told, why)
			continue
		}
		newest[r.Session] = at
		if !r.Pushed {
			done = append(done, placed{r, at})
		}
	}
}

// told is the newest revision that this node had acknowledged before it was
// asked.
func (c *checker) told(r *Read) uint64 {
	low := c.From
	if r.Pushed {
		return low
	}
	for _, o := range c.acks {
		if o.Told >= r.Asked {
			break
		}
		if o.Node == r.Node {
			low = max(low, o.Revision)
		}
	}
	return low
}

// seen is the newest revision that somebody had been shown at this node before
// it was asked.
func seen(done []placed, r *Read) (low uint64) {
	for _, d := range done {
		if d.Node == r.Node && d.Told < r.Asked {
			low = max(low, d.at)
		}
	}
	return low
}

// place finds the least revision from low on at which the service was as the
// reading shows it; else it says why there is none, and near which revision.
func (c *checker) place(r *Read, low uint64) (at uint64, why string) {
	high := c.ceiling(r.Told)
	fits := func(s span) bool { return r.Since <= s.last && r.Shows(s.world) }
	for _, s := range c.spans[c.spanOf(low):] {
		if at := max(s.first, low); at > high {
			break
		} else if fits(s) {
			return at, ""
		}
	}
	for _, s := range slices.Backward(c.spans) {
		switch {
		case !fits(s):
		case s.last < low:
			return s.last, "that was last so at revision " + text(s.last) + ", and " + text(low) + " had been acknowledged or seen here"
		default:
			return s.first, "that became so at revision " + text(s.first) + ", which nobody had asked for yet"
		}
	}
	if r.Since != 0 {
		return r.Since, "that was not so at revision " + text(r.Since) + " or later, of which it speaks"
	}
	return low, "that was never so"
}

// Shows reports whether the reading shows this world.
func (r *Read) Shows(w World) bool {
	if !r.Partial {
		return maps.Equal(w, r.World)
	}
	n := 0
	for id, is := range w {
		if is.Isolated || is.Weight == 0 {
			continue
		}
		n++
		if got, there := r.World[id]; !there || got.Mark != is.Mark || got.Weight != is.Weight {
			return false
		}
	}
	return n == len(r.World)
}
