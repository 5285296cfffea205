package health

import (
	"hash/maphash"
	"testing"

	"pgregory.net/rapid"
)

// The table finds what a map finds, whatever the hashes: few different ones
// here, so that runs and wrap-arounds are common.
func TestTableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spread := rapid.SampledFrom([]uint64{1, 3, 40, 1 << 40}).Draw(t, "spread")
		seed := maphash.MakeSeed()
		hash := func(id string) uint64 { return maphash.String(seed, id) % spread * 0x9E3779B97F4A7C15 }
		var tab table
		want := map[string]*lease{}
		check := func(id string) {
			if got := tab.find(hash(id), id); got != want[id] {
				t.Fatalf("%q: found %v, want %v", id, got, want[id])
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				id := name(rapid.IntRange(0, 60).Draw(t, "id"))
				check(id)
				if x := want[id]; x != nil {
					tab.remove(x, hash)
					delete(want, id)
				} else {
					want[id] = &lease{id: id}
					tab.add(want[id], hash)
				}
				check(id)
			},
			"": func(*rapid.T) {
				if tab.n != len(want) {
					t.Fatalf("%d leases, want %d", tab.n, len(want))
				}
				for n := range 61 {
					check(name(n))
				}
			},
		})
	})
}

func TestTableShrinks(t *testing.T) {
	var tab table
	seed := maphash.MakeSeed()
	hash := func(id string) uint64 { return maphash.String(seed, id) }
	var all []*lease
	for n := range 10_000 {
		all = append(all, &lease{id: name(n)})
		tab.add(all[n], hash)
	}
	if n := len(tab.slots); n > 16_384 {
		t.Errorf("%d slots for 10,000 leases", n)
	}
	for _, x := range all {
		tab.remove(x, hash)
	}
	if tab.n != 0 || len(tab.slots) > minSlots {
		t.Errorf("%d leases in %d slots are left", tab.n, len(tab.slots))
	}
}

// The wheel gives each lease back in its tick, or at its far end, once.
func TestWheelTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w wheel
		due := map[*lease]int64{}
		leases := make([]*lease, 20)
		for n := range leases {
			leases[n] = &lease{id: name(n)}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				x := leases[rapid.IntRange(0, len(leases)-1).Draw(t, "lease")]
				tick := w.at + rapid.Int64Range(-5, 2*slots).Draw(t, "ticks")
				w.put(x, tick)
				tick = min(max(tick, w.at+1), w.at+slots-1)
				if old, in := due[x]; !in || tick < old { // it never moves back
					due[x] = tick
				}
			},
			"remove": func(t *rapid.T) {
				x := leases[rapid.IntRange(0, len(leases)-1).Draw(t, "lease")]
				w.remove(x)
				delete(due, x)
			},
			"turn": func(t *rapid.T) {
				for range rapid.SampledFrom([]int{1, 1, 1, 7, slots}).Draw(t, "ticks") {
					w.turn(func(x *lease) {
						if at, in := due[x]; !in || at != w.at {
							t.Fatalf("%s came at %d, want %d %v", x.id, w.at, at, in)
						}
						delete(due, x)
					})
					for x, at := range due {
						if at <= w.at {
							t.Fatalf("%s did not come at %d", x.id, at)
						}
					}
				}
			},
		})
	})
}
