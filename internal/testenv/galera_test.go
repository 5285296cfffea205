package testenv

import (
	"context"
	"database/sql"
	"testing"
	"time"
)

// A node that is killed comes back with what was committed meanwhile.
func TestGaleraNodeRejoins(t *testing.T) {
	began := time.Now()
	g, err := StartGalera(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %s", time.Since(began))
	defer func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	}()
	execute(t, g.Nodes[1], "CREATE DATABASE d")
	if err := g.Nodes[0].Kill(); err != nil {
		t.Fatal(err)
	}
	execute(t, g.Nodes[1], "CREATE TABLE d.t (id INT PRIMARY KEY)")
	execute(t, g.Nodes[2], "INSERT INTO d.t VALUES (1)")
	began = time.Now()
	if err := g.Nodes[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("rejoined in %s", time.Since(began))
	execute(t, g.Nodes[0], "SET SESSION wsrep_sync_wait = 1; DELETE FROM d.t WHERE id = (SELECT COUNT(*) FROM (SELECT * FROM d.t) AS x)")
	if err := g.Nodes[2].Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func execute(t *testing.T, n *GaleraNode, query string) {
	t.Helper()
	db, err := sql.Open("mysql", n.DSN("mysql")+"?multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := db.ExecContext(ctx, query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
