package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"polestar/naming"
)

func ids(members []naming.Member) (out []string) {
	for _, m := range members {
		out = append(out, m.ID)
	}
	return out
}

// Who does not count up is dead after a while that each server measures for
// itself, whatever any clock says; who counts again lives again.
func TestLifeIsCounted(t *testing.T) {
	v := newView("a", 5*time.Second)
	beat := map[string]uint64{}
	step := func(now time.Duration, alive ...string) []string {
		for _, id := range alive {
			beat[id]++
		}
		var rows []naming.Member
		for id, n := range beat {
			rows = append(rows, naming.Member{ID: id, Beat: n})
		}
		v.observe(now, rows)
		return ids(v.live(now))
	}
	for now := time.Second; now <= 3*time.Second; now += time.Second {
		if got := step(now, "a", "b", "c"); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Fatalf("all alive: %v", got)
		}
	}
	if got := step(8*time.Second, "a", "b"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("five seconds silent: %v, want still alive", got)
	}
	if got := step(9*time.Second, "a", "b"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("six seconds silent: %v, want dead", got)
	}
	if got := step(10*time.Second, "a", "b", "c"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("back: %v", got)
	}
	if gone := v.observe(100*time.Second, []naming.Member{{ID: "a", Beat: 99}, {ID: "c", Beat: beat["c"]}}); !slices.Equal(ids(gone), []string{"c"}) {
		t.Errorf("rows nobody needs: %v, want c", ids(gone))
	}
	if got := ids(v.live(100 * time.Second)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("a row that is not there any more: %v", got)
	}
}

// All who see the same members agree on every owner, shares are about equal,
// and a member less moves only what it owned.
func TestOwners(t *testing.T) {
	all := []naming.Member{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	ra, rb, less := newRing("a", all), newRing("b", all), newRing("a", all[:2])
	count := map[string]int{}
	const keys = 30_000
	for n := range keys {
		key := fmt.Sprintf("%040x", n)
		owner := ra.ids[ra.owner(key)]
		if other := rb.ids[rb.owner(key)]; other != owner {
			t.Fatalf("%s: a says %s, b says %s", key, owner, other)
		}
		count[owner]++
		if now := less.ids[less.owner(key)]; owner != "c" && now != owner {
			t.Fatalf("%s moved from %s to %s when c left", key, owner, now)
		}
	}
	for id, n := range count {
		if n < keys/3*9/10 || n > keys/3*11/10 {
			t.Errorf("%s owns %d of %d", id, n, keys)
		}
	}
}
