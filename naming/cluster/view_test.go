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
	for now := 4 * time.Second; now <= 8*time.Second; now += time.Second {
		if got := step(now, "a", "b"); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("silent for %s: %v, want still alive", now-3*time.Second, got)
		}
	}
	if got := step(9*time.Second, "a", "b"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("six seconds silent: %v, want dead", got)
	}
	if got := step(10*time.Second, "a", "b", "c"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("back: %v", got)
	}
	for now := 11 * time.Second; now <= 100*time.Second; now += time.Second {
		gone := v.observe(now, []naming.Member{{ID: "a", Beat: uint64(now)}, {ID: "c", Beat: beat["c"]}})
		if nobodys := now > 10*time.Second+forget*5*time.Second; slices.Equal(ids(gone), []string{"c"}) != nobodys {
			t.Fatalf("after %s: rows nobody needs: %v", now, ids(gone))
		}
	}
	if got := ids(v.live(100 * time.Second)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("a row that is not there any more: %v", got)
	}
}

// A store that answers nobody for a while kills nobody: who lives is seen to
// count soon after, and who does not is dead when it has had its time.
func TestNobodyDiesOfTheStore(t *testing.T) {
	v := newView("a", 2*time.Second)
	step := func(now time.Duration, b, c uint64) []string {
		v.observe(now, []naming.Member{{ID: "a", Beat: uint64(now)}, {ID: "b", Beat: b}, {ID: "c", Beat: c}})
		return ids(v.live(now))
	}
	everybody := []string{"a", "b", "c"}
	for n := range uint64(5) {
		step(time.Duration(n)*400*time.Millisecond, n, n)
	}
	// Nothing is heard from 1.6 s to 30 s; c does not come back.
	if got := step(30*time.Second, 4, 4); !slices.Equal(got, everybody) {
		t.Errorf("the first to see the store again takes the others for dead: %v", got)
	}
	for n := range 10 {
		now := 30*time.Second + time.Duration(n+1)*400*time.Millisecond
		got := step(now, uint64(5+n), 4)
		if dead := n >= 5; slices.Equal(got, []string{"a", "b"}) != dead || !dead && !slices.Equal(got, everybody) {
			t.Errorf("%s after that: %v", now-30*time.Second, got)
		}
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
