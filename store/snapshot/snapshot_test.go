package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
	"polestar/store/storetest"
)

// fill makes a store with objects of every kind and a registry that shows it.
func fill(t *testing.T) (*memory.Store, *registry.Registry) {
	t.Helper()
	s := memory.New(store.DefaultLogBounds())
	yes := true
	a, b := storetest.Instance("svc", 1), storetest.Instance("svc", 2)
	for _, group := range [][]naming.Write{
		{&naming.Register{Instance: a, AutoCreate: true}, &naming.Register{Instance: b, AutoCreate: true}},
		{&naming.Modify{ID: a.ID, Set: naming.Setting{Isolated: &yes}}, &naming.Deregister{ID: a.ID}},
		{&naming.PutContract{Contract: naming.Contract{Service: a.Service, Body: []byte{1}}}, &naming.PutClient{Client: naming.Client{ID: "c"}}},
		{&naming.PutAlias{Key: naming.ServiceKey{Namespace: "other", Name: "alias"}, For: a.Service, AutoCreate: true}},
	} {
		if _, _, err := s.Apply(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
	r := registry.New()
	l := r.Load()
	head, err := s.Load(t.Context(), l.Add, l.Touched)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(head); err != nil {
		t.Fatal(err)
	}
	return s, r
}

type seen struct {
	Objects map[string]naming.Object
	Touched map[naming.ServiceKey]naming.Revision
	Head    naming.Revision
}

func collect(load func(func(naming.Object) error, func(naming.Touched) error) (naming.Revision, error)) (seen, error) {
	out := seen{Objects: map[string]naming.Object{}, Touched: map[naming.ServiceKey]naming.Revision{}}
	head, err := load(func(o naming.Object) error {
		out.Objects[fmt.Sprint(o.ObjectKind(), " ", o.ObjectKey())] = o
		return nil
	}, func(m naming.Touched) error {
		out.Touched[m.Service] = m.Revision
		return nil
	})
	out.Head = head
	return out, err
}

func TestWhatWasWrittenComesBack(t *testing.T) {
	s, r := fill(t)
	path := filepath.Join(t.TempDir(), "world")
	for range 2 { // the second replaces the first
		if err := Write(path, r.World()); err != nil {
			t.Fatal(err)
		}
	}
	want, err := collect(func(o func(naming.Object) error, m func(naming.Touched) error) (naming.Revision, error) {
		return s.Load(t.Context(), o, m)
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := collect(func(o func(naming.Object) error, m func(naming.Touched) error) (naming.Revision, error) {
		return Load(path, o, m)
	})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("files left: %v, %v", files, err)
	}
}

// No byte of a file can be changed or lost without being noticed, and nothing
// of a damaged one is handed out.
func TestDamageIsNoticed(t *testing.T) {
	_, r := fill(t)
	path := filepath.Join(t.TempDir(), "world")
	if err := Write(path, r.World()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil { //nolint:gosec // a file of the test
			t.Fatal(err)
		}
		got, err := collect(func(o func(naming.Object) error, m func(naming.Touched) error) (naming.Revision, error) {
			return Load(path, o, m)
		})
		if err == nil || len(got.Objects)+len(got.Touched) != 0 {
			t.Fatalf("%s: error %v, %d objects", what, err, len(got.Objects))
		}
	}
	for n := range whole {
		damaged := append([]byte(nil), whole...)
		damaged[n] ^= 0x10
		try(fmt.Sprint("byte ", n), damaged)
		try(fmt.Sprint("cut at ", n), whole[:n])
	}
}
