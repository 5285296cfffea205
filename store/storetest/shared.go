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

// shared reports whether others can write the log, too.
func shared(f *fixture) bool {
	_, ok := f.Store.(store.Scanner)
	return ok
}

// testTail reads the end of the log: each commit names the record that it came
// after, as whoever made it was told, and none that was ever there has the name
// of another.
func testTail(t *testing.T, f *fixture) {
	const commits = 8
	made := make([]naming.Commit, commits+3) // by revision, and some that are not made
	names := map[naming.Record]bool{}
	for n := range commits {
		c, _, err := f.Apply(t.Context(), []naming.Write{register(Instance("svc", n))})
		if err != nil {
			t.Fatal(err)
		}
		made[c.Revision] = c
		names[c.Record] = true
		if c.After != made[n].Record || shared(f) == (c.Record == naming.Record{}) {
			t.Errorf("revision %d is %+v after %+v, which is %+v", c.Revision, c.Record, c.After, made[n].Record)
		}
	}
	if shared(f) && len(names) != commits {
		t.Errorf("%d commits have %d names", commits, len(names))
	}
	for after := range naming.Revision(len(made)) {
		for _, limit := range []int{1, 3, 100} {
			got, err := f.Tail(t.Context(), after, limit)
			if err != nil || got.Head != commits || len(got.Commits) != max(min(limit, commits-int(after)), 0) {
				t.Fatalf("Tail(%d, %d) = %d commits up to %d, %v", after, limit, len(got.Commits), got.Head, err)
			}
			if got.At != made[after].Record {
				t.Errorf("Tail(%d, %d) says that it is %+v", after, limit, got.At)
			}
			for _, c := range got.Commits {
				if want := made[c.Revision]; c.Record != want.Record || c.After != want.After || len(c.Changes) != len(want.Changes) {
					t.Errorf("Tail(%d, %d): revision %d is %+v after %+v, want %+v after %+v", after, limit, c.Revision, c.Record, c.After, want.Record, want.After)
				}
			}
		}
	}
}
