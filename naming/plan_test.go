package naming_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

var (
	orders = naming.ServiceKey{Namespace: "default", Name: "orders"}
	stocks = naming.ServiceKey{Namespace: "default", Name: "stocks"}
	client = naming.Actor{Principal: "team-a", Address: "10.9.9.9", Agent: "go/1"}
)

// put is a registration of orders as the use case hands it over.
func put(id string, change ...func(*naming.Register)) *naming.Register {
	w := &naming.Register{
		Instance:   naming.Instance{ID: id, Service: orders, Host: "h-" + id, Port: 80, Weight: 100},
		AutoCreate: true, Actor: client,
	}
	for _, f := range change {
		f(w)
	}
	return w
}

func weight(n uint32) func(*naming.Register) {
	return func(w *naming.Register) { w.Instance.Weight = n }
}

func gone(id string) *naming.Deregister { return &naming.Deregister{ID: id, Cause: naming.CauseClient} }

// kinds lists what a commit changed, in order: "+service" created, "~" changed,
// "-" removed.
func kinds(c naming.Commit) []string {
	var out []string
	for n := range c.Changes {
		ch := &c.Changes[n]
		sign := "~"
		switch {
		case ch.Before == nil:
			sign = "+"
		case ch.After == nil:
			sign = "-"
		}
		out = append(out, sign+ch.Object().ObjectKind().String()+" "+ch.Object().ObjectKey())
	}
	return out
}

// outcome is a result in short.
type outcome struct {
	What naming.Outcome
	At   naming.Revision
	Kind naming.ErrorKind // of a refusal
	On   string           // its field
}

func outcomes(results []naming.Result) []outcome {
	var out []outcome
	for _, r := range results {
		o := outcome{What: r.Outcome, At: r.Revision}
		if e, ok := errors.AsType[*naming.Error](r.Err); ok {
			o.Kind, o.On = e.Kind, e.Field
		}
		out = append(out, o)
	}
	return out
}

func TestPlan(t *testing.T) {
	const created, updated, unchanged, deleted, absent = naming.Created, naming.Updated, naming.Unchanged, naming.Deleted, naming.Absent
	group := func(w ...naming.Write) []naming.Write { return w }
	for _, c := range []struct {
		name     string
		before   []naming.Write // revision 1, when there are any
		writes   []naming.Write
		changes  []string
		outcomes []outcome
	}{
		{
			name:     "first registration creates namespace, service and instance in this order",
			writes:   group(put("a")),
			changes:  []string{"+namespace default", "+service default\x00orders", "+instance a"},
			outcomes: []outcome{{What: created, At: 1}},
		},
		{
			name:     "second instance creates itself only",
			before:   group(put("a")),
			writes:   group(put("b")),
			changes:  []string{"+instance b"},
			outcomes: []outcome{{What: created, At: 2}},
		},
		{
			name:     "another content updates",
			before:   group(put("a")),
			writes:   group(put("a", weight(5))),
			changes:  []string{"~instance a"},
			outcomes: []outcome{{What: updated, At: 2}},
		},
		{
			name:     "the same content changes nothing and has no revision",
			before:   group(put("a")),
			writes:   group(put("a"), put("a")),
			outcomes: []outcome{{What: unchanged, At: 1}, {What: unchanged, At: 1}},
		},
		{
			name:     "a repetition in one group is unchanged at the group's revision",
			before:   group(put("b")),
			writes:   group(put("a"), put("a")),
			changes:  []string{"+instance a"},
			outcomes: []outcome{{What: created, At: 2}, {What: unchanged, At: 2}},
		},
		{
			name:     "an object changes twice in arrival order, the last wins",
			before:   group(put("a")),
			writes:   group(put("a", weight(1)), put("a", weight(2))),
			changes:  []string{"~instance a", "~instance a"},
			outcomes: []outcome{{What: updated, At: 2}, {What: updated, At: 2}},
		},
		{
			name:     "deregistration",
			before:   group(put("a")),
			writes:   group(gone("a"), gone("a"), gone("b")),
			changes:  []string{"-instance a"},
			outcomes: []outcome{{What: deleted, At: 2}, {What: absent, At: 2}, {What: absent, At: 1}},
		},
		{
			name:     "register and deregister meet in one group",
			writes:   group(put("a"), gone("a"), put("a")),
			changes:  []string{"+namespace default", "+service default\x00orders", "+instance a", "-instance a", "+instance a"},
			outcomes: []outcome{{What: created, At: 1}, {What: deleted, At: 1}, {What: created, At: 1}},
		},
		{
			name:   "an id cannot be taken over by another place; the neighbours are done",
			before: group(put("a")),
			writes: group(
				put("b"),
				put("a", func(w *naming.Register) { w.Instance.Service = stocks }),
				put("a", func(w *naming.Register) { w.Instance.Host = "elsewhere" }),
				put("a", func(w *naming.Register) { w.Instance.Port = 81 }),
				put("a", func(w *naming.Register) { w.Instance.VpcID = "v" }),
				put("c"),
			),
			changes: []string{"+instance b", "+instance c"},
			outcomes: []outcome{
				{What: created, At: 2},
				{Kind: naming.Invalid, On: "id"},
				{Kind: naming.Invalid, On: "id"},
				{Kind: naming.Invalid, On: "id"},
				{Kind: naming.Invalid, On: "id"},
				{What: created, At: 2},
			},
		},
		{
			name:   "an id is free again after its instance went",
			before: group(put("a")),
			writes: group(gone("a"), put("a", func(w *naming.Register) { w.Instance.Service = stocks })),
			changes: []string{
				"-instance a", "+service default\x00stocks", "+instance a",
			},
			outcomes: []outcome{{What: deleted, At: 2}, {What: created, At: 2}},
		},
		{
			name:   "a removal for one service leaves the instance of another alone",
			before: group(put("a")),
			writes: group(
				&naming.Deregister{ID: "a", Service: stocks}, &naming.Deregister{ID: "b", Service: stocks}, &naming.Deregister{ID: "a", Service: orders},
			),
			changes:  []string{"-instance a"},
			outcomes: []outcome{{Kind: naming.Conflict, On: "id"}, {What: absent, At: 1}, {What: deleted, At: 2}},
		},
		{
			name:     "without auto-create the namespace has to exist",
			writes:   group(put("a", manual)),
			outcomes: []outcome{{Kind: naming.NotFound, On: "namespace"}},
		},
		{
			name:     "without auto-create the service has to exist",
			before:   group(put("a", func(w *naming.Register) { w.Instance.Service = stocks })),
			writes:   group(put("a2", manual)),
			outcomes: []outcome{{Kind: naming.NotFound, On: "service"}},
		},
		{
			name:     "without auto-create an existing service takes instances",
			before:   group(put("a")),
			writes:   group(put("b", manual)),
			changes:  []string{"+instance b"},
			outcomes: []outcome{{What: created, At: 2}},
		},
		{
			name:   "health of an instance with a TTL",
			before: group(put("a", ttl)),
			writes: group(
				&naming.SetHealth{ID: "a", Healthy: true}, &naming.SetHealth{ID: "a"}, &naming.SetHealth{ID: "a"}, &naming.SetHealth{ID: "x"},
			),
			changes: []string{"~instance a"},
			outcomes: []outcome{
				{What: unchanged, At: 1}, {What: updated, At: 2}, {What: unchanged, At: 2}, {What: absent, At: 1},
			},
		},
		{
			name:     "a lease says nothing about an instance without a TTL",
			before:   group(put("a")),
			writes:   group(&naming.SetHealth{ID: "a"}),
			outcomes: []outcome{{What: unchanged, At: 1}},
		},
		{
			name:   "an operator's changes",
			before: group(put("a")),
			writes: group(
				&naming.Modify{ID: "a"}, &naming.Modify{ID: "a", Set: naming.Setting{Isolated: new(true)}}, &naming.Modify{ID: "a", Set: naming.Setting{Weight: new(uint32(0))}},
				&naming.Modify{ID: "a", Set: naming.Setting{Healthy: new(false)}}, &naming.Modify{ID: "x", Set: naming.Setting{Healthy: new(false)}},
			),
			changes: []string{"~instance a", "~instance a", "~instance a"},
			outcomes: []outcome{
				{What: unchanged, At: 1}, {What: updated, At: 2}, {What: updated, At: 2}, {What: updated, At: 2}, {What: absent, At: 1},
			},
		},
		{
			name:   "clients",
			before: group(&naming.PutClient{Client: naming.Client{ID: "c", Version: "1"}}),
			writes: group(
				&naming.PutClient{Client: naming.Client{ID: "c", Version: "1"}}, &naming.PutClient{Client: naming.Client{ID: "c", Version: "2"}},
				&naming.PutClient{Client: naming.Client{ID: "c", Version: "2"}}, &naming.PutClient{Client: naming.Client{ID: "d"}},
			),
			changes: []string{"~client c", "+client d"},
			outcomes: []outcome{
				{What: unchanged, At: 1}, {What: updated, At: 2}, {What: unchanged, At: 2}, {What: created, At: 2},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShelf()
			if c.before != nil {
				s.apply(t, c.before...)
			}
			was := s.head
			commit, results := s.apply(t, c.writes...)
			if diff := cmp.Diff(c.changes, kinds(commit)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.outcomes, outcomes(results)); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			want := was + 1
			if len(c.changes) == 0 {
				want = 0
			}
			if commit.Revision != want {
				t.Errorf("commit has revision %d, want %d", commit.Revision, want)
			}
		})
	}
}

func manual(w *naming.Register) { w.AutoCreate = false }

func ttl(w *naming.Register) { w.Instance.TTL = 5 }

func TestAFailingViewFailsTheGroup(t *testing.T) {
	broken := errors.New("disk gone")
	s := newShelf()
	s.fail = broken
	for _, w := range []naming.Write{
		put("a"), gone("a"), &naming.SetHealth{ID: "a"}, &naming.Modify{ID: "a"}, &naming.PutClient{Client: naming.Client{ID: "c"}},
	} {
		commit, results, err := naming.Plan(1, 1, s, []naming.Write{w})
		if !errors.Is(err, broken) || results != nil || len(commit.Changes) != 0 {
			t.Errorf("%T: commit %v, results %v, error %v", w, commit, results, err)
		}
	}
}

// A backend loads and locks only what Needs names, so it must name all that
// deciding reads.
func TestNeedsNamesAllThatIsRead(t *testing.T) {
	for _, w := range []naming.Write{
		put("a"), put("a", manual), gone("a"), &naming.SetHealth{ID: "a"}, &naming.Modify{ID: "a"}, &naming.PutClient{Client: naming.Client{ID: "c"}},
		&naming.RemoveClient{ID: "c"}, &naming.PutNamespace{Name: "n"}, &naming.DeleteNamespace{Name: "n"}, &naming.DeleteService{Key: orders},
		&naming.ModifyAll{IDs: []string{"a", "b"}}, &naming.DropOverride{ID: "a"},
		&naming.PutService{Key: orders}, &naming.PutContract{Contract: naming.Contract{Service: orders}},
	} {
		seen := &spy{shelf: newShelf()}
		switch w.(type) {
		case *naming.DeleteService, *naming.PutContract:
			seen.apply(t, put("other", func(w *naming.Register) { w.Instance.Service = orders }), gone("other"))
		}
		if _, _, err := naming.Plan(1, 1, seen, []naming.Write{w}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(seen.read.Instances)
		seen.read.Instances = slices.Compact(seen.read.Instances) // an instance and what is kept for it
		if diff := cmp.Diff(w.Needs(), seen.read); diff != "" {
			t.Errorf("%T (-needs +read):\n%s", w, diff)
		}
	}
}

type spy struct {
	*shelf
	read naming.Needs
}

func (s *spy) Namespace(name string) (*naming.Namespace, error) {
	s.read.Namespaces = append(s.read.Namespaces, name)
	return s.shelf.Namespace(name)
}

func (s *spy) Service(key naming.ServiceKey) (*naming.Service, error) {
	s.read.Services = append(s.read.Services, key)
	return s.shelf.Service(key)
}

func (s *spy) Instance(id string) (*naming.Instance, error) {
	s.read.Instances = append(s.read.Instances, id)
	return s.shelf.Instance(id)
}

func (s *spy) Client(id string) (*naming.Client, error) {
	s.read.Clients = append(s.read.Clients, id)
	return s.shelf.Client(id)
}

func (s *spy) Override(id string) (*naming.Override, error) {
	s.read.Instances = append(s.read.Instances, id)
	return s.shelf.Override(id)
}

func (s *spy) Usage(key naming.ServiceKey) (naming.Usage, error) {
	s.read.Usage = append(s.read.Usage, key)
	return s.shelf.Usage(key)
}

func (s *spy) Contract(key naming.ServiceKey, id string) (*naming.Contract, error) {
	s.read.Contracts = append(s.read.Contracts, &naming.Contract{Service: key})
	return s.shelf.Contract(key, id)
}

// A write that panics fails its group before anything is written, in a way
// that lets the group be tried again without it.
func TestAPanicIsAnErrorOfTheGroup(t *testing.T) {
	s := newShelf()
	_, _, err := naming.Plan(1, 1, s, []naming.Write{put("a"), (*naming.Register)(nil)})
	if naming.KindOf(err) != naming.Internal || !strings.Contains(err.Error(), "Register panicked") {
		t.Errorf("err = %v, want one of kind Internal that names the write", err)
	}
}
