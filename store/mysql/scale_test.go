package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"polestar/naming"
	"polestar/store"
	"polestar/store/storetest"
)

// filled is a store with so many services of ten instances each, and a client
// for each service.
func filled(t testing.TB, services int) *Store {
	t.Helper()
	s := openAt(t, t.TempDir(), store.DefaultLogBounds())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	err := s.Restore(t.Context(), func(_ context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
		meta := naming.NewMetadata(map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"})
		for n := range services {
			i := storetest.Instance(fmt.Sprint("svc", n), 0)
			key := i.Service
			objects := []naming.Object{
				&naming.Service{ID: naming.ServiceID(key), Key: key, Metadata: meta, Created: 1e15, Modified: 1e15, Revision: 1},
				&naming.Client{ID: fmt.Sprint("c", n), Stats: []naming.ClientStat{{Target: "a"}, {Target: "b"}}, Created: 1e15, Modified: 1e15, Revision: 1},
			}
			for k := range 10 {
				i := storetest.Instance(key.Name, n*10+k)
				i.Metadata, i.Created, i.Modified, i.Revision = meta, 1e15, 1e15, 1
				objects = append(objects, &i)
			}
			for _, o := range objects {
				if err := visit(o); err != nil {
					return 0, err
				}
			}
			if err := touched(naming.Touched{Service: key, Revision: 1}); err != nil {
				return 0, err
			}
		}
		return 1, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Tables of more than one page are read whole, each row with its details.
func TestPages(t *testing.T) {
	const services = page/10 + page/20
	s := filled(t, services)
	count := map[naming.Kind]int{}
	err := s.Scan(t.Context(), func(naming.Revision) error { return nil }, func(o naming.Object) error {
		count[o.ObjectKind()]++
		switch x := o.(type) {
		case *naming.Service:
			if len(x.Metadata) != 5 {
				t.Errorf("service %s has metadata %v", x.Key, x.Metadata)
			}
		case *naming.Instance:
			if len(x.Metadata) != 5 || x.TTL != 5 {
				t.Errorf("instance %s has metadata %v and TTL %d", x.ID, x.Metadata, x.TTL)
			}
		case *naming.Client:
			if len(x.Stats) != 2 || x.Stats[1].Target != "b" {
				t.Errorf("client %s has %v", x.ID, x.Stats)
			}
		}
		return nil
	})
	if err != nil || count[naming.KindService] != services || count[naming.KindInstance] != 10*services || count[naming.KindClient] != services {
		t.Errorf("read %v: %v", count, err)
	}
}

// A page is read along the primary key: sorting all rows for each page made
// the reading of a large world quadratic.
func TestPagesAreNotSorted(t *testing.T) {
	s := filled(t, 200)
	if _, err := s.db.ExecContext(t.Context(), "ANALYZE TABLE instance, service, health_check"); err != nil {
		t.Fatal(err)
	}
	var plan []string
	var r reading
	r.add("EXPLAIN "+selectInstance+" AND i.id > ? ORDER BY i.id LIMIT ?", func(rows *sql.Rows) error {
		columns, err := rows.Columns()
		row := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for n := range row {
			into[n] = &row[n]
		}
		err = errors.Join(err, rows.Scan(into...))
		plan = append(plan, fmt.Sprint(row))
		return err
	}, "0", 100)
	if err := r.run(t.Context(), s.db); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "\n"); len(plan) < 3 || strings.Contains(text, "filesort") || strings.Contains(text, "temporary") {
		t.Errorf("the plan sorts:\n%s", text)
	}
}

// A group is two requests also when its writes name only instances: their
// services, each of another one, are not asked for one by one.
func TestRemovalsDoNotAskForEachService(t *testing.T) {
	s := openAt(t, t.TempDir(), store.DefaultLogBounds())
	defer func() { _ = s.Close() }()
	const services = 50
	var here, sick, gone []naming.Write
	for n := range services {
		i := storetest.Instance(fmt.Sprint("svc", n), 1)
		here = append(here, &naming.Register{Instance: i, AutoCreate: true})
		sick = append(sick, &naming.SetHealth{ID: i.ID})
		gone = append(gone, &naming.Deregister{ID: i.ID})
	}
	selects := func() (n int) {
		t.Helper()
		var name string
		if err := s.db.QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Com_select'").Scan(&name, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, group := range [][]naming.Write{here, sick, gone} {
		before := selects()
		c, _, err := s.Apply(t.Context(), group)
		if err != nil || len(c.Changes) < services {
			t.Fatalf("%d changes: %v", len(c.Changes), err)
		}
		if n := selects() - before; n > 12 {
			t.Errorf("a group of %d %T asks %d times", services, group[0], n)
		}
	}
}
