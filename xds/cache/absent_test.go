package cache

import (
	"fmt"
	"testing"

	"polestar/xds/resource"
)

// absentNames subscribes a watcher to names that do not exist until it is in
// excess, and returns how many it got.
func absentNames(w *Watcher, prefix string, most int) int {
	for n := range most {
		if w.Excess() {
			return n
		}
		w.Subscribe(resource.Key{Type: resource.Endpoints, Name: fmt.Sprint("shop/", prefix, n)})
	}
	return most
}

// TestAbsentNamesAreShared: who asks for more names that do not exist than its
// share gets no more once all together have too many; who asks for a few is not
// hindered, whoever else asks for what.
func TestAbsentNamesAreShared(t *testing.T) {
	c := New(newRegistered())
	c.BoundAbsent(10_000)
	var greedy []*Watcher
	total := 0
	for n := range 40 {
		w := c.NewWatcher()
		defer w.Close()
		w.HeldBy("10.0.0.1")
		greedy = append(greedy, w)
		total += absentNames(w, fmt.Sprint("g", n, "-"), 60_000)
	}
	if total > 2*10_000 || c.Absent() != total {
		t.Errorf("40 streams of one holder got %d names, counted are %d", total, c.Absent())
	}
	modest := c.NewWatcher()
	defer modest.Close()
	modest.HeldBy("10.0.0.2")
	if got := absentNames(modest, "m", 1000); got != 1000 {
		t.Errorf("another holder got %d names", got)
	}
	few := c.NewWatcher()
	defer few.Close()
	few.HeldBy("10.0.0.1")
	if got := absentNames(few, "f", fewAbsent); got != fewAbsent {
		t.Errorf("a stream of the greedy holder got %d names", got)
	}
	// Many streams with a few each are no way around it.
	for n := range 2000 {
		w := c.NewWatcher()
		defer w.Close()
		w.HeldBy("10.0.0.1")
		absentNames(w, fmt.Sprint("s", n, "-"), 1000)
	}
	if got, most := c.Absent(), 2*10_000+2041*(fewAbsent+1); got > most {
		t.Errorf("%d names, want at most %d", got, most)
	}
	for _, w := range greedy {
		w.Close()
	}
}

// What is counted is what does not exist now, and nothing is left of it.
func TestAbsentNamesAreCounted(t *testing.T) {
	b := newRegistered()
	c := New(b)
	w, other := c.NewWatcher(), c.NewWatcher()
	w.HeldBy("a")
	other.HeldBy("a")
	scope := resource.Scope{Namespace: "shop"}
	want := func(step string, n int) {
		t.Helper()
		if c.Absent() != n || c.holders["a"] != nil && c.holders["a"].absent != n || w.absent+other.absent != n {
			t.Errorf("%s: %d are absent, %d of the holder, %d and %d of the watchers, want %d",
				step, c.Absent(), c.holders["a"].absent, w.absent, other.absent, n)
		}
	}
	for _, name := range []string{"cart", "till", "none"} {
		w.Subscribe(keyOf(resource.Endpoints, scope, "shop/"+name))
		w.Subscribe(keyOf(resource.Endpoints, scope, "shop/"+name))
		other.Subscribe(keyOf(resource.Endpoints, scope, "shop/"+name))
	}
	want("nothing exists", 6)
	c.Refresh(b.put("cart", nil))
	c.Refresh(b.put("till", exportTo("other")))
	want("two exist", 2)
	c.Refresh(b.put("till", exportTo("x", "y")))
	other.Ghosts(5)
	want("and a few ghosts", 7)
	c.Refresh(b.drop("cart"))
	want("one is gone", 9)
	w.Unsubscribe(keyOf(resource.Endpoints, scope, "shop/cart"))
	w.Unsubscribe(keyOf(resource.Endpoints, scope, "shop/till"))
	want("one asks no more", 8)
	w.Close()
	w.Close()
	want("one is closed", 7)
	other.Close()
	if c.Absent() != 0 || c.Len() != 0 || len(c.holders) != 0 || c.watchers != 0 {
		t.Errorf("left are %d absent names, %d forms, %d holders, %d watchers", c.Absent(), c.Len(), len(c.holders), c.watchers)
	}
}

// After a peak the index and the watchers' own maps are as large as what they
// hold.
func TestMapsShrinkAfterAPeak(t *testing.T) {
	c := New(newRegistered())
	w := c.NewWatcher()
	defer w.Close()
	const peak = 20_000
	key := func(n int) resource.Key { return resource.Key{Type: resource.Endpoints, Name: fmt.Sprint("shop/", n)} }
	for n := range peak {
		w.Subscribe(key(n))
	}
	for n := range peak - 10 {
		w.Unsubscribe(key(n))
	}
	if len(w.named) != 10 || w.peak > leastShrunk || c.peaks[resource.Endpoints] > leastShrunk {
		t.Errorf("%d names in maps for %d and %d", len(w.named), w.peak, c.peaks[resource.Endpoints])
	}
	for n := peak - 10; n < peak; n++ {
		if w.Unsubscribe(key(n)); len(w.named) != peak-1-n {
			t.Fatalf("%d names are left", len(w.named))
		}
	}
	if c.Len() != 0 {
		t.Errorf("%d forms are left", c.Len())
	}
}
