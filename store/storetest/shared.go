package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"polestar/naming"
	"polestar/store"
)

// testScan scans while writers race: each scan is the world of exactly the
// revision that it names, and stops nobody.
func testScan(t *testing.T, f *fixture) {
	s, ok := f.Store.(store.Scanner)
	if !ok {
		return // nobody else can write into a store of one server
	}
	const writers, writes, scans = 4, 60, 12
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range writes {
				i := Instance(fmt.Sprint("svc", n%3), n%20)
				i.Weight = uint32(w*writes + n)
				wish := []naming.Write{register(i), &naming.PutClient{Client: naming.Client{ID: fmt.Sprint("c", w), Version: fmt.Sprint(n)}}}
				if n%5 == 4 {
					wish = append(wish, &naming.Deregister{ID: i.ID})
				}
				if _, _, err := f.Apply(t.Context(), wish); err != nil {
					t.Errorf("Apply: %v", err)
				}
			}
		})
	}
	type world map[string]naming.Object
	name := func(o naming.Object) string { return fmt.Sprint(o.ObjectKind(), " ", o.ObjectKey()) }
	scan := func() (naming.Revision, world) {
		var at naming.Revision
		got, told := world{}, false
		err := s.Scan(t.Context(), func(r naming.Revision) error {
			at, told = r, true
			return nil
		}, func(o naming.Object) error {
			if !told {
				t.Error("an object before the revision")
			}
			got[name(o)] = o
			return nil
		})
		if err != nil {
			t.Errorf("Scan: %v", err)
		}
		return at, got
	}
	seen := map[naming.Revision]world{}
	for range scans {
		at, got := scan()
		seen[at] = got
	}
	wg.Wait()
	at, got := scan()
	seen[at] = got
	commits, err := f.Since(t.Context(), 0, 10_000)
	if err != nil || len(commits) == 0 || commits[len(commits)-1].Revision != at {
		t.Fatalf("%d commits, the last scan is of revision %d: %v", len(commits), at, err)
	}
	model := world{}
	for _, c := range commits {
		for _, ch := range c.Changes {
			if model[name(ch.Object())] = ch.After; ch.Deleted() {
				delete(model, name(ch.Object()))
			}
		}
		got, scanned := seen[c.Revision]
		if !scanned {
			continue
		}
		if len(got) != len(model) {
			t.Errorf("revision %d: %d objects were scanned, it has %d", c.Revision, len(got), len(model))
		}
		for key, o := range got {
			if want := model[key]; want == nil || !naming.Same(o, want) {
				t.Errorf("revision %d: scanned %+v, want %+v", c.Revision, o, want)
			}
		}
	}
	stop := errors.New("stop")
	if err := s.Scan(t.Context(), func(naming.Revision) error { return stop }, func(naming.Object) error { return nil }); !errors.Is(err, stop) {
		t.Errorf("a visitor's error: %v", err)
	}
}
