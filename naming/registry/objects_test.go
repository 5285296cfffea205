package registry_test

import (
	"testing"

	"polestar/naming"
	"polestar/naming/registry"
)

// Objects of every kind are walked, counted and found: what is not would never
// be compared with the store.
func TestObjectsOfEveryKind(t *testing.T) {
	key := naming.ServiceKey{Namespace: "n", Name: "s"}
	all := []naming.Object{
		&naming.Namespace{Name: "n"}, &naming.Service{Key: key}, &naming.Instance{ID: "i", Service: key}, &naming.Client{ID: "c"},
		&naming.Contract{Service: key}, &naming.Override{InstanceID: "o"},
		&naming.User{ID: "u"}, &naming.Group{ID: "g"}, &naming.Token{ID: "t"}, &naming.Policy{ID: "p"},
	}
	r := registry.New()
	l := r.Load()
	kinds := map[naming.Kind]bool{}
	for _, o := range all {
		kinds[o.ObjectKind()] = true
		if err := l.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Publish(1); err != nil {
		t.Fatal(err)
	}
	s, walked := r.Snapshot(), map[naming.Object]bool{}
	for o := range s.Objects() {
		walked[o] = true
	}
	for _, o := range all {
		if found := s.Object(o.ObjectKind(), o.ObjectKey()); found != o || !walked[o] {
			t.Errorf("%s: found %v, walked: %v", o.ObjectKind(), found, walked[o])
		}
		if s.Object(o.ObjectKind(), "other") != nil {
			t.Errorf("%s: found what is not there", o.ObjectKind())
		}
	}
	for _, k := range naming.Kinds() {
		if !kinds[k] {
			t.Errorf("%s: add an object of this kind to this test", k)
		}
	}
	for range s.Objects() {
		break // ends the walk
	}
	if s.Len() != len(all) || s.Loads() != 1 {
		t.Errorf("%d objects after %d loads", s.Len(), s.Loads())
	}
}
