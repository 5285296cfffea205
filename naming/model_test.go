package naming_test

import (
	"fmt"
	"maps"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"polestar/naming"
)

// simple is the world in the simplest form that can answer the same wishes:
// one copy of the truth, changed in place, one write after the other.
type simple struct {
	services map[naming.ServiceKey]bool
	byID     map[string]naming.Instance // with the clients' own attributes
	set      map[string]setting         // by operators; outlives the registration
	home     map[string]naming.ServiceKey
}

// setting is what an operator set; empty texts are nothing.
type setting struct{ weight, isolated string }

func settingOf(o *naming.Operator) (out setting) {
	if o != nil && o.Weight != nil {
		out.weight = fmt.Sprint(*o.Weight)
	}
	if o != nil && o.Isolated != nil {
		out.isolated = strconv.FormatBool(*o.Isolated)
	}
	return out
}

// do applies one write and says what must come of it; "refused" when the write
// must be turned down.
func (m *simple) do(w naming.Write) string {
	switch x := w.(type) {
	case *naming.Register:
		return m.register(x)
	case *naming.Deregister:
		was, known := m.byID[x.ID]
		switch {
		case !known:
			return "absent"
		case x.Service != (naming.ServiceKey{}) && x.Service != was.Service:
			return "refused"
		}
		delete(m.byID, x.ID)
		return "deleted"
	case *naming.SetHealth:
		now, known := m.byID[x.ID]
		if known && now.TTL > 0 {
			now.Healthy = x.Healthy
		}
		return m.change(known, now, m.set[x.ID])
	case *naming.Modify:
		now, known := m.byID[x.ID]
		op := m.set[x.ID]
		if !known && (x.Clear == (naming.Clear{}) || op == (setting{})) {
			return "absent"
		}
		if x.Clear.Isolated {
			op.isolated = ""
		}
		if x.Set.Isolated != nil {
			op.isolated = strconv.FormatBool(*x.Set.Isolated)
		}
		if x.Set.Weight != nil {
			op.weight = fmt.Sprint(*x.Set.Weight)
		}
		if !known { // what is kept of an absent one is only cleared
			if op == m.set[x.ID] {
				return "absent"
			}
			m.set[x.ID] = op
			return "updated"
		}
		return m.change(known, now, op)
	}
	return "?"
}

func (m *simple) register(x *naming.Register) string {
	was, known := m.byID[x.Instance.ID]
	if known && (was.Service != x.Instance.Service || was.Host != x.Instance.Host || was.Port != x.Instance.Port) {
		return "refused"
	}
	if !m.services[x.Instance.Service] && !x.AutoCreate {
		return "refused"
	}
	m.services[x.Instance.Service] = true
	if !known && m.home[x.Instance.ID] != x.Instance.Service {
		delete(m.set, x.Instance.ID) // it was for another one
	}
	m.home[x.Instance.ID] = x.Instance.Service
	now := x.Instance
	now.Healthy = x.Healthy == nil || *x.Healthy
	now.Isolated = x.Isolated != nil && *x.Isolated || x.Isolated == nil && was.Isolated
	return m.become(now, m.set[now.ID])
}

func (m *simple) change(known bool, now naming.Instance, op setting) string {
	if !known {
		return "absent"
	}
	return m.become(now, op)
}

func (m *simple) become(now naming.Instance, op setting) string {
	was, known := m.byID[now.ID]
	same := op == m.set[now.ID]
	m.byID[now.ID], m.set[now.ID] = now, op
	switch {
	case !known:
		return "created"
	case was.SameContent(&now) && same:
		return "unchanged"
	}
	return "updated"
}

func word(r naming.Result) string {
	if r.Err != nil {
		return "refused"
	}
	return map[naming.Outcome]string{
		naming.Created: "created", naming.Updated: "updated", naming.Unchanged: "unchanged", naming.Deleted: "deleted", naming.Absent: "absent",
	}[r.Outcome]
}

func drawFlag(t *rapid.T, label string) *bool {
	return rapid.SampledFrom([]*bool{nil, new(false), new(true)}).Draw(t, label)
}

// drawWrite draws from a world small enough that writes meet.
func drawWrite(t *rapid.T) naming.Write {
	id := fmt.Sprint("i", rapid.IntRange(0, 4).Draw(t, "id"))
	key := naming.ServiceKey{Namespace: "n", Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "service")}
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		return &naming.Deregister{ID: id}
	case 1:
		return &naming.Deregister{ID: id, Service: key}
	case 2:
		return &naming.SetHealth{ID: id, Healthy: rapid.Bool().Draw(t, "healthy")}
	case 3:
		w := &naming.Modify{ID: id, Set: naming.Setting{Isolated: drawFlag(t, "isolated")}, Clear: naming.Clear{Isolated: rapid.Bool().Draw(t, "clear")}}
		if rapid.Bool().Draw(t, "weigh") && !w.Clear.Isolated {
			w.Set.Weight = new(rapid.Uint32Range(0, 2).Draw(t, "weight"))
		}
		if w.Clear.Isolated {
			w.Set.Isolated = nil
		}
		return w
	default:
		return &naming.Register{
			Instance: naming.Instance{
				ID: id, Service: key, Host: rapid.SampledFrom([]string{"h", "h", "h", "g"}).Draw(t, "host"), Port: 1,
				Weight: rapid.Uint32Range(0, 2).Draw(t, "weight"), TTL: rapid.Uint32Range(0, 1).Draw(t, "ttl"),
			},
			Healthy: drawFlag(t, "healthy"), Isolated: drawFlag(t, "isolated"), AutoCreate: rapid.Bool().Draw(t, "auto"),
		}
	}
}

// Any sequence of groups ends in the world that the same writes make one by
// one in the simple model, with the same answers; and the commits alone, put
// one after the other, make that world too.
func TestAnySequenceOfGroupsEqualsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &simple{services: map[naming.ServiceKey]bool{}, byID: map[string]naming.Instance{}, set: map[string]setting{}, home: map[string]naming.ServiceKey{}}
		s := newShelf()
		for range rapid.IntRange(1, 8).Draw(t, "groups") {
			group := rapid.SliceOfN(rapid.Custom(drawWrite), 0, 6).Draw(t, "group")
			was, before := s.head, maps.Clone(s.instances)
			commit, results := s.apply(t, group...)
			var want, got []string
			for n, w := range group {
				want, got = append(want, m.do(w)), append(got, word(results[n]))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("answers (-model +plan):\n%s", diff)
			}
			checkCommit(t, was, before, commit, results)
			checkWorld(t, m, s)
		}
	})
}

func checkWorld(t *rapid.T, m *simple, s *shelf) {
	stored, set := map[string]naming.Instance{}, map[string]setting{}
	for id, i := range s.instances {
		own := *i
		own.Weight, own.Healthy, own.Isolated = i.Own().Weight, i.Own().Healthy, i.Own().Isolated
		set[id] = settingOf(i.Operator)
		if op := i.Operator; op != nil && (op.Weight != nil && *op.Weight != i.Weight || op.Isolated != nil && *op.Isolated != i.Isolated) {
			t.Fatalf("%s: what the operator set, %+v, is not in force", id, op)
		}
		own.Operator = nil
		stored[id] = own
	}
	for id, o := range s.overrides {
		set[id] = settingOf(&o.Operator)
	}
	for id := range m.set {
		if m.set[id] != set[id] {
			t.Fatalf("%s: an operator set %+v, kept is %+v", id, m.set[id], set[id])
		}
	}
	if diff := cmp.Diff(m.byID, stored, cmpopts.IgnoreFields(naming.Instance{}, "Created", "Modified", "Revision")); diff != "" {
		t.Fatalf("world (-model +plan):\n%s", diff)
	}
	services := map[naming.ServiceKey]bool{}
	for key := range s.services {
		services[key] = true
	}
	if diff := cmp.Diff(m.services, services); diff != "" {
		t.Fatalf("services (-model +plan):\n%s", diff)
	}
}

// checkCommit holds a commit to its contract: the next revision exactly when
// something changed, every Before the state just before, every After stamped.
func checkCommit(t *rapid.T, was naming.Revision, before map[string]*naming.Instance, c naming.Commit, results []naming.Result) {
	switch {
	case len(c.Changes) == 0 && c.Revision != 0, len(c.Changes) > 0 && c.Revision != was+1:
		t.Fatalf("%d changes after revision %d are revision %d", len(c.Changes), was, c.Revision)
	}
	for n := range c.Changes {
		ch := &c.Changes[n]
		i, ok := ch.Object().(*naming.Instance)
		if !ok {
			continue
		}
		var held naming.Object
		if b := before[i.ID]; b != nil {
			held = b
		}
		if held != ch.Before {
			t.Fatalf("change %d of %s: Before is not what was there", n, i.ID)
		}
		delete(before, i.ID)
		if !ch.Deleted() {
			before[i.ID] = i
			if i.Revision != c.Revision || i.Modified != c.Time {
				t.Fatalf("change %d of %s carries revision %d at %d, want %d at %d", n, i.ID, i.Revision, i.Modified, c.Revision, c.Time)
			}
		}
	}
	for n, r := range results {
		wrote := r.Outcome == naming.Created || r.Outcome == naming.Updated || r.Outcome == naming.Deleted
		switch {
		case r.Err != nil && r.Revision != 0, wrote && r.Revision != was+1, r.Err == nil && r.Revision < was:
			t.Fatalf("result %d: %s at revision %d, the commit before was %d", n, word(r), r.Revision, was)
		}
	}
}
