package history

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

func clone(w World) World { return maps.Clone(w) }

// differs returns an instance in which two worlds differ; true: in none.
func differs(a, b World) (id string, same bool) {
	for _, w := range []World{a, b} {
		for _, k := range slices.Sorted(maps.Keys(w)) {
			x, inA := a[k]
			y, inB := b[k]
			if inA != inB || x != y {
				return k, false
			}
		}
	}
	return "", true
}

func text(n uint64) string { return strconv.FormatUint(n, 10) }

func shown(c Content, there bool) string {
	if !there {
		return "nothing"
	}
	return c.String()
}

func show(c *Content) string {
	if c == nil {
		return "nothing"
	}
	return c.String()
}

// String is for people.
func (c Content) String() string {
	s := fmt.Sprintf("%s@%d w%d", c.Mark, c.Revision, c.Weight)
	if c.Isolated {
		s += " isolated"
	}
	return s
}

// String is for people.
func (o *Op) String() string {
	s := fmt.Sprintf("%s %s of %s by %s at node %d (asked %d, told %d: %s", o.Kind, o.Mark, o.Instance, o.Agent, o.Node, o.Asked, o.Told, o.Outcome)
	if o.Revision != 0 {
		s += fmt.Sprintf(", revision %d", o.Revision)
	}
	return s + ")"
}

// excerpt bounds.
const (
	maxFindings = 5
	around      = 4 // changes before and after a finding
)

// Excerpt tells the findings and of each the changes around it: as little as
// shows what is wrong.
func (h *History) Excerpt(found []Finding) string {
	var b strings.Builder
	for n, f := range found {
		if n == maxFindings {
			fmt.Fprintf(&b, "and %d more\n", len(found)-n)
			break
		}
		fmt.Fprintf(&b, "%s\n", f.What)
		for _, ch := range h.near(f) {
			fmt.Fprintf(&b, "    log %d: %s: %s → %s, by %q, %s %s\n", ch.Revision, ch.Instance, show(ch.Before), show(ch.After), ch.Agent, ch.Cause, ch.Mark)
		}
		for k := range h.Ops {
			if o := &h.Ops[k]; f.Instance != "" && o.Instance == f.Instance && o.Revision != 0 && o.Revision+around > f.Revision && o.Revision < f.Revision+around {
				fmt.Fprintf(&b, "    %s: %s\n", o, o.Answer)
			}
		}
	}
	return b.String()
}

// near returns the changes of the instance, or of all, around a finding.
func (h *History) near(f Finding) []Change {
	var of []Change
	at := 0
	for _, ch := range h.Log {
		if f.Instance != "" && ch.Instance != f.Instance {
			continue
		}
		if ch.Revision <= f.Revision {
			at = len(of)
		}
		of = append(of, ch)
	}
	return of[max(0, at-around):min(len(of), at+around+1)]
}
