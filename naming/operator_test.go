package naming_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

// said is the kind and field of an error, in words that a table can hold.
func said(t *testing.T, err error, kind naming.ErrorKind, field string) {
	t.Helper()
	e, ok := errors.AsType[*naming.Error](err)
	if !ok || e.Kind != kind || e.Field != field || e.Msg == "" {
		t.Errorf("error %v, want kind %d about %q", err, kind, field)
	}
}

// Settings in a service's metadata are checked when they are written, whole or
// key by key, and what is wrong already does not stop other changes.
func TestSettingsAreCheckedWhenTheyAreWritten(t *testing.T) {
	r, s, _ := registrar(t)
	put := func(w naming.PutService) error {
		w.Key = orders
		_, err := r.PutService(t.Context(), w)
		return err
	}
	meta := func(pairs ...string) *naming.Metadata {
		m := map[string]string{}
		for _, p := range pairs {
			k, v, _ := strings.Cut(p, "=")
			m[k] = v
		}
		return new(naming.NewMetadata(m))
	}
	said(t, put(naming.PutService{Metadata: meta("polestar/retires=3")}), naming.Invalid, "metadata.polestar/retires")
	if len(s.services) != 0 {
		t.Fatal("a refused service was created")
	}
	if err := put(naming.PutService{Metadata: meta("polestar/retries=3", "team=a")}); err != nil {
		t.Fatal(err)
	}
	said(t, put(naming.PutService{Patch: naming.Patch{"polestar/retries": new("many")}}), naming.Invalid, "metadata.polestar/retries")
	// Fits only together with what is stored.
	said(t, put(naming.PutService{Patch: naming.Patch{"polestar/retries": nil, "polestar/retry-on": new("unavailable")}}), naming.Invalid, "metadata.polestar/retry-on")
	if err := put(naming.PutService{Patch: naming.Patch{"polestar/retry-on": new("unavailable"), "team": nil, "none": nil}}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(*meta("polestar/retries=3", "polestar/retry-on=unavailable"), s.services[orders].Metadata); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	broken := *s.services[orders]
	broken.Metadata = *meta("polestar/retries=many")
	s.services[orders] = &broken
	if err := put(naming.PutService{Comment: new("text")}); err != nil {
		t.Errorf("a wrong setting stopped another change: %v", err)
	}
	patch := naming.Patch{}
	for n := range 129 {
		patch[strings.Repeat("k", n+1)] = nil
	}
	said(t, put(naming.PutService{Patch: patch}), naming.Invalid, "metadata")
}

func TestMetadataOfAnInstanceIsCheckedWithItsPlace(t *testing.T) {
	r, s, _ := registrar(t)
	s.apply(t, put("a"))
	set := func(p naming.Patch) error {
		_, err := r.Modify(t.Context(), naming.Modify{ID: "a", Set: naming.Setting{Patch: p}})
		return err
	}
	said(t, set(naming.Patch{naming.KeyAdditionalAddresses: new("fd00::1")}), naming.Invalid, "metadata."+naming.KeyAdditionalAddresses) // host a is a name
	if err := set(naming.Patch{"zone": new("z1")}); err != nil {
		t.Fatal(err)
	}
	if v, _ := s.instances["a"].Metadata.Get("zone"); v != "z1" {
		t.Errorf("metadata %v", s.instances["a"].Metadata)
	}
}

// A write for another revision than the stored one does nothing.
func TestWritesForAnotherRevisionAreRefused(t *testing.T) {
	alias := naming.ServiceKey{Namespace: "default", Name: "alias"}
	s := newShelf()
	s.apply(t, put("a"), &naming.PutAlias{Key: alias, For: orders}) // revision 1
	s.apply(t, put("b"))
	s.apply(t, &naming.Modify{ID: "b", Set: naming.Setting{Weight: new(uint32(1))}}, gone("b")) // 3
	writes := func(rev naming.Revision) []naming.Write {
		return []naming.Write{
			&naming.PutNamespace{Name: "default", Comment: new("text"), If: rev},
			&naming.PutService{Key: orders, Comment: new("text"), If: rev},
			&naming.PutAlias{Key: alias, For: orders, Comment: new("text"), If: rev},
			&naming.DeleteService{Key: alias, Alias: true, If: rev},
			&naming.Modify{ID: "a", Set: naming.Setting{Weight: new(uint32(1))}, If: rev},
			&naming.Deregister{ID: "a", If: rev},
			&naming.DropOverride{ID: "b", If: rev},
			&naming.DeleteService{Key: orders, If: rev},
			&naming.DeleteNamespace{Name: "default", If: rev},
		}
	}
	head := s.head
	for _, w := range writes(99) {
		_, rs := s.apply(t, w)
		said(t, rs[0].Err, naming.Conflict, naming.FieldRevision)
	}
	for _, w := range []naming.Write{&naming.PutNamespace{Name: "x", If: 1}, &naming.PutService{Key: stocks, If: 1}} {
		_, rs := s.apply(t, w)
		said(t, rs[0].Err, naming.Conflict, naming.FieldRevision)
	}
	if s.head != head {
		t.Errorf("refused writes made revision %d", s.head)
	}
	for n, w := range writes(1) {
		if _, rs := s.apply(t, w); n < 5 && n != 3 && rs[0].Outcome != naming.Updated {
			t.Errorf("%T at its revision: outcome %v, %v", w, rs[0].Outcome, rs[0].Err)
		}
	}
}

// All instances of a service on a host change in one revision; others do not.
func TestModifyHost(t *testing.T) {
	r, s, _ := registrar(t)
	at := func(id, host string, port uint32) *naming.Register {
		return put(id, func(w *naming.Register) { w.Instance.Host, w.Instance.Port = host, port })
	}
	other := at("d", "10.0.0.1", 4)
	other.Instance.Service = stocks
	s.apply(t, at("a", "10.0.0.1", 1), at("b", "10.0.0.1", 2), at("c", "10.0.0.2", 1), other)
	place := naming.Place{Service: orders, Host: "10.0.0.1"}
	isolate := naming.ModifyAll{Set: naming.Setting{Isolated: new(true)}, Reason: "disk"}
	res, err := r.ModifyHost(t.Context(), place, isolate)
	if err != nil || res.Outcome != naming.Updated || res.Revision != 2 || len(res.Instances) != 2 || s.head != 2 {
		t.Fatalf("%+v, %v; want two at revision 2", res, err)
	}
	var isolated []string
	for id, i := range s.instances {
		if i.Isolated && i.Operator.Reason == "disk" {
			isolated = append(isolated, id)
		}
	}
	if len(isolated) != 2 || s.instances["c"].Isolated || s.instances["d"].Isolated {
		t.Errorf("isolated: %v", isolated)
	}
	if res, err = r.ModifyHost(t.Context(), place, isolate); err != nil || res.Outcome != naming.Unchanged || len(res.Instances) != 2 {
		t.Errorf("again: %+v, %v", res, err)
	}
	place.Port = 2
	if res, err = r.ModifyHost(t.Context(), place, naming.ModifyAll{Clear: naming.Clear{Isolated: true}}); err != nil || len(res.Instances) != 1 || s.instances["b"].Isolated || !s.instances["a"].Isolated {
		t.Errorf("one port: %+v, %v", res, err)
	}
	place.Port = 9
	_, err = r.ModifyHost(t.Context(), place, isolate)
	said(t, err, naming.NotFound, "instance")
	_, err = r.ModifyHost(t.Context(), naming.Place{Service: orders, Host: "10.0.0.256"}, isolate)
	said(t, err, naming.Invalid, naming.FieldHost)
	_, err = r.ModifyHost(t.Context(), naming.Place{Service: orders, Host: "10.0.0.1"}, naming.ModifyAll{Set: naming.Setting{Version: new("2")}})
	said(t, err, naming.Invalid, naming.FieldRequest)
	// What is gone or another's when it is decided is left out.
	_, rs := s.apply(t, &naming.ModifyAll{Service: orders, IDs: []string{"a", "d", "x"}, Set: naming.Setting{Weight: new(uint32(3))}})
	if rs[0].Outcome != naming.Updated || len(rs[0].Instances) != 1 || s.instances["d"].Weight == 3 {
		t.Errorf("%+v", rs[0])
	}
}

func TestDropOverride(t *testing.T) {
	r, s, _ := registrar(t)
	s.apply(t, put("a"), &naming.Modify{ID: "a", Set: naming.Setting{Isolated: new(true)}})
	drop := func() naming.Outcome {
		res, err := r.DropOverride(t.Context(), naming.DropOverride{ID: "a", Cause: naming.CauseCleanup})
		if err != nil {
			t.Fatal(err)
		}
		return res.Outcome
	}
	if got := drop(); got != naming.Absent || !s.instances["a"].Isolated {
		t.Errorf("of a registered instance: %v", got)
	}
	s.apply(t, gone("a"))
	if got := drop(); got != naming.Deleted || len(s.overrides) != 0 {
		t.Errorf("%v, left %v", got, s.overrides)
	}
	s.apply(t, put("a"))
	if s.instances["a"].Isolated {
		t.Error("what was dropped came back")
	}
}
