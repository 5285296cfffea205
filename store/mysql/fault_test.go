package mysql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"polestar/naming"
	"polestar/store"
	"polestar/store/storetest"
)

func register(n int) *naming.Register {
	return &naming.Register{Instance: storetest.Instance("svc", n), AutoCreate: true}
}

// Several servers on one database: every write is decided on the newest state,
// revisions are gap-free, and each server's log reading sees all of them.
func TestWritersOfSeveralServers(t *testing.T) {
	dir := t.TempDir()
	const servers, each = 3, 20
	var stores []*Store
	for range servers {
		stores = append(stores, openAt(t, dir, store.DefaultLogBounds()))
	}
	var mu sync.Mutex
	created := 0
	var wg sync.WaitGroup
	for _, s := range stores {
		wg.Go(func() {
			defer func() { _ = s.Close() }()
			for n := range each { // all of them write the same instances
				_, rs, err := s.Apply(t.Context(), []naming.Write{register(n)})
				if err != nil {
					t.Errorf("Apply: %v", err)
					return
				}
				mu.Lock()
				if rs[0].Outcome == naming.Created {
					created++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	s := openAt(t, dir, store.DefaultLogBounds())
	defer func() { _ = s.Close() }()
	if created != each {
		t.Errorf("%d instances were created, want each of %d by one server only", created, each)
	}
	commits, err := s.Since(t.Context(), 0, 1000)
	if err != nil || len(commits) != each {
		t.Fatalf("%d commits, %v; want %d: the same content again is none", len(commits), err, each)
	}
}

// A database that accepts connections and answers nothing must not hold its
// callers, and must not be taken for one that did what was asked.
func TestFrozenDatabase(t *testing.T) {
	s := openAt(t, t.TempDir(), store.DefaultLogBounds())
	defer func() { _ = s.Close() }()
	s.cfg.Timeout = 300 * time.Millisecond
	if _, _, err := s.Apply(t.Context(), []naming.Write{register(1)}); err != nil {
		t.Fatal(err)
	}
	if err := server.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Apply(t.Context(), []naming.Write{register(2)})
	_, readErr := s.Since(t.Context(), 0, 10)
	if thaw := server.Thaw(); thaw != nil {
		t.Fatal(thaw)
	}
	if kind := naming.KindOf(err); kind != naming.StoreFailed && kind != naming.OutcomeUnknown {
		t.Errorf("a write: %v", err)
	}
	if naming.KindOf(readErr) != naming.StoreFailed {
		t.Errorf("a reading: %v", readErr)
	}
	s.cfg.Timeout = 10 * time.Second
	if _, _, err := s.Apply(t.Context(), []naming.Write{register(3)}); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

// A database that freezes in the middle of a reading of everything does not hold
// it for ever, and counts as failed.
func TestFrozenInAReadingOfEverything(t *testing.T) {
	s := openAt(t, t.TempDir(), store.DefaultLogBounds())
	defer func() { _ = s.Close() }()
	if _, _, err := s.Apply(t.Context(), []naming.Write{register(1)}); err != nil {
		t.Fatal(err)
	}
	s.silence = 300 * time.Millisecond
	was := s.hosts.at.Load()
	frozen := false
	_, err := s.Load(t.Context(), func(naming.Object) error {
		if frozen {
			return nil
		}
		frozen = true
		return server.Freeze(t.Context())
	}, func(naming.Touched) error { return nil })
	if thaw := server.Thaw(); thaw != nil {
		t.Fatal(thaw)
	}
	if naming.KindOf(err) != naming.StoreFailed || s.hosts.at.Load() == was {
		t.Errorf("the reading: %v; the connections are given up: %v", err, s.hosts.at.Load() != was)
	}
}

// severed is a proxy that cuts a connection when the client sends a COMMIT:
// before or after the database got it.
type severed struct {
	listener net.Listener
	to       string // address of the database
	deliver  bool   // the COMMIT, but not its answer
	last     bool   // nobody can connect any more after that
	mu       sync.Mutex
	armed    bool
}

func (p *severed) serve(t *testing.T) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", p.to)
		if err != nil {
			t.Error(err)
			return
		}
		go copyAll(client, up, nil)
		go copyAll(up, client, p)
	}
}

func (p *severed) arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = true
}

// copyAll copies until an end closes; p decides about what clients send.
func copyAll(to, from net.Conn, p *severed) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 1<<20)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if p != nil && strings.Contains(string(buf[:n]), "COMMIT") && p.take() {
			if !p.deliver {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
			_ = from.Close() // the answer is lost
			_, _ = to.Read(buf)
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *severed) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	armed := p.armed
	p.armed = false
	if armed && p.last {
		_ = p.listener.Close()
	}
	return armed
}

// When the answer of a COMMIT is lost, the log says whether it was made.
func TestLostAnswerOfACommit(t *testing.T) {
	for _, deliver := range []bool{true, false} {
		t.Run(fmt.Sprint("delivered=", deliver), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			p := &severed{listener: l, to: server.Addr, deliver: deliver}
			go p.serve(t)
			cfg := Default()
			cfg.DSN = fmt.Sprintf("root@tcp(%s)/%s", l.Addr(), databaseFor(t, t.TempDir()))
			s, err := Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			p.arm()
			commit, _, err := s.Apply(t.Context(), []naming.Write{register(1)})
			if err != nil || commit.Revision != 1 {
				t.Fatalf("revision %d, %v; want it done once, as if nothing had happened", commit.Revision, err)
			}
			if head, err := s.Head(t.Context()); head != 1 || err != nil {
				t.Errorf("head %d, %v", head, err)
			}
		})
	}
}

// A purge and a restoration whose COMMIT was not answered do not claim that
// nothing was done, and one that was refused does.
func TestLostAnswersOfOtherTransactions(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	p := &severed{listener: l, to: server.Addr, deliver: true}
	go p.serve(t)
	s := openDSN(t, fmt.Sprintf("root@tcp(%s)/%s", l.Addr(), databaseFor(t, t.TempDir())), store.DefaultLogBounds())
	defer func() { _ = s.Close() }()
	restore := func() error {
		return s.Restore(t.Context(), func(context.Context, func(naming.Object) error, func(naming.Touched) error) (naming.Revision, error) {
			return 7, nil
		})
	}
	if _, err := s.db.Exec(`CREATE TRIGGER refuse BEFORE UPDATE ON polestar_head FOR EACH ROW
SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213`); err != nil {
		t.Fatal(err)
	}
	if err := restore(); naming.KindOf(err) != naming.StoreFailed {
		t.Errorf("a restoration that was refused: %v", err)
	}
	if _, err := s.db.Exec("DROP TRIGGER refuse"); err != nil {
		t.Fatal(err)
	}
	p.arm()
	if err := restore(); naming.KindOf(err) != naming.OutcomeUnknown {
		t.Errorf("a restoration: %v", err)
	}
	eventually(t, func() error { // the database may still be at it
		head, err := s.Head(t.Context())
		if err == nil && head != 7 {
			err = fmt.Errorf("head %d", head)
		}
		return err
	})
	for _, w := range []naming.Write{register(1), &naming.Deregister{ID: storetest.Instance("svc", 1).ID}} {
		if _, rs, err := s.Apply(t.Context(), []naming.Write{w}); err != nil || rs[0].Err != nil {
			t.Fatal(rs, err)
		}
	}
	p.arm()
	if n, err := s.Purge(t.Context(), naming.Fence{}, 0, 10); n != 0 || naming.KindOf(err) != naming.OutcomeUnknown {
		t.Errorf("a purge: %d rows, %v", n, err)
	}
	eventually(t, func() error {
		n, err := s.Purgeable(t.Context(), 0)
		if err == nil && n != 0 {
			err = fmt.Errorf("%d rows are left", n)
		}
		return err
	})
}

func TestServersMayStartTogether(t *testing.T) {
	name := databaseFor(t, t.TempDir())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			cfg := Default()
			cfg.DSN = server.DSN(name)
			s, err := Open(t.Context(), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			_ = s.Close()
		})
	}
	wg.Wait()
}

func TestSchemaOfANewerProgramIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, store.DefaultLogBounds())
	_, err := s.db.Exec("INSERT INTO polestar_schema (version_id, is_applied) VALUES (9999, 1)")
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	cfg := Default()
	cfg.DSN = server.DSN(databaseFor(t, dir))
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("opened, or refused without a reason: %v", err)
	}
}

// No error of a wrong configuration repeats the password.
func TestConfig(t *testing.T) {
	for dsn, want := range map[string]string{
		"":                                      "must not be empty",
		"root:secret@tcp(127.0.0.1:3306)":       "is not user",
		"root:secret@tcp(127.0.0.1:3306)/":      "no database",
		"root:secret@tcp(127.0.0.1)/db":         "", // the driver adds the port
		"root:secret@tcp(h:1,a:b:c)/db":         "is not host:port",
		"root:se(c)ret/)@tcp(h:1, i:2)/db":      "",
		"root:secret@tcp(h:1)/db?time_zone=UTC": "session variables",
		"root:secret@tcp(h:1)/db?x=%zz":         "is not user",
	} {
		cfg := Default()
		cfg.DSN = dsn
		err := cfg.Validate()
		switch {
		case want == "":
			if err != nil {
				t.Errorf("%s: %v", dsn, err)
			}
		case err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: error %v, want %q", dsn, err, want)
		}
	}
	cfg := Default()
	cfg.DSN, cfg.Password = fmt.Sprintf("nobody@tcp(%s)/db", server.Addr), "s3cret"
	if _, err := Open(context.Background(), cfg); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a wrong password: %v", err)
	}
}

func BenchmarkApply(b *testing.B) {
	for _, group := range []int{1, 32, 128} {
		b.Run(fmt.Sprint("group=", group), func(b *testing.B) {
			s := openAt(b, b.TempDir(), store.DefaultLogBounds())
			defer func() { _ = s.Close() }()
			n := 0
			for b.Loop() {
				writes := make([]naming.Write, group)
				for k := range writes {
					writes[k] = register(n)
					n++
				}
				if _, _, err := s.Apply(context.Background(), writes); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}
