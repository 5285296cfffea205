package mysql

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/follow"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/storetest"
)

// A server that has seen the last record of the log, which the database forgets
// and writes anew, shows what is in the tables then: by its next look, or when it
// commits itself.
func TestLogRewrittenBehindAServer(t *testing.T) {
	for name, own := range map[string]bool{"a look": false, "an own commit": true} {
		t.Run(name, func(t *testing.T) {
			a, b := openAt(t, t.Name(), store.DefaultLogBounds()), openAt(t, t.Name(), store.DefaultLogBounds())
			defer func() { _, _ = a.Close(), b.Close() }()
			world := registry.New()
			f, err := follow.New(follow.Default(), follow.Deps{
				Feed: b, Registry: world, Applied: func(*naming.Commit) {}, Loaded: func() {}, Metrics: prometheus.NewRegistry(), Log: zap.NewNop(),
			})
			if err != nil {
				t.Fatal(err)
			}
			commit := func(s *Store, n int) naming.Commit {
				c, _, err := s.Apply(t.Context(), []naming.Write{register(n)})
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			shows := func(n int) bool { return world.World().Instance(storetest.Instance("svc", n).ID) != nil }
			commit(a, 1)
			commit(a, 2)
			f.Fresh(t.Context())
			if !shows(1) || !shows(2) {
				t.Fatal("the server does not follow")
			}
			for _, undo := range []string{
				"DELETE FROM polestar_log WHERE revision = 2", "UPDATE polestar_head SET revision = 1",
				"DELETE FROM instance WHERE polestar_revision = 2", "UPDATE service SET polestar_touched = 1",
			} {
				if done, err := a.db.ExecContext(t.Context(), undo); err != nil {
					t.Fatal(err)
				} else if n, _ := done.RowsAffected(); n != 1 {
					t.Fatalf("%d rows: %s", n, undo)
				}
			}
			if c := commit(a, 3); c.Revision != 2 {
				t.Fatalf("revision %d was not given away again", c.Revision)
			}
			if own {
				c := commit(b, 4)
				if err := f.Commit(t.Context(), c, c.Revision); err != nil {
					t.Fatal(err)
				}
			} else {
				f.Fresh(t.Context())
			}
			if !shows(1) || shows(2) || !shows(3) || shows(4) != own {
				t.Errorf("shown: 1 %v, 2, which is not stored, %v, 3 %v, 4 %v", shows(1), shows(2), shows(3), shows(4))
			}
			if err := b.Check(t.Context(), func(p string) { t.Error(p) }); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Who reads the end of the log again and again reads no more rows than are new.
func TestTailReadsByTheKey(t *testing.T) {
	s := openAt(t, t.TempDir(), store.DefaultLogBounds())
	defer func() { _ = s.Close() }()
	for n := range 20 {
		if _, _, err := s.Apply(t.Context(), []naming.Write{register(n)}); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := s.db.QueryContext(t.Context(), "EXPLAIN "+strings.ReplaceAll(selectTail, "?", "19"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, kind, table, access, possible, key, length, ref, estimate, extra *string
		if err := rows.Scan(&id, &kind, &table, &access, &possible, &key, &length, &ref, &estimate, &extra); err != nil {
			t.Fatal(err)
		}
		if *access == "ALL" || strings.Contains(*extra, "temporary") || strings.Contains(*extra, "filesort") {
			t.Errorf("%s: %s, %s", *table, *access, *extra)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// Whether what is seen is on the disk is known of own commits, and asked by one
// commit of other servers': before a log is shown, a world loaded, or a write
// answered that changes nothing.
func TestWhatIsSeenIsMadeSureOf(t *testing.T) {
	a, b := openAt(t, t.Name(), store.DefaultLogBounds()), openAt(t, t.Name(), store.DefaultLogBounds())
	defer func() { _, _ = a.Close(), b.Close() }()
	apply := func(s *Store, n int) {
		t.Helper()
		if _, _, err := s.Apply(t.Context(), []naming.Write{register(n)}); err != nil {
			t.Fatal(err)
		}
	}
	sync := func(s *Store) {
		t.Helper()
		head, err := s.Sync(t.Context())
		if want, bad := s.Head(t.Context()); err != nil || bad != nil || head != want {
			t.Fatalf("Sync = %d, %v, the head is %d, %v", head, err, want, bad)
		}
	}
	asked := func(what string, want int, f func()) {
		t.Helper()
		var before, after int
		for _, at := range []*int{&before, &after} {
			if err := a.db.QueryRowContext(t.Context(), "SELECT fence FROM polestar_head WHERE id = 1").Scan(at); err != nil {
				t.Fatal(err)
			}
			if at == &before {
				f()
			}
		}
		if after-before != want {
			t.Errorf("%s: %d commits that only ask, want %d", what, after-before, want)
		}
	}
	load := func() {
		_, err := b.Load(t.Context(), func(naming.Object) error { return nil }, func(naming.Touched) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	apply(a, 1)
	asked("an own commit", 0, func() { sync(a) })
	asked("that of another server", 1, func() { sync(b); sync(b) })
	apply(a, 2)
	asked("no change after another server's", 1, func() { apply(b, 2); apply(b, 2); sync(b) })
	apply(a, 3)
	asked("a load after another server's", 1, func() { load(); load() })
}
