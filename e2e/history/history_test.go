package history

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// right is a history in which two agents at two nodes do everything, and every
// reading is allowed. The tests break it in one place each.
func right() *History {
	a1 := Content{Mark: "1", Revision: 11, Weight: 10}
	b2 := Content{Mark: "2", Revision: 12, Weight: 20}
	a3 := Content{Mark: "1", Revision: 13, Weight: 30, Isolated: true}
	a5 := Content{Mark: "5", Revision: 15, Weight: 30, Isolated: true}
	return &History{
		From: 10, Head: 16, Commits: []uint64{11, 12, 13, 14, 15, 16},
		Log: []Change{
			{Revision: 11, Instance: "a", After: &a1, Own: 10, Agent: "x"},
			{Revision: 12, Instance: "b", After: &b2, Own: 20, Agent: "y"},
			{Revision: 13, Instance: "a", Before: &a1, After: &a3, Mark: "3"},
			{Revision: 14, Instance: "b", Before: &b2, Agent: "y"},
			{Revision: 15, Instance: "a", Before: &a3, After: &a5, Own: 50, Agent: "x"},
		},
		Ops: []Op{
			{Mark: "1", Agent: "x", Node: 0, Kind: Register, Instance: "a", Weight: 10, Asked: 1, Told: 2, Outcome: Done, Revision: 11},
			{Mark: "2", Agent: "y", Node: 1, Kind: Register, Instance: "b", Weight: 20, Asked: 3, Told: 8, Outcome: Done, Revision: 12},
			{Mark: "3", Agent: "z", Node: 1, Kind: Operate, Instance: "a", Weight: 30, Isolated: true, Asked: 9, Told: 12, Outcome: Done, Revision: 13},
			{Mark: "4", Agent: "y", Node: 1, Kind: Deregister, Instance: "b", Asked: 13, Outcome: Unknown},
			{Mark: "5", Agent: "x", Node: 0, Kind: Register, Instance: "a", Weight: 50, Asked: 14, Told: 20, Outcome: Done, Revision: 15},
			{Mark: "6", Agent: "y", Node: 1, Kind: Register, Instance: "b", Weight: 60, Asked: 21, Told: 22, Outcome: NotDone},
			{Mark: "7", Agent: "z", Node: 1, Kind: Operate, Instance: "b", Weight: 70, Asked: 23, Told: 24, Outcome: NotThere},
			{Mark: "8", Agent: "y", Node: 1, Kind: Deregister, Instance: "b", Asked: 25, Told: 26, Outcome: Done, Revision: 15},
		},
		Reads: []Read{
			{Node: 0, Session: "d0", Asked: 4, Told: 5, World: World{"a": a1}},
			{Node: 0, Session: "d0", Asked: 6, Told: 7, World: World{"a": a1, "b": b2}},
			{Node: 1, Session: "d1", Asked: 15, Told: 16, World: World{"a": a3}},
			{Node: 0, Session: "s0", Asked: 16, Told: 17, World: World{"b": {Mark: "2", Weight: 20}}, Since: 13, Pushed: true, Partial: true},
			{Node: 0, Session: "d0", Asked: 27, Told: 28, World: World{"a": a5}},
		},
		Final: map[string]World{"node 0": {"a": a5}, "node 1": {"a": a5}, "the tables": {"a": a5}},
	}
}

func TestRightHistory(t *testing.T) {
	h := right()
	if found := h.Check(); len(found) > 0 {
		t.Error(h.Excerpt(found))
	}
}

// Each of these histories breaks one promise, and is told apart from the right
// one by words that say which.
func TestWrongHistories(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(h *History)
		want  string
	}{
		{"an acknowledged registration is lost", func(h *History) {
			h.Ops = append(h.Ops, Op{Mark: "9", Agent: "x", Kind: Register, Instance: "c", Asked: 30, Told: 31, Outcome: Done, Revision: 16})
		}, "is lost: the log has nothing of it"},
		{"an acknowledged change of an operator is lost", func(h *History) {
			h.Ops = append(h.Ops, Op{Mark: "9", Agent: "z", Kind: Operate, Instance: "a", Asked: 30, Told: 31, Outcome: Done, Revision: 16})
		}, "is lost: the log has nothing of it"},
		{"an acknowledged removal is lost", func(h *History) {
			h.Ops = append(h.Ops, Op{Mark: "9", Agent: "x", Kind: Deregister, Instance: "a", Asked: 30, Told: 31, Outcome: Done, Revision: 16})
		}, "is lost: it was there at that revision"},
		{"a removal speaks of what was before", func(h *History) {
			h.Ops = append(h.Ops, Op{Mark: "9", Agent: "x", Kind: Deregister, Instance: "a", Asked: 30, Told: 31, Outcome: Done, Revision: 10})
		}, "speaks of the past"},
		{"another revision was told", func(h *History) { h.Ops[0].Revision = 12 }, "is in the log at revision 11"},
		{"refused, and done", func(h *History) { h.Ops[4].Outcome = NotDone }, "not done, revision 15) was done at revision 15"},
		{"refused, and removed", func(h *History) { h.Ops[3].Outcome = NotDone }, "was asked for by nobody"},
		{"called not there, and there", func(h *History) {
			h.Ops[6].Instance = "a"
		}, "it was there all the time"},
		{"another content", func(h *History) { h.Ops[0].Weight = 11 }, "became 1@11 w10"},
		{"an operator's word is forgotten", func(h *History) { h.Ops[2].Isolated = false }, "became 1@13 w30 isolated"},
		{"nobody asked", func(h *History) { h.Ops = h.Ops[1:] }, "was asked for by nobody"},
		{"done twice", func(h *History) {
			a6 := *h.Log[4].After
			a6.Mark, a6.Revision = "1", 16
			h.Log = append(h.Log, Change{Revision: 16, Instance: "a", Before: h.Log[4].After, After: &a6, Agent: "x"})
		}, "was done at revision 11 and again at 16"},
		{"the log contradicts itself", func(h *History) { h.Log[4].Before = h.Log[0].After }, "but the log had left"},
		{"a gap in the log", func(h *History) { h.Commits = append(h.Commits[:2:2], h.Commits[3:]...) }, "has revision 14 where 13 was due"},
		{"the end of the log is missing", func(h *History) { h.Commits = h.Commits[:5] }, "the change log ends at 15, the head is 16"},
		{"done before what was acknowledged earlier", func(h *History) {
			h.Ops[4].Asked, h.Ops[2].Told, h.Ops[2].Revision = 14, 13, 13
			h.Ops[7].Told, h.Ops[7].Asked, h.Ops[7].Revision = 13, 12, 15
		}, "had been acknowledged before it was asked"},
		{"stale after an own acknowledgement", func(h *History) { h.Reads[0].World = World{} }, "had been acknowledged or seen here"},
		{"a later reading goes back", func(h *History) { h.Reads[2].Node, h.Reads[2].World = 0, h.Reads[0].World }, "had been acknowledged or seen here"},
		{"a resurrected instance", func(h *History) { h.Reads[4].World = h.Reads[1].World }, "had been acknowledged or seen here"},
		{"a stream goes back", func(h *History) {
			h.Reads[4] = Read{Session: "s0", Asked: 27, Told: 28, World: World{"a": {Mark: "1", Weight: 10}}, Pushed: true, Partial: true}
		}, "had been acknowledged or seen here"},
		{"what never was", func(h *History) { h.Reads[4].World = World{"a": {Mark: "6", Weight: 60}} }, "that was never so"},
		{"what comes later", func(h *History) { h.Reads[1].World = h.Reads[2].World }, "which nobody had asked for yet"},
		{"a push speaks of another revision", func(h *History) { h.Reads[3].Since = 15 }, "that was not so"},
		{"isolated, and pushed", func(h *History) { h.Reads[3].World["a"] = Content{Mark: "1", Weight: 30} }, "that was not so"},
		{"a node ends elsewhere", func(h *History) { h.Final["node 1"] = World{} }, "at the end node 1 shows nothing"},
		{"the tables have another content", func(h *History) {
			h.Final["the tables"] = World{"a": {Mark: "5", Revision: 15, Weight: 50}}
		}, "at the end the tables shows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := right()
			tt.spoil(h)
			text := h.Excerpt(h.Check())
			if !strings.Contains(text, tt.want) {
				t.Errorf("want %q in\n%s", tt.want, text)
			}
		})
	}
}

// What may be either is no finding, whichever it was.
func TestUnknownMayBeEither(t *testing.T) {
	h := right()
	h.Ops[4].Outcome, h.Ops[4].Told, h.Ops[4].Revision = Unknown, 0, 0 // done
	h.Ops = append(h.Ops, Op{Mark: "9", Agent: "x", Kind: Register, Instance: "a", Asked: 30}, Op{Mark: "10", Agent: "x", Kind: Deregister, Instance: "a", Asked: 31})
	if found := h.Check(); len(found) > 0 {
		t.Error(h.Excerpt(found))
	}
}

// A registry of one lock is right whatever happens; the checker finds nothing
// in it, and finds each reading that is swapped for an older one.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(50) {
		h := simulate(rand.New(rand.NewPCG(seed, 1)))
		if found := h.Check(); len(found) > 0 {
			t.Fatalf("seed %d: %s", seed, h.Excerpt(found))
		}
		last := len(h.Reads) - 1
		h.Reads[last].World = h.Reads[0].World
		if _, same := differs(h.Reads[0].World, h.Final["node"]); !same && len(h.Check()) == 0 {
			t.Errorf("seed %d: the last reading shows what the first did, and nothing is found", seed)
		}
	}
}

// simulate runs registrations, removals and readings one after the other.
func simulate(r *rand.Rand) *History {
	h := &History{Final: map[string]World{}}
	world, clock := World{}, uint64(0)
	tick := func() uint64 { clock++; return clock }
	for n := range 200 {
		o := Op{Mark: fmt.Sprint(n), Agent: "x", Kind: Register, Instance: fmt.Sprint(r.IntN(4)), Weight: uint32(n + 1), Asked: tick(), Outcome: Done}
		before, there := world[o.Instance]
		ch := Change{Revision: h.Head + 1, Instance: o.Instance, Agent: "x"}
		if there {
			ch.Before = &before
		}
		switch {
		case r.IntN(2) == 0:
			ch.After, ch.Own = &Content{Mark: o.Mark, Revision: ch.Revision, Weight: o.Weight}, o.Weight
			world[o.Instance] = *ch.After
		case there:
			o.Kind = Deregister
			delete(world, o.Instance)
		default:
			o.Kind = Deregister
			ch.Revision = 0
		}
		if ch.Revision != 0 {
			h.Head++
			h.Commits, h.Log = append(h.Commits, h.Head), append(h.Log, ch)
		}
		o.Revision, o.Told = h.Head, tick()
		h.Ops = append(h.Ops, o)
		h.Reads = append(h.Reads, Read{Session: "s", Asked: tick(), Told: tick(), World: clone(world)})
	}
	h.Final["node"] = world
	return h
}
