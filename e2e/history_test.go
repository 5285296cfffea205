package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"polestar/e2e/history"
)

// TestHistory lets many clients write and read a few instances at all servers
// of a cluster while faults come and go, and has every answer judged against
// the change log. Each round is made by its seed; only its timing is not.
// POLESTAR_E2E_HISTORY_ROUNDS sets how many there are, POLESTAR_E2E_HISTORY_SEED
// the seed of the first, POLESTAR_E2E_HISTORY_FAULT what befalls each round
// instead of what its seed says.
func TestHistory(t *testing.T) {
	rounds, seed := fromEnv("POLESTAR_E2E_HISTORY_ROUNDS", len(faults)), fromEnv("POLESTAR_E2E_HISTORY_SEED", 1)
	c := startTrial(t)
	sum := tally{faults: map[string]int{}}
	began := time.Now()
	for n := range rounds {
		r := newRound(c, uint64(seed+n))
		h := r.run(t)
		if t.Failed() {
			t.Fatalf("seed %d (%s)", r.seed, strings.Join(r.faults, ", "))
		}
		sum.add(r, h)
		if found := h.Check(); len(found) > 0 {
			t.Fatalf("seed %d (%s): %d findings\n%s", r.seed, strings.Join(r.faults, ", "), len(found), h.Excerpt(found))
		}
	}
	t.Logf("%d rounds in %s: %s", rounds, time.Since(began).Round(time.Second), &sum)
}

func fromEnv(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// tally is what a run consisted of.
type tally struct {
	outcomes      [4]int
	reads, pushes int
	changes       int
	faults        map[string]int
}

func (s *tally) add(r *round, h *history.History) {
	for _, o := range h.Ops {
		s.outcomes[o.Outcome]++
	}
	for _, x := range h.Reads {
		if x.Partial {
			s.pushes++
		} else {
			s.reads++
		}
	}
	s.changes += len(h.Log)
	for _, f := range r.faults {
		s.faults[f]++
	}
}

func (s *tally) String() string {
	total := 0
	var parts []string
	for n, k := range s.outcomes {
		total += k
		parts = append(parts, fmt.Sprintf("%d %s", k, history.Outcome(n)))
	}
	var faults []string
	for _, f := range slices.Sorted(maps.Keys(s.faults)) {
		faults = append(faults, fmt.Sprintf("%s %d", f, s.faults[f]))
	}
	return fmt.Sprintf("%d writes (%s), %d changes in the log, %d answers of Discover, %d pushes; faults: %s",
		total, strings.Join(parts, ", "), s.changes, s.reads, s.pushes, strings.Join(faults, ", "))
}

// round is one seed's.
type round struct {
	*trial
	seed    uint64
	rng     *rand.Rand
	service string
	faults  []string
	notes   notes
}

// roundTime is how long clients write in one round.
const roundTime = 2 * time.Second

func newRound(c *trial, seed uint64) *round {
	r := &round{trial: c, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), service: fmt.Sprintf("history-%d", seed)} //nolint:gosec // it must be repeatable
	if name := os.Getenv("POLESTAR_E2E_HISTORY_FAULT"); faults[name] != nil {
		r.faults = []string{name}
		return r
	}
	names := slices.Sorted(maps.Keys(faults))
	r.faults = []string{names[int(seed)%len(names)]} // each kind comes round
	if other := names[r.rng.IntN(len(names))]; r.rng.IntN(2) == 0 && r.faults[0] != other && !together(r.faults[0], other) {
		r.faults = append(r.faults, other)
	}
	return r
}

// together reports whether two faults at once are one that is allowed to show
// old things: a server that starts without the database shows what it knew.
func together(a, b string) bool {
	both := []string{a, b}
	away := func(name string) bool { return name == "cut" || name == "freeze" || name == "crash" }
	return slices.Contains(both, "kill") && slices.ContainsFunc(both, away)
}
