package history

import (
	"cmp"
	"fmt"
	"slices"
)

// Finding is a broken promise.
type Finding struct {
	What     string
	Instance string // whom it concerns; empty: more than one
	Revision uint64 // near which it is in the log; 0: nowhere
}

// span is a state of the service and the revisions at which it was.
type span struct {
	first, last uint64
	world       World
}

// checker holds what follows from the log.
type checker struct {
	*History
	found []Finding
	spans []span         // in order, from From to Head
	maker []*Op          // of each change of the log
	made  map[*Op][]int  // the changes of each operation
	acks  []*Op          // those done with a change, by Told
	high  map[int]uint64 // the newest revision among acks[:n+1]
}

// Check returns what is wrong, nothing for a history that keeps every promise.
func (h *History) Check() []Finding {
	c := &checker{History: h, made: map[*Op][]int{}, high: map[int]uint64{}}
	c.replay()
	c.attribute()
	c.order()
	for n := range h.Ops {
		c.judge(&h.Ops[n])
	}
	c.reads()
	c.final()
	return c.found
}

func (c *checker) blame(instance string, revision uint64, format string, args ...any) {
	c.found = append(c.found, Finding{fmt.Sprintf(format, args...), instance, revision})
}

// replay applies the log, and looks whether each change began where the one
// before it had ended, and whether revisions have gaps.
func (c *checker) replay() {
	for n, rev := range c.Commits {
		if want := c.From + 1 + uint64(n); rev != want {
			c.blame("", rev, "the change log has revision %d where %d was due", rev, want)
			break
		}
	}
	if n := len(c.Commits); n > 0 && c.Commits[n-1] != c.Head {
		c.blame("", c.Head, "the change log ends at %d, the head is %d", c.Commits[n-1], c.Head)
	}
	world, first := World{}, c.From
	for n, ch := range c.Log {
		if n == 0 || c.Log[n-1].Revision != ch.Revision {
			c.spans = append(c.spans, span{first, ch.Revision - 1, world})
			world, first = clone(world), ch.Revision
		}
		switch was, there := world[ch.Instance]; {
		case there != (ch.Before != nil), there && was != *ch.Before:
			c.blame(ch.Instance, ch.Revision, "revision %d changed %s, but the log had left %s", ch.Revision, show(ch.Before), shown(was, there))
		}
		if ch.After == nil {
			delete(world, ch.Instance)
		} else {
			world[ch.Instance] = *ch.After
		}
	}
	c.spans = append(c.spans, span{first, max(c.Head, first), world})
}

// spanOf finds the state of the service at a revision.
func (c *checker) spanOf(rev uint64) int {
	n, _ := slices.BinarySearchFunc(c.spans, rev, func(s span, r uint64) int { return cmp.Compare(s.last, r) })
	return min(n, len(c.spans)-1)
}

// attribute finds the operation behind each change of the log.
func (c *checker) attribute() {
	c.maker = make([]*Op, len(c.Log))
	marked := map[string]*Op{}
	for n := range c.Ops {
		if o := &c.Ops[n]; o.Kind != Deregister {
			marked[o.Mark] = o
		}
	}
	for n := range c.Log {
		ch := &c.Log[n]
		var o *Op
		switch {
		case ch.After == nil:
			o = c.remover(ch)
		case ch.Mark != "":
			o = marked[ch.Mark]
		default:
			o = marked[ch.After.Mark]
		}
		if o == nil {
			c.blame(ch.Instance, ch.Revision, "revision %d (%s → %s, by %q) was asked for by nobody", ch.Revision, show(ch.Before), show(ch.After), ch.Agent)
			continue
		}
		if len(c.made[o]) > 0 {
			c.blame(ch.Instance, ch.Revision, "%s was done at revision %d and again at %d", o, c.Log[c.made[o][0]].Revision, ch.Revision)
		}
		c.maker[n] = o
		c.made[o] = append(c.made[o], n)
		c.content(o, ch)
	}
}

// remover finds who removed: of one agent's removals of an instance the one
// that was told this revision, else one that may have been done.
func (c *checker) remover(ch *Change) *Op {
	var may *Op
	for n := range c.Ops {
		o := &c.Ops[n]
		if o.Kind != Deregister || o.Agent != ch.Agent || o.Instance != ch.Instance || len(c.made[o]) > 0 {
			continue
		}
		switch {
		case o.Outcome == Done && o.Revision == ch.Revision:
			return o
		case o.Outcome == Unknown && (may == nil || o.Asked < may.Asked):
			may = o
		}
	}
	return may
}

// content compares a change with what was asked for.
func (c *checker) content(o *Op, ch *Change) {
	ok := o.Instance == ch.Instance
	switch o.Kind {
	case Register:
		ok = ok && ch.After.Mark == o.Mark && ch.Own == o.Weight
	case Operate:
		ok = ok && ch.Before != nil && ch.After.Mark == ch.Before.Mark && ch.After.Weight == o.Weight && ch.After.Isolated == o.Isolated
	case Deregister:
	}
	if !ok {
		c.blame(ch.Instance, ch.Revision, "%s became %s", o, show(ch.After))
	}
}

// order sorts what was acknowledged by when that was told.
func (c *checker) order() {
	for n := range c.Ops {
		if o := &c.Ops[n]; o.Outcome == Done {
			c.acks = append(c.acks, o)
		}
	}
	slices.SortFunc(c.acks, func(a, b *Op) int { return cmp.Compare(a.Told, b.Told) })
	var newest uint64
	for n, o := range c.acks {
		newest = max(newest, o.Revision)
		c.high[n] = newest
	}
}

// floor is the newest revision that anybody had been told before something was
// asked: what is asked then comes later.
func (c *checker) floor(asked uint64) uint64 {
	n, _ := slices.BinarySearchFunc(c.acks, asked, func(o *Op, t uint64) int { return cmp.Compare(o.Told, t) })
	if n == 0 {
		return c.From
	}
	return c.high[n-1]
}

// ceiling is the last revision that can have been before something was told:
// the first change that was asked for later comes after it.
func (c *checker) ceiling(told uint64) uint64 {
	for n, o := range c.maker {
		if o != nil && o.Asked > told {
			return c.Log[n].Revision - 1
		}
	}
	return c.Head
}

// judge compares an operation's answer with the log.
func (c *checker) judge(o *Op) {
	made := c.made[o]
	var at uint64
	if len(made) > 0 {
		at = c.Log[made[0]].Revision
		if floor := c.floor(o.Asked); at <= floor {
			c.blame(o.Instance, at, "%s is at revision %d, and %d had been acknowledged before it was asked", o, at, floor)
		}
	}
	switch o.Outcome {
	case Unknown:
	case NotDone, NotThere:
		if at != 0 {
			c.blame(o.Instance, at, "%s was done at revision %d", o, at)
		}
		if o.Outcome == NotThere && !c.absent(o.Instance, c.floor(o.Asked), c.ceiling(o.Told)) {
			c.blame(o.Instance, c.floor(o.Asked), "%s: it was there all the time", o)
		}
	case Done:
		switch {
		case at == o.Revision:
		case at != 0:
			c.blame(o.Instance, at, "%s is in the log at revision %d", o, at)
		case o.Kind != Deregister:
			c.blame(o.Instance, o.Revision, "%s is lost: the log has nothing of it", o)
		case !c.goneAt(o.Instance, o.Revision):
			c.blame(o.Instance, o.Revision, "%s is lost: it was there at that revision", o)
		case o.Revision < c.floor(o.Asked) && !c.absent(o.Instance, c.floor(o.Asked), c.ceiling(o.Told)):
			c.blame(o.Instance, o.Revision, "%s speaks of the past: it was there all the time", o)
		}
	}
}

// absent reports whether an instance was not there at one of these revisions.
func (c *checker) absent(instance string, from, to uint64) bool {
	for _, s := range c.spans {
		if _, there := s.world[instance]; !there && s.first <= to && s.last >= from {
			return true
		}
	}
	return c.removedIn(instance, from, to)
}

// goneAt reports whether an instance was not there after a commit, or between
// two changes of it.
func (c *checker) goneAt(instance string, rev uint64) bool {
	_, there := c.spans[c.spanOf(rev)].world[instance]
	return !there || c.removedIn(instance, rev, rev)
}

func (c *checker) removedIn(instance string, from, to uint64) bool {
	return slices.ContainsFunc(c.Log, func(ch Change) bool {
		return ch.Instance == instance && ch.After == nil && ch.Revision >= from && ch.Revision <= to
	})
}

// final compares what everybody shows at the end with the log.
func (c *checker) final() {
	want := c.spans[len(c.spans)-1].world
	for who, world := range c.Final {
		if id, ok := differs(want, world); !ok {
			was, there := want[id]
			is, here := world[id]
			c.blame(id, c.Head, "at the end %s shows %s; the log says %s", who, shown(is, here), shown(was, there))
		}
	}
}
