package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"polestar/internal/testenv"
	"polestar/store"
	"polestar/store/storetest"
)

// server is one MariaDB for all tests of this package.
var server *testenv.MariaDB

func TestMain(m *testing.M) {
	var err error
	if server, err = testenv.StartMariaDB(context.Background()); err != nil {
		panic(err) // without its server nothing here can be tested
	}
	m.Run()
	if err := errors.Join(server.Stop(), goleak.Find()); err != nil {
		panic(err)
	}
}

// databaseFor makes a database for a name, once.
func databaseFor(t testing.TB, name string) string {
	t.Helper()
	h := fnv.New64()
	_, _ = h.Write([]byte(name))
	db, err := sql.Open("mysql", server.DSN("mysql"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	name = fmt.Sprintf("t%x", h.Sum64())
	if _, err := db.Exec("CREATE DATABASE IF NOT EXISTS " + name); err != nil {
		t.Fatal(err)
	}
	return name
}

func openAt(t testing.TB, dir string, bounds store.LogBounds) *Store {
	t.Helper()
	cfg := Default()
	cfg.DSN, cfg.Log = server.DSN(databaseFor(t, dir)), bounds
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB, dir string, b store.LogBounds) store.Store { return openAt(t, dir, b) }, storetest.Caps{})
}

// eventually calls f until it returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}
