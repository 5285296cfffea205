package mysql

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"polestar/internal/testenv"
	"polestar/naming"
	"polestar/store"
)

func TestNextHostIsUsed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	_ = l.Close()
	cfg := Default()
	cfg.DSN = fmt.Sprintf("root@tcp(%s,%s)/%s", dead, server.Addr, databaseFor(t, t.TempDir()))
	told := make(chan string, 10)
	cfg.Moved = func(host string) { told <- host }
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if len(told) != 1 || <-told != server.Addr || s.Host() != server.Addr {
		t.Errorf("the host in use is said to be %s", s.Host())
	}
	if _, _, err := s.Apply(t.Context(), []naming.Write{register(1)}); err != nil {
		t.Error(err)
	}
}

// Hosts that accept connections and answer nothing leave time for the one that
// works, however many there are.
func TestFrozenHostsAreSkipped(t *testing.T) {
	var hosts []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		hosts = append(hosts, l.Addr().String())
	}
	dsn := fmt.Sprintf("root@tcp(%s,%s)/%s", strings.Join(hosts, ","), server.Addr, databaseFor(t, t.TempDir()))
	s := openDSN(t, dsn, store.DefaultLogBounds())
	defer func() { _ = s.Close() }()
	s.hosts.at.Store(&place{}) // as if the first had worked until now
	if _, _, err := s.Apply(t.Context(), []naming.Write{register(1)}); err != nil {
		t.Error(err)
	}
}

// A host that has no connection left cannot be reached for now: a server that
// starts then serves what it knew last.
func TestAFullHostCannotBeReached(t *testing.T) {
	name := databaseFor(t, t.TempDir())
	s := openDSN(t, server.DSN(name), store.DefaultLogBounds())
	defer func() { _ = s.Close() }()
	for _, query := range []string{"CREATE USER few@'%' WITH MAX_USER_CONNECTIONS 1", "GRANT ALL ON *.* TO few@'%'"} {
		if _, err := s.db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Default()
	cfg.DSN = fmt.Sprintf("few@tcp(%s)/%s", server.Addr, name)
	one, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = one.Close() }()
	if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrUnreachable) {
		t.Errorf("one connection more: %v", err)
	}
}

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

// A node that has not applied yet what was committed at another one lets its
// readers wait: it never shows them what was before.
func (g *galera) lagging(t *testing.T) {
	dir := t.TempDir()
	a, b := g.open(t, dir, store.DefaultLogBounds(), 0), g.open(t, dir, store.DefaultLogBounds(), 1)
	defer func() { _, _ = a.Close(), b.Close() }()
	db, err := sql.Open("mysql", g.Nodes[1].DSN("mysql"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1) // the lock is a connection's
	if _, err := db.Exec("FLUSH TABLES WITH READ LOCK"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Apply(t.Context(), []naming.Write{register(1)}); err != nil {
		t.Error(err)
	}
	b.cfg.Timeout = 500 * time.Millisecond
	if head, err := b.Head(t.Context()); err == nil && head != 1 {
		t.Errorf("the node that lags shows revision %d", head)
	}
	if _, err := db.Exec("UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	b.cfg.Timeout = 10 * time.Second
	if head, err := b.Head(t.Context()); err != nil || head != 1 {
		t.Errorf("after that: revision %d, %v", head, err)
	}
}
