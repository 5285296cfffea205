package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"polestar/internal/testenv"
	"polestar/naming"
	"polestar/store"
	"polestar/store/storetest"
)

// Everything that the other tests say of one database holds of three Galera
// nodes, and what only they can do wrong does not happen.
func TestGalera(t *testing.T) {
	g, err := testenv.StartGalera(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := &galera{Galera: g, databases: map[string]string{}}
	t.Run("store", func(t *testing.T) {
		storetest.Run(t, func(t testing.TB, dir string, b store.LogBounds) store.Store {
			return c.open(t, dir, b, 0, 1, 2)
		}, storetest.Caps{})
	})
	t.Run("servers start together", c.startTogether)
	t.Run("dead lock", c.deadLock)
	t.Run("writers at every node", c.writers)
	t.Run("lagging node", c.lagging)
	t.Run("fence", c.fence)
	t.Run("duty", c.duty)
	t.Run("aborted transaction", c.aborted)
	t.Run("lost answer", c.lostAnswer)
	t.Run("cut off", c.cutOff)
}

// galera is the cluster of a test, with a database for each directory.
type galera struct {
	*testenv.Galera
	databases map[string]string
}

func (g *galera) database(t testing.TB, dir string) string {
	t.Helper()
	if g.databases[dir] == "" {
		name := fmt.Sprint("d", len(g.databases))
		g.exec(t, 0, "CREATE DATABASE "+name)
		for node := range g.Nodes { // who names a database that is not there yet is refused
			g.exec(t, node, "SET STATEMENT wsrep_sync_wait = 1 FOR SELECT 1")
		}
		g.databases[dir] = name
	}
	return g.databases[dir]
}

func (g *galera) exec(t testing.TB, node int, query string) {
	t.Helper()
	db, err := sql.Open("mysql", g.Nodes[node].DSN("mysql"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(context.Background(), query); err != nil {
		t.Fatal(err)
	}
}

// open opens a store that prefers the nodes in this order.
func (g *galera) open(t testing.TB, dir string, bounds store.LogBounds, order ...int) *Store {
	t.Helper()
	return openDSN(t, g.DSN(g.database(t, dir), order...), bounds)
}

func openDSN(t testing.TB, dsn string, bounds store.LogBounds) *Store {
	t.Helper()
	cfg := Default()
	cfg.DSN, cfg.Log = dsn, bounds
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Servers at different nodes change the schema one after the other.
func (g *galera) startTogether(t *testing.T) {
	name := g.database(t, t.TempDir())
	for k := range 3 { // who connects to a node does not wait for what others have made
		db, err := sql.Open("mysql", g.Nodes[k].DSN(name))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, db.Ping)
		_ = db.Close()
	}
	var wg sync.WaitGroup
	for k := range 6 {
		wg.Go(func() {
			cfg := Default()
			cfg.DSN = g.DSN(name, k%3)
			s, err := Open(t.Context(), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			_ = s.Close()
		})
	}
	wg.Wait()
	db, err := sql.Open("mysql", g.Nodes[1].DSN(name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var runs, versions, locks int
	err = db.QueryRow("SELECT COUNT(*), COUNT(DISTINCT version_id), (SELECT COUNT(*) FROM polestar_lock) FROM polestar_schema").Scan(&runs, &versions, &locks)
	if err != nil || runs != versions || locks != 0 {
		t.Errorf("%d migrations were run for %d versions, %d locks are left: %v", runs, versions, locks, err)
	}
}

// A server that died while it changed the schema holds up the others for a
// while only, and what it left half done is done.
func (g *galera) deadLock(t *testing.T) {
	dir := t.TempDir()
	s := g.open(t, dir, store.DefaultLogBounds(), 0)
	for _, query := range []string{
		"INSERT INTO polestar_lock (id, owner, beat) VALUES (1, 7, 7)",
		"DELETE FROM polestar_schema WHERE version_id > 0", // as if it had died before it noted them
	} {
		if _, err := s.db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := Default()
	cfg.DSN = g.DSN(g.database(t, dir), 1)
	s, err := connect(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.lockDead = 200 * time.Millisecond
	if err := s.migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.prefer(t.Context(), time.Hour)
	if _, _, err := s.Apply(t.Context(), []naming.Write{register(1)}); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Three servers that write the same few instances at three nodes: no write is
// refused, revisions are gap-free, and all nodes tell the same story.
func (g *galera) writers(t *testing.T) {
	dir := t.TempDir()
	const each = 40
	var wg sync.WaitGroup
	for k := range 3 {
		s := g.open(t, dir, store.DefaultLogBounds(), k, (k+1)%3, (k+2)%3)
		wg.Go(func() {
			defer func() { _ = s.Close() }()
			for n := range each {
				i := storetest.Instance("svc", n%5)
				i.Weight = uint32(1 + (n*3+k)%100)
				c, _, err := s.Apply(t.Context(), []naming.Write{&naming.Register{Instance: i, AutoCreate: true}})
				if err != nil {
					t.Errorf("Apply: %v", err)
					return
				}
				// Read your writes: a server that was told of a revision finds it at any node.
				if got, err := s.Since(t.Context(), max(c.Revision, 1)-1, 1); c.Revision > 0 && (err != nil || len(got) == 0) {
					t.Errorf("revision %d was committed and cannot be read: %v", c.Revision, err)
				}
			}
		})
	}
	wg.Wait()
	var heads []naming.Revision
	for k := range 3 {
		s := g.open(t, dir, store.DefaultLogBounds(), k)
		if err := s.Check(t.Context(), func(problem string) { t.Errorf("node %d: %s", k, problem) }); err != nil {
			t.Error(err)
		}
		commits, err := s.Since(t.Context(), 0, 1000)
		if err != nil {
			t.Error(err)
		}
		heads = append(heads, naming.Revision(len(commits)))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if heads[0] < 3*each*9/10 || heads[0] != heads[1] || heads[1] != heads[2] {
		t.Errorf("the nodes have %v revisions", heads)
	}
}

// pending makes a transaction of a store that lacks only its COMMIT.
func pending(t *testing.T, s *Store) (*sql.Conn, *conn) {
	t.Helper()
	conn, err := s.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	told, err := target(conn)
	if err != nil {
		t.Fatal(err)
	}
	writes := []naming.Write{register(1)}
	v, err := begin(t.Context(), conn, writes)
	if err != nil {
		t.Fatal(err)
	}
	commit, _, err := naming.Plan(v.head+1, 1, v, writes)
	if err != nil {
		t.Fatal(err)
	}
	script, err := s.script(v, commit, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := script.run(t.Context(), conn, "DO 0"); err != nil {
		t.Fatal(err)
	}
	return conn, told
}

// A commit that another node was asked for, and did not have, can never come.
func (g *galera) fence(t *testing.T) {
	dir := t.TempDir()
	a, b := g.open(t, dir, store.DefaultLogBounds(), 0), g.open(t, dir, store.DefaultLogBounds(), 1)
	defer func() { _, _ = a.Close(), b.Close() }()
	conn, told := pending(t, a)
	b.writer = a.writer // b asks as a would through another node
	cause := errors.New("no answer")
	if err := b.settle(t.Context(), told, 1, cause); err != cause { //nolint:errorlint // this one itself
		t.Fatalf("settle: %v", err)
	}
	if _, err := conn.ExecContext(t.Context(), "COMMIT"); number(err) != errDeadlock {
		t.Errorf("the COMMIT that was given up: %v", err)
	}
	if head, err := b.Head(t.Context()); head != 0 || err != nil {
		t.Errorf("head %d, %v", head, err)
	}
}

// A commit that began under an earlier holder of a duty never comes after a
// later one took over, at whatever nodes they are.
func (g *galera) duty(t *testing.T) {
	dir := t.TempDir()
	a, b := g.open(t, dir, store.DefaultLogBounds(), 0), g.open(t, dir, store.DefaultLogBounds(), 1)
	defer func() { _, _ = a.Close(), b.Close() }()
	if _, err := a.Lead(t.Context(), "duty", "a", 0); err != nil {
		t.Fatal(err)
	}
	conn, _ := pending(t, a)
	if l, err := b.Lead(t.Context(), "duty", "b", time.Minute); err != nil || l.ID != "b" || l.Epoch != 2 {
		t.Fatalf("Lead: %+v, %v", l, err)
	}
	if _, err := conn.ExecContext(t.Context(), "COMMIT"); number(err) != errDeadlock {
		t.Errorf("the COMMIT of the earlier holder: %v", err)
	}
}

// A transaction that a node aborts in favour of another node's leaves nothing,
// wherever in its script that happens.
func (g *galera) aborted(t *testing.T) {
	dir := t.TempDir()
	a, b := g.open(t, dir, store.DefaultLogBounds(), 0), g.open(t, dir, store.DefaultLogBounds(), 1)
	defer func() { _, _ = a.Close(), b.Close() }()
	conn, _ := pending(t, a)
	var w script
	w.add("DO SLEEP(20)") // it ends when the transaction is aborted, and says nothing
	w.add("INSERT INTO polestar_override (instance_id, record) VALUES ('x', '')")
	done := make(chan error, 1)
	go func() {
		_, err := w.run(t.Context(), conn, "COMMIT")
		done <- err
	}()
	eventually(t, func() error {
		var sleeping int
		err := a.db.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User sleep'").Scan(&sleeping)
		if err == nil && sleeping == 0 {
			err = errors.New("the script does not sleep yet")
		}
		return err
	})
	if _, err := b.db.Exec(moveFence); err != nil {
		t.Fatal(err)
	}
	if err := <-done; number(err) != errDeadlock {
		t.Errorf("the script: %v", err)
	}
	var left int
	if err := b.db.QueryRow("SELECT COUNT(*) FROM polestar_override").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows are left: %v", left, err)
	}
}

// The answer of a COMMIT is lost, and so is the node: another one knows.
func (g *galera) lostAnswer(t *testing.T) {
	for _, deliver := range []bool{true, false} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p := &severed{listener: l, to: g.Nodes[0].Addr, deliver: deliver, last: true}
		go p.serve(t)
		dsn := fmt.Sprintf("root@tcp(%s,%s)/%s", l.Addr(), g.Nodes[1].Addr, g.database(t, t.TempDir()))
		s := openDSN(t, dsn, store.DefaultLogBounds())
		p.arm()
		commit, _, err := s.Apply(t.Context(), []naming.Write{register(1)})
		if err != nil || commit.Revision != 1 {
			t.Errorf("delivered=%v: revision %d, %v; want it done once", deliver, commit.Revision, err)
		}
		if at := s.hosts.at.Load().host; at != 1 {
			t.Errorf("delivered=%v: the store is at host %d", deliver, at)
		}
		if commits, err := s.Since(t.Context(), 0, 10); len(commits) != 1 || err != nil {
			t.Errorf("delivered=%v: %d commits, %v", deliver, len(commits), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A node that is cut off from the others answers, but counts as failed; when
// it is back, so are the servers that prefer it.
func (g *galera) cutOff(t *testing.T) {
	s := g.open(t, t.TempDir(), store.DefaultLogBounds(), 0, 1, 2)
	s.end()
	s.prefer(t.Context(), 100*time.Millisecond)
	defer func() { _ = s.Close() }()
	if _, _, err := s.Apply(t.Context(), []naming.Write{register(1)}); err != nil {
		t.Fatal(err)
	}
	g.exec(t, 0, "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
	var done []int
	eventually(t, func() error {
		n := 2 + len(done)
		_, _, err := s.Apply(t.Context(), []naming.Write{register(n)})
		if err == nil {
			done = append(done, n)
		}
		if err == nil && s.hosts.at.Load().host == 0 {
			return errors.New("it is still at the node that is cut off")
		}
		return err
	})
	if idle := s.db.Stats().OpenConnections; idle > 1 {
		t.Errorf("%d connections are open, those of the failed host too", idle)
	}
	g.exec(t, 0, "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'")
	eventually(t, func() error {
		if at := s.hosts.at.Load().host; at != 0 {
			return fmt.Errorf("it is at host %d", at)
		}
		return nil
	})
	if _, _, err := s.Apply(t.Context(), []naming.Write{register(1000)}); err != nil {
		t.Error(err)
	}
	var ids []string
	_, err := s.Load(t.Context(), func(o naming.Object) error {
		if i, ok := o.(*naming.Instance); ok {
			ids = append(ids, i.ID)
		}
		return nil
	}, func(naming.Touched) error { return nil })
	for _, n := range append(done, 1, 1000) {
		if want := storetest.Instance("svc", n).ID; err != nil || !slices.Contains(ids, want) {
			t.Errorf("%s is missing: %v", want, err)
		}
	}
}
