package naming_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

func TestIsolationSurvivesARegistrationThatDoesNotNameIt(t *testing.T) {
	s := newShelf()
	s.apply(t, put("a", func(w *naming.Register) { w.Isolated = new(true) }))
	isolated := func(v *bool) bool {
		s.apply(t, put("a", func(w *naming.Register) { w.Isolated, w.Instance.Weight = v, w.Instance.Weight+1 }))
		s.apply(t, put("a", func(w *naming.Register) { w.Isolated = v }))
		return s.instances["a"].Isolated
	}
	if !isolated(nil) {
		t.Error("a registration without isolate cleared the isolation")
	}
	if isolated(new(false)) {
		t.Error("isolate=false was ignored")
	}
	if isolated(nil) || !isolated(new(true)) {
		t.Error("isolate is not what was asked for last")
	}
	s.apply(t, gone("a"))
	s.apply(t, put("a"))
	if s.instances["a"].Isolated {
		t.Error("a client's isolation outlived its instance")
	}
}

// What an operator set is for the place, whoever registers it how often.
func TestWhatAnOperatorSetSurvivesRegistrations(t *testing.T) {
	s := newShelf()
	s.apply(t, put("a"))
	s.apply(t, &naming.Modify{ID: "a", Set: naming.Setting{Isolated: new(true), Weight: new(uint32(7))}, Reason: "why", Actor: client})
	for _, again := range [][]naming.Write{
		{put("a", func(w *naming.Register) { w.Isolated = new(false) })}, {gone("a")}, {put("a", weight(50))}, {gone("a"), put("a")},
	} {
		s.apply(t, again...)
		if i := s.instances["a"]; i != nil && (!i.Isolated || i.Weight != 7 || i.Operator.By != "team-a" || i.Operator.Reason != "why" || i.Operator.Since != at(2)) {
			t.Errorf("%+v, set by %+v", i, i.Operator)
		}
	}
	if len(s.overrides) != 0 {
		t.Errorf("kept although the instance is back: %v", s.overrides)
	}
	s.apply(t, &naming.Modify{ID: "a", Clear: naming.Clear{Isolated: true}})
	if i := s.instances["a"]; i.Isolated || i.Weight != 7 {
		t.Errorf("isolation cleared: %+v", i)
	}
	s.apply(t, gone("a"))
	other := put("a")
	other.Instance.Service = stocks
	s.apply(t, other)
	if i := s.instances["a"]; i.Weight != 100 || len(s.overrides) != 0 {
		t.Errorf("an id in another service took over what was set: %+v", i)
	}
}

func TestHealthOfARegistration(t *testing.T) {
	s := newShelf()
	for _, c := range []struct {
		name string
		sent *bool
		want bool
	}{{"not sent", nil, true}, {"false", new(false), false}, {"not sent again", nil, true}, {"true", new(true), true}} {
		s.apply(t, put("a", ttl, func(w *naming.Register) { w.Healthy = c.sent }))
		if s.instances["a"].Healthy != c.want {
			t.Errorf("%s: healthy = %v, want %v", c.name, !c.want, c.want)
		}
	}
}

func TestTimesAndRevisionsOfAnInstance(t *testing.T) {
	s := newShelf()
	s.apply(t, put("a"))
	first := *s.instances["a"]
	if first.Created != at(1) || first.Modified != at(1) || first.Revision != 1 {
		t.Errorf("created: %+v", first)
	}
	s.apply(t, put("b"))
	s.apply(t, put("a", weight(7)))
	second := *s.instances["a"]
	if second.Created != at(1) || second.Modified != at(3) || second.Revision != 3 {
		t.Errorf("updated: %+v", second)
	}
	if s.services[orders].Revision != 1 || s.namespaces["default"].Revision != 1 {
		t.Error("a change of an instance moved the revision of its service or namespace")
	}
	s.apply(t, &naming.PutClient{Client: naming.Client{ID: "c"}})
	s.apply(t, &naming.PutClient{Client: naming.Client{ID: "c", Host: "h"}})
	if c := s.clients["c"]; c.Created != at(4) || c.Modified != at(5) || c.Revision != 5 {
		t.Errorf("client: %+v", c)
	}
}

func TestChangesSayWhoAndWhy(t *testing.T) {
	s := newShelf()
	operator := naming.Actor{Principal: "ops"}
	var got []naming.Change
	for _, w := range []naming.Write{
		put("a", ttl), put("a", weight(1), ttl),
		&naming.SetHealth{ID: "a", Cause: naming.CauseLease},
		&naming.Modify{ID: "a", Set: naming.Setting{Weight: new(uint32(3))}, Actor: operator, Reason: "drain"},
		&naming.Deregister{ID: "a", Actor: operator, Cause: naming.CauseOperator, Reason: "gone"},
		&naming.PutClient{Client: naming.Client{ID: "c"}, Actor: client},
	} {
		commit, _ := s.apply(t, w)
		for _, c := range commit.Changes {
			got = append(got, naming.Change{Actor: c.Actor, Cause: c.Cause, Reason: c.Reason})
		}
	}
	want := []naming.Change{
		{Actor: client, Cause: naming.CauseAuto},
		{Actor: client, Cause: naming.CauseAuto},
		{Actor: client, Cause: naming.CauseClient},
		{Actor: client, Cause: naming.CauseClient},
		{Cause: naming.CauseLease},
		{Actor: operator, Cause: naming.CauseOperator, Reason: "drain"},
		{Actor: operator, Cause: naming.CauseOperator, Reason: "gone"},
		{Actor: operator, Cause: naming.CauseOperator, Reason: "gone"}, // what the operator set is kept
		{Actor: client, Cause: naming.CauseClient},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOwnerOfWhatIsAutoCreated(t *testing.T) {
	for _, c := range []struct{ principal, want string }{{"team-a", "team-a"}, {"", "Polaris"}} {
		s := newShelf()
		s.apply(t, put("a", func(w *naming.Register) { w.Actor = naming.Actor{Principal: c.principal} }))
		svc, ns := s.services[orders], s.namespaces["default"]
		if svc.Owner != c.want || ns.Owner != c.want {
			t.Errorf("owners %q and %q, want %q", svc.Owner, ns.Owner, c.want)
		}
		if svc.ID != naming.ServiceID(orders) || len(svc.ID) != 32 || naming.ServiceID(stocks) == svc.ID {
			t.Errorf("service id %q", svc.ID)
		}
	}
}

func TestPlanLeavesTheStoredValuesAlone(t *testing.T) {
	s := newShelf()
	s.apply(t, put("a", ttl))
	kept := s.instances["a"]
	copied := *kept
	s.apply(t, put("a", ttl, weight(9)), &naming.SetHealth{ID: "a"}, &naming.Modify{ID: "a", Set: naming.Setting{Isolated: new(true)}}, gone("a"))
	if diff := cmp.Diff(copied, *kept); diff != "" {
		t.Errorf("an immutable value was changed (-was +is):\n%s", diff)
	}
}
