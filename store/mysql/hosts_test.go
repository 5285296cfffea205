package mysql

import (
	"fmt"
	"testing"

	"polestar/internal/testenv"
	"polestar/naming"
	"polestar/store"
)

// A host that is preferred, and lacks what was committed at the one in use, is
// gone back to only when it has it.
func TestAHostThatLagsIsNotPreferred(t *testing.T) {
	name := databaseFor(t, t.TempDir())
	other, err := testenv.StartMariaDB(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Stop(); err != nil {
			t.Error(err)
		}
	}()
	system := openDSN(t, other.DSN("mysql"), store.DefaultLogBounds()) // any database that is there
	if _, err := system.db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	_ = system.Close()
	lagging := openDSN(t, other.DSN(name), store.DefaultLogBounds())
	defer func() { _ = lagging.Close() }()
	s := openDSN(t, fmt.Sprintf("root@tcp(%s,%s)/%s", other.Addr, server.Addr, name), store.DefaultLogBounds())
	defer func() { _ = s.Close() }()
	ahead := openDSN(t, server.DSN(name), store.DefaultLogBounds())
	defer func() { _ = ahead.Close() }()
	if _, _, err := ahead.Apply(t.Context(), []naming.Write{register(1)}); err != nil {
		t.Fatal(err)
	}
	s.hosts.at.Store(&place{host: 1}) // as if the first had failed
	if s.hosts.better(t.Context()); s.hosts.at.Load().host != 1 {
		t.Error("it went back to a host that lags")
	}
	if _, _, err := lagging.Apply(t.Context(), []naming.Write{register(1)}); err != nil {
		t.Fatal(err)
	}
	if s.hosts.better(t.Context()); s.hosts.at.Load().host != 0 {
		t.Error("it did not go back to a host that has caught up")
	}
}
