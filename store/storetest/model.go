package storetest

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"polestar/naming"
)

// model is what any store must equal: instances by id, as attributes that a
// sequence of writes leaves.
type model map[string]attributes

type attributes struct {
	weight            uint32
	healthy, isolated bool
}

func (m model) write(op string, i naming.Instance, flag bool) naming.Outcome {
	old, known := m[i.ID]
	now := old
	switch op {
	case "register":
		now = attributes{weight: i.Weight, healthy: true, isolated: old.isolated}
		m[i.ID] = now
		if !known {
			return naming.Created
		}
	case "deregister":
		delete(m, i.ID)
		if known {
			return naming.Deleted
		}
	case "health":
		now.healthy = flag
	case "isolate":
		now.isolated = flag
	}
	switch {
	case !known:
		return naming.Absent
	case now == old:
		return naming.Unchanged
	}
	m[i.ID] = now
	return naming.Updated
}

func wish(op string, i naming.Instance, flag bool) naming.Write {
	switch op {
	case "register":
		return register(i)
	case "deregister":
		return &naming.Deregister{ID: i.ID}
	case "health":
		return &naming.SetHealth{ID: i.ID, Healthy: flag}
	default:
		return &naming.Modify{ID: i.ID, Isolated: &flag}
	}
}

// testModel applies any sequence of writes in groups of any size, with the
// store closed and opened in between, and compares with the model.
func testModel(t *testing.T, f *fixture) {
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++ // each run has its own services: the store is shared
		m := model{}
		for range rapid.IntRange(1, 8).Draw(r, "groups") {
			var writes []naming.Write
			var want []naming.Outcome
			for range rapid.IntRange(1, 5).Draw(r, "size") {
				i := Instance(fmt.Sprint("run", n), rapid.IntRange(1, 3).Draw(r, "instance"))
				i.Weight = rapid.Uint32Range(1, 3).Draw(r, "weight")
				op := rapid.SampledFrom([]string{"register", "deregister", "health", "isolate"}).Draw(r, "op")
				flag := rapid.Bool().Draw(r, "flag")
				writes = append(writes, wish(op, i, flag))
				want = append(want, m.write(op, i, flag))
			}
			_, rs, err := f.Apply(t.Context(), writes)
			if err != nil {
				r.Fatalf("Apply: %v", err)
			}
			var got []naming.Outcome
			for _, res := range rs {
				got = append(got, res.Outcome)
			}
			if !slices.Equal(want, got) {
				r.Fatalf("outcomes %v, the model says %v", got, want)
			}
		}
		compare(r, f, m, fmt.Sprint("run", n))
	})
	f.reopen()
}

func compare(r *rapid.T, f *fixture, m model, service string) {
	_, objects, _ := f.world()
	got := model{}
	for _, o := range objects {
		if i, ok := o.(*naming.Instance); ok && i.Service.Name == service {
			got[i.ID] = attributes{weight: i.Weight, healthy: i.Healthy, isolated: i.Isolated}
		}
	}
	for id, a := range m {
		if got[id] != a {
			r.Fatalf("instance %s is %+v, the model says %+v", id, got[id], a)
		}
	}
	if len(got) != len(m) {
		r.Fatalf("stored %v, the model has %v", keys(got), keys(m))
	}
}
