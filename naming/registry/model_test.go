package registry_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"polestar/naming"
	"polestar/naming/registry"
)

func drawWrite(t *rapid.T) naming.Write {
	n := rapid.IntRange(0, 9).Draw(t, "id")
	// An id has one service, except a few that move between two.
	k := key("n", strconv.Itoa(n%3))
	id := strconv.Itoa(n)
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0, 1:
		return &naming.Deregister{ID: id}
	case 2:
		return &naming.Modify{ID: id, Set: naming.Setting{Isolated: new(rapid.Bool().Draw(t, "isolated"))}}
	default:
		if n > 6 && rapid.Bool().Draw(t, "moved") {
			k = key("m", "other")
		}
		return put(k, id, rapid.Uint32Range(0, 3).Draw(t, "weight"))
	}
}

// However the commits fall, what is published equals what the store holds:
// sorted, with the right sums, and with digests that a fresh load repeats.
func TestAnySequenceOfCommitsEqualsTheStore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newPair()
		for range rapid.IntRange(1, 10).Draw(rt, "commits") {
			commit, _, err := p.store.Apply(t.Context(), rapid.SliceOfN(rapid.Custom(drawWrite), 1, 8).Draw(rt, "group"))
			if err != nil {
				rt.Fatal(err)
			}
			was := p.reg.Snapshot()
			if err := p.reg.Apply(commit); err != nil {
				rt.Fatal(err)
			}
			checkTouched(rt, was, p.reg.Snapshot(), commit)
			checkWorld(rt, p.reg.Snapshot())
		}
		if diff := cmp.Diff(dump(p.reg.Snapshot()), dump(p.reload(t).Snapshot())); diff != "" {
			rt.Fatalf("followed and loaded worlds differ (-followed +loaded):\n%s", diff)
		}
	})
}

// checkTouched: a service has the commit's revision exactly when the commit
// touched it.
func checkTouched(t *rapid.T, was, now *registry.Snapshot, c naming.Commit) {
	touched := map[naming.ServiceKey]bool{}
	for n := range c.Changes {
		switch x := c.Changes[n].Object().(type) {
		case *naming.Service:
			touched[x.Key] = true
		case *naming.Instance:
			touched[x.Service] = true
		}
	}
	for st := range now.Services("") {
		switch k := st.Service.Key; {
		case touched[k] && st.Revision != c.Revision:
			t.Fatalf("%v was touched by %d, but has revision %d", k, c.Revision, st.Revision)
		case !touched[k] && st != was.Service(k):
			t.Fatalf("%v was replaced by commit %d, which did not touch it", k, c.Revision)
		}
	}
}

func checkWorld(t *rapid.T, w *registry.Snapshot) {
	total := 0
	for st := range w.Services("") {
		if got := ids(st); !slices.IsSorted(got) || len(slices.Compact(got)) != len(st.Instances) {
			t.Fatalf("%v: instances %v", st.Service.Key, ids(st))
		}
		if st.Sum != sum(st) {
			t.Fatalf("%v: the sum does not fit its instances", st.Service.Key)
		}
		for _, i := range st.Instances {
			if i.Service != st.Service.Key || w.Instance(i.ID) != i {
				t.Fatalf("%v: instance %s is somebody else's, or not found by its id", st.Service.Key, i.ID)
			}
		}
		total += len(st.Instances)
	}
	if _, _, instances, _ := w.Counts(); instances != total {
		t.Fatalf("%d instances by id, %d by service", instances, total)
	}
}

// dump is all of a world that a client can be told.
func dump(w *registry.Snapshot) (out []string) {
	out = append(out, fmt.Sprint("revision ", w.Revision()))
	for n := range w.Namespaces() {
		out = append(out, "namespace "+n.Name)
	}
	for st := range w.Services("") {
		out = append(out, fmt.Sprint(st.Service.Key, " ", st.Digest(), " ", st.Revision, " ", ids(st)))
	}
	return out
}
