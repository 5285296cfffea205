package mysql

import (
	"database/sql"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"polestar/naming"
	"polestar/store"
)

// A database of any earlier version opens with what it has, and does all that
// one made now does.
func TestEveryEarlierSchemaIsMigrated(t *testing.T) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	all, err := fs.Glob(files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for version := 1; version < len(all); version++ {
		t.Run(fmt.Sprint("from version ", version), func(t *testing.T) {
			dir := t.TempDir()
			db, err := sql.Open("mysql", server.DSN(databaseFor(t, dir))+"?parseTime=true")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			p, err := goose.NewProvider(database.DialectMySQL, db, files, goose.WithTableName("polestar_schema"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = p.UpTo(t.Context(), int64(version)); err != nil {
				t.Fatal(err)
			}
			for _, statement := range []string{
				"INSERT INTO namespace (name, service_export_to, polestar_revision) VALUES ('ns', '', 1)",
				"INSERT INTO service (id, name, namespace, ports, export_to, polestar_revision, polestar_touched) VALUES ('s', 'svc', 'ns', '', '', 1, 1)",
				"INSERT INTO polestar_log (revision, writer, seq, time, record) VALUES (1, 1, 1, 1, '')",
				"UPDATE polestar_head SET revision = 1 WHERE id = 1",
			} {
				if _, err = db.Exec(statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			// A server that dies before it wrote down what it did leaves a migration
			// that is done again.
			if _, err = p.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err = db.Exec("DELETE FROM polestar_schema WHERE version_id > ?", version); err != nil {
				t.Fatal(err)
			}
			s := openAt(t, dir, store.DefaultLogBounds())
			defer func() { _ = s.Close() }()
			found := map[naming.Kind]int{}
			head, err := s.Load(t.Context(), func(o naming.Object) error {
				found[o.ObjectKind()]++
				return nil
			}, func(naming.Touched) error { return nil })
			if err != nil || head != 1 || found[naming.KindNamespace] != 1 || found[naming.KindService] != 1 || len(found) != 2 {
				t.Errorf("revision %d, %v, %v", head, found, err)
			}
			by := naming.Actor{Principal: "root", ID: "u"}
			_, rs, err := s.Apply(t.Context(), []naming.Write{
				&naming.Bootstrap{UserID: "u", Name: "root", TokenID: "t", Hash: "h"}, &naming.PutNamespace{Name: "new", Actor: by},
			})
			if err != nil || rs[0].Outcome != naming.Created || rs[1].Namespace.Creator != "u" {
				t.Errorf("written: %+v, %v", rs, err)
			}
			if err := s.Check(t.Context(), func(p string) { t.Error(p) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// A holder of the schema's lock is dead when it is seen silent for long, and not
// when nobody could see it.
func TestSilentHolders(t *testing.T) {
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	v := vigil{since: start}
	for n, look := range []struct {
		holder     holder
		begin, end int
		want       bool
	}{
		{holder{1, 1}, 1, 1, false},
		{holder{1, 1}, 11, 11, false},
		{holder{1, 2}, 12, 12, false},
		{holder{1, 2}, 13, 43, false}, // the table was changed meanwhile
		{holder{1, 2}, 44, 44, false},
		{holder{1, 3}, 45, 45, false},
		{holder{2, 3}, 55, 55, false},
		{holder{2, 3}, 66, 66, true},
	} {
		if got := v.silent(look.holder, at(look.begin), at(look.end), lockDead); got != look.want {
			t.Errorf("look %d: dead: %v", n, got)
		}
	}
}
