package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
	"polestar/store"
)

// What an operator set wins over what the client registers, also when the
// instance goes and comes back, until it is cleared.
func testOperatorWins(t *testing.T, f *fixture) {
	i := Instance("svc", 1)
	yes, no, seven := true, false, uint32(7)
	f.apply(register(i))
	set := &naming.Modify{ID: i.ID, Set: naming.Setting{Isolated: &yes, Weight: &seven, Healthy: &no}, Reason: "broken disk"}
	f.apply(set)
	inForce := func(when string, got *naming.Instance) {
		t.Helper()
		if !got.Isolated || got.Weight != seven || got.Healthy || got.Operator == nil || got.Operator.Reason != "broken disk" {
			t.Errorf("%s: %+v, operator %+v; want what the operator set", when, got, got.Operator)
		}
	}
	i.Version = "2"
	w := register(i)
	w.Isolated, w.Healthy = &no, &yes
	_, rs := f.apply(w)
	inForce("registered again with other wishes", rs[0].Instance)
	if own := rs[0].Instance.Own(); own != (naming.Attributes{Weight: 100, Healthy: true}) {
		t.Errorf("the client's own wishes are kept as %+v", own)
	}
	_, rs = f.apply(&naming.SetHealth{ID: i.ID, Healthy: true})
	inForce("a beat", rs[0].Instance)
	f.reopen()
	f.apply(&naming.Deregister{ID: i.ID})
	f.reopen()
	if _, rs = f.apply(register(i)); rs[0].Outcome != naming.Created {
		t.Errorf("registered anew: outcome %v", rs[0].Outcome)
	}
	inForce("gone and back", rs[0].Instance)
	_, rs = f.apply(&naming.Modify{ID: i.ID, Clear: naming.Clear{Weight: true, Healthy: true, Isolated: true}})
	if got := rs[0].Instance; got.Isolated || got.Weight != 100 || !got.Healthy || got.Operator != nil {
		t.Errorf("cleared: %+v", got)
	}
	f.apply(set)
	f.apply(&naming.Deregister{ID: i.ID})
	if _, rs = f.apply(&naming.Modify{ID: i.ID, Clear: naming.Clear{Weight: true, Healthy: true, Isolated: true}}); rs[0].Outcome != naming.Updated {
		t.Errorf("clearing what is kept of an absent instance: %v", rs[0].Outcome)
	}
	if _, rs = f.apply(register(i)); rs[0].Instance.Isolated {
		t.Error("a cleared setting came back")
	}
}

// A world goes from one store into another as it is; what is written after it
// has the next revision.
func testRestore(t *testing.T, f *fixture) {
	yes := true
	a, b := Instance("svc", 1), Instance("svc", 2)
	alias := naming.ServiceKey{Namespace: "a", Name: "alias"} // sorts before what it stands for
	f.apply(register(a), register(b), &naming.PutClient{Client: naming.Client{ID: "c", Stats: []naming.ClientStat{{Target: "t", Port: 1}}}})
	f.apply(&naming.PutAlias{Key: alias, For: a.Service, AutoCreate: true}, &naming.PutContract{Contract: naming.Contract{Service: a.Service, Body: []byte{1}}})
	f.apply(&naming.Modify{ID: a.ID, Set: naming.Setting{Isolated: &yes}})
	f.apply(&naming.Deregister{ID: a.ID})
	people(f)
	head, objects, touched := f.world()
	from := f.Store
	other := &fixture{t: t, open: f.open, caps: f.caps, dir: t.TempDir(), bounds: f.bounds}
	other.start()
	defer other.stop()
	stop := errors.New("stop")
	err := other.Restore(t.Context(), func(ctx context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
		_, err := from.Load(ctx, visit, touched)
		return 0, errors.Join(err, stop)
	})
	if !errors.Is(err, stop) {
		t.Errorf("a source that failed: %v", err)
	}
	if err := other.Restore(t.Context(), from.Load); err != nil {
		t.Fatal(err)
	}
	other.reopen()
	gotHead, gotObjects, gotTouched := other.world()
	if diff := cmp.Diff(objects, gotObjects) + cmp.Diff(touched, gotTouched); diff != "" || gotHead != head {
		t.Errorf("head %d, want %d: %s", gotHead, head, diff)
	}
	if err := other.Restore(t.Context(), from.Load); naming.KindOf(err) != naming.Conflict {
		t.Errorf("into a store that is not empty: %v", err)
	}
	if _, err := other.Since(t.Context(), 0, 10); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("history from before: %v", err)
	}
	if c, rs := other.apply(register(a)); c.Revision != head+1 || !rs[0].Instance.Isolated {
		t.Errorf("written after: revision %d, %+v", c.Revision, rs[0].Instance)
	}
	if got, err := other.Since(t.Context(), head, 10); err != nil || len(got) != 1 {
		t.Errorf("history from then on: %d commits, %v", len(got), err)
	}
	_, rs := other.apply(&naming.DeleteService{Key: a.Service})
	if naming.KindOf(rs[0].Err) != naming.Conflict {
		t.Errorf("usage was not restored: %v", rs[0].Err)
	}
}

// A world whose objects say not when they were made can be restored, too.
func testTimeless(t *testing.T, f *fixture) {
	err := f.Restore(t.Context(), func(_ context.Context, visit func(naming.Object) error, _ func(naming.Touched) error) (naming.Revision, error) {
		return 1, visit(&naming.Namespace{Name: "ns", Revision: 1})
	})
	if _, objects, _ := f.world(); err != nil || len(objects) != 1 {
		t.Errorf("restored %v: %v", objects, err)
	}
}

// Members of a cluster, on backends that several servers can share.
func testMembers(t *testing.T, f *fixture) {
	m, ok := f.Store.(store.Members)
	if !ok {
		return // a store of one server has no members to keep
	}
	ctx := t.Context()
	a, b := naming.Member{ID: "a", Address: "h:1", DeafTo: []string{"b", "c"}}, naming.Member{ID: "B", Address: "h:2"}
	announce := func(m2 naming.Member, want ...naming.Member) {
		t.Helper()
		got, err := m.Announce(ctx, m2)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v: %s", err, diff)
		}
	}
	at := func(m naming.Member, beat uint64) naming.Member { m.Beat = beat; return m }
	announce(a, at(a, 1))
	announce(b, at(b, 1), at(a, 1))
	a.DeafTo = nil
	announce(a, at(b, 1), at(a, 2))
	if err := m.Remove(ctx, at(a, 1)); err != nil {
		t.Error(err)
	}
	announce(b, at(b, 2), at(a, 2)) // a beat in between kept it
	if err := m.Remove(ctx, at(a, 2)); err != nil {
		t.Error(err)
	}
	announce(b, at(b, 3))
}

// Services, aliases and namespaces: what still belongs to one keeps it.
func testManaged(t *testing.T, f *fixture) {
	i := Instance("svc", 1)
	alias := naming.ServiceKey{Namespace: "other", Name: "alias"}
	text, exports := "text", []string{"a", "b"}
	meta := naming.NewMetadata(map[string]string{"k": "v"})
	kinds := func(rs []naming.Result) (out []string) {
		for _, r := range rs {
			word := fmt.Sprint(r.Outcome)
			if e, ok := errors.AsType[*naming.Error](r.Err); ok {
				word = fmt.Sprint(e.Kind, " ", e.Field)
			}
			out = append(out, word)
		}
		return out
	}
	check := func(when string, want []any, writes ...naming.Write) {
		t.Helper()
		_, rs := f.apply(writes...)
		var w []string
		for _, x := range want {
			w = append(w, fmt.Sprint(x))
		}
		if diff := cmp.Diff(w, kinds(rs)); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	conflict := func(field string) string { return fmt.Sprint(naming.Conflict, " ", field) }
	check("create", []any{naming.Created, naming.Unchanged, naming.Created, fmt.Sprint(naming.Exists, " service"), conflict(naming.FieldAlias)},
		&naming.PutService{Key: i.Service, Mode: naming.Create, Comment: &text, ExportTo: &exports, Metadata: &meta, Cmdb: &[3]string{"x", "", "z"}, AutoCreate: true},
		&naming.PutService{Key: i.Service, Comment: &text},
		&naming.PutAlias{Key: alias, For: i.Service, AutoCreate: true},
		&naming.PutService{Key: i.Service, Mode: naming.Create},
		&naming.Register{Instance: func() naming.Instance { a := Instance("x", 9); a.Service = alias; return a }(), AutoCreate: true})
	f.reopen()
	body := naming.Contract{Service: i.Service, Type: "t", Body: []byte{1, 2}}
	check("use", []any{naming.Created, naming.Created, naming.Unchanged, fmt.Sprint(naming.NotFound, " service")},
		register(i), &naming.PutContract{Contract: body}, &naming.PutContract{Contract: body},
		&naming.PutContract{Contract: naming.Contract{Service: naming.ServiceKey{Namespace: "no", Name: "no"}}})
	del := &naming.DeleteService{Key: i.Service}
	check("in use", []any{conflict(naming.FieldInstances), naming.Deleted, conflict(naming.FieldAliases), conflict(naming.FieldServices)},
		del, &naming.Deregister{ID: i.ID}, del, &naming.DeleteNamespace{Name: "ns"})
	f.reopen()
	check("still in use", []any{conflict(naming.FieldAliases), conflict(naming.FieldServices)}, del, &naming.DeleteNamespace{Name: "ns"})
	check("of another revision", []any{conflict(naming.FieldRevision), naming.Unchanged},
		&naming.DeleteService{Key: alias, Alias: true, If: 99}, &naming.PutAlias{Key: alias, For: i.Service, If: 1})
	check("delete", []any{conflict(naming.FieldAliasFor), naming.Deleted, naming.Deleted, naming.Absent, naming.Deleted, naming.Deleted},
		&naming.DeleteService{Key: alias}, &naming.DeleteService{Key: alias, Alias: true}, del, del,
		&naming.DeleteNamespace{Name: "ns"}, &naming.DeleteNamespace{Name: "other"})
	f.reopen()
	if _, objects, touched := f.world(); len(objects)+len(touched) != 0 {
		t.Errorf("left: %v %v", objects, touched)
	}
}

// What an auto-created service is stays known, and ends with the first change.
func testAuto(t *testing.T, f *fixture) {
	a, b := Instance("a", 1), Instance("b", 1)
	f.apply(register(a), register(b))
	f.apply(&naming.Deregister{ID: a.ID}, &naming.Deregister{ID: b.ID}, &naming.PutService{Key: b.Service})
	f.reopen()
	_, rs := f.apply(&naming.DeleteService{Key: a.Service, Auto: true}, &naming.DeleteService{Key: b.Service, Auto: true})
	if rs[0].Outcome != naming.Deleted || rs[1].Outcome != naming.Unchanged {
		t.Errorf("outcomes %v and %v; want the untouched one deleted", rs[0].Outcome, rs[1].Outcome)
	}
}
