package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"polestar/naming"
)

// model is what any store must equal: instances by id, as attributes that a
// sequence of writes leaves.
type model map[string]attributes

type attributes struct {
	registered bool
	weight     uint32
	healthy    bool
	isolated   string // by an operator: "", "true" or "false"; outlives the registration
}

func (m model) write(op string, i naming.Instance, flag bool) naming.Outcome {
	old := m[i.ID]
	now := old
	switch op {
	case "register":
		now.registered, now.weight, now.healthy = true, i.Weight, true
	case "deregister":
		now = attributes{isolated: old.isolated}
	case "health":
		now.healthy = flag
	case "isolate":
		now.isolated = strconv.FormatBool(flag)
	}
	switch {
	case !old.registered && op != "register":
		return naming.Absent
	case now == old:
		return naming.Unchanged
	}
	m[i.ID] = now
	switch {
	case !old.registered:
		return naming.Created
	case !now.registered:
		return naming.Deleted
	}
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
		return &naming.Modify{ID: i.ID, Set: naming.Setting{Isolated: &flag}}
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
		switch x := o.(type) {
		case *naming.Instance:
			if x.Service.Name == service {
				got[x.ID] = attributes{true, x.Weight, x.Healthy, isolated(x.Operator)}
			}
		case *naming.Override:
			if x.Service.Name == service {
				got[x.InstanceID] = attributes{isolated: isolated(&x.Operator)}
			}
		}
	}
	for id, want := range m {
		if want == (attributes{}) {
			delete(m, id)
		}
	}
	if !maps.Equal(got, m) {
		r.Fatalf("stored %v, the model has %v", got, m)
	}
}

func isolated(o *naming.Operator) string {
	if o == nil || o.Isolated == nil {
		return ""
	}
	return strconv.FormatBool(*o.Isolated)
}
