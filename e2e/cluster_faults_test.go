package e2e

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"polestar/e2e/harness"
	"polestar/internal/testenv"
	"polestar/naming"
	"polestar/store/codec"
)

// alive registers instances with a TTL of a second and lets them beat, in turn
// at each of the servers, which show them on return.
func alive(t *testing.T, n int, servers ...*harness.Server) {
	t.Helper()
	var at []*harness.Registrar
	for _, s := range servers {
		at = append(at, harness.Connect(t, s.Polaris))
	}
	for k := range n {
		i := harness.Instance("alive", fmt.Sprintf("10.0.0.%d:80", k+1), harness.TTL(1))
		if err := at[0].Put(i); err != nil {
			t.Fatal(err)
		}
		at[k%len(at)].Beat(t, i, 250*time.Millisecond)
	}
	for _, s := range servers {
		discovers(t, s, "alive", count(n))
	}
}

// few is so many that the mass-loss guard lets them all expire at once.
const few = 3

// silent registers a few instances with a TTL of a second that never beat.
func silent(t *testing.T, s *harness.Server, service string) {
	t.Helper()
	r := harness.Connect(t, s.Polaris)
	for k := range few {
		if err := r.Put(harness.Instance(service, fmt.Sprintf("10.0.1.%d:80", k+1), harness.TTL(1))); err != nil {
			t.Fatal(err)
		}
	}
}

// leases waits until servers watch over so many leases together.
func leases(t *testing.T, n float64, servers ...*harness.Server) {
	t.Helper()
	harness.Wait(t, soon, func() error {
		sum := 0.0
		for _, s := range servers {
			got, err := s.Metric(`polestar_leases{of="instances",state="healthy"}`)
			if err != nil {
				return err
			}
			sum += got
		}
		if sum != n {
			return fmt.Errorf("%v leases have an owner, want %v", sum, n)
		}
		return nil
	})
}

// expired returns how often each instance of a service was taken for dead: the
// change log forgets nothing.
func expired(t *testing.T, db *testenv.MariaDB, service string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, ch := range changeLog(t, db) {
		if i, ok := ch.Object().(*naming.Instance); ok && i.Service.Name == service && ch.Cause == naming.CauseLease {
			out[i.Host]++
		}
	}
	return out
}

func changeLog(t *testing.T, db *testenv.MariaDB) (out []naming.Change) {
	t.Helper()
	conn, err := sql.Open("mysql", db.DSN("polestar"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	rows, err := conn.QueryContext(t.Context(), "SELECT revision, record FROM polestar_log ORDER BY revision")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var rev uint64
		var record []byte
		if err := rows.Scan(&rev, &record); err != nil {
			t.Fatal(err)
		}
		c, err := codec.DecodeCommit(naming.Revision(rev), record)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c.Changes...)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// onlyTheSilent checks who was taken for dead: each of the silent once, and
// nobody who beat.
func onlyTheSilent(t *testing.T, db *testenv.MariaDB, service string) {
	t.Helper()
	if got := expired(t, db, "alive"); len(got) > 0 {
		t.Errorf("taken for dead although they beat: %v", got)
	}
	got := expired(t, db, service)
	for host, times := range got {
		if times != 1 {
			t.Errorf("%s of %s was taken for dead %d times", host, service, times)
		}
	}
	if len(got) != few {
		t.Errorf("of %d silent ones %d were taken for dead", few, len(got))
	}
}

// members waits until a server counts so many.
func members(t *testing.T, s *harness.Server, n float64) {
	t.Helper()
	harness.Wait(t, soon, func() error {
		if got, err := s.Metric("polestar_cluster_members"); err != nil || got != n {
			return fmt.Errorf("%v members, want %v (%w)", got, n, err)
		}
		return nil
	})
}

// A server of a cluster that stood still for ten TTLs has lost its leases to
// the others; it expires nothing and overwrites nothing when it goes on.
func TestClusterPausedServerHarmsNobody(t *testing.T) {
	db, servers := nodes(t, 3)
	a, b, c := servers[0], servers[1], servers[2]
	for _, s := range servers {
		members(t, s, 3)
	}
	alive(t, 30, a, b)
	watches := []func(){stays(t, a, "alive", 30), stays(t, b, "alive", 30)}
	if err := c.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Signal(syscall.SIGCONT) }) // so that it can end
	pause := time.NewTimer(10 * time.Second)            // ten TTLs
	members(t, a, 2)
	leases(t, 30, a, b) // those of the one that stands still are theirs
	silent(t, a, "silent")
	r := harness.Connect(t, b.Polaris)
	if err := r.Put(harness.Instance("cart", "10.0.2.1:80", harness.Weight(7))); err != nil {
		t.Fatal(err)
	}
	discovers(t, a, "silent", healthy(false))
	<-pause.C
	if err := c.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	discovers(t, c, "silent", healthy(false))
	members(t, c, 3)
	watches = append(watches, stays(t, c, "alive", 30))
	silent(t, c, "later") // leases expire again, wherever they are
	discovers(t, a, "later", healthy(false))
	for _, s := range servers {
		discovers(t, s, "cart", weighs(7))
	}
	for _, stop := range watches {
		stop()
	}
	onlyTheSilent(t, db, "silent")
	onlyTheSilent(t, db, "later")
}

// What a server that is killed had acknowledged is at the others, and so are
// its leases; no lease expires that is renewed at them.
func TestClusterKilledServerUnderLoad(t *testing.T) {
	db, servers := nodes(t, 3)
	a, b, c := servers[0], servers[1], servers[2]
	for _, s := range servers {
		members(t, s, 3)
	}
	alive(t, 30, a, b)
	watch := stays(t, a, "alive", 30)
	leases(t, 30, a, b, c)
	var writers sync.WaitGroup
	acked := make([]int, len(servers))
	begun := make(chan struct{}, len(servers))
	enough := make(chan struct{})
	for n, s := range servers {
		r := harness.Connect(t, s.Polaris)
		writers.Go(func() {
			for {
				select {
				case <-enough:
					return
				default:
				}
				if r.Put(harness.Instance("cart", fmt.Sprintf("10.%d.%d.%d:80", n+1, acked[n]/250, acked[n]%250+1))) != nil {
					return
				}
				if acked[n]++; acked[n] == 20 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range servers {
		<-begun
	}
	c.Kill()
	began := time.Now()
	members(t, a, 2)
	t.Logf("the others knew after %s that it is gone", time.Since(began).Round(time.Millisecond))
	leases(t, 30, a, b)
	t.Logf("after %s each lease had an owner again", time.Since(began).Round(time.Millisecond))
	close(enough)
	writers.Wait()
	silent(t, b, "silent")
	discovers(t, a, "silent", healthy(false))
	all, err := harness.Connect(t, b.Polaris).Instances("cart")
	if err != nil {
		t.Fatal(err)
	}
	here := map[string]bool{}
	for _, i := range all {
		here[i.GetHost().GetValue()] = true
	}
	for n, k := range acked {
		for m := range k {
			if host := fmt.Sprintf("10.%d.%d.%d", n+1, m/250, m%250+1); !here[host] {
				t.Errorf("%s was acknowledged and is lost", host)
			}
		}
	}
	watch()
	onlyTheSilent(t, db, "silent")
	t.Logf("acknowledged: %v", acked)
}

// Servers that cannot reach each other lose hints and beats for each other.
// All of them go on to show everything, and condemn nobody for beats that were
// lost on the way.
func TestClusterPartitionBetweenPeers(t *testing.T) {
	for name, cut := range map[string]func(*harness.Link){"refused": (*harness.Link).Cut, "swallowed": (*harness.Link).Hang} {
		t.Run(name, func(t *testing.T) {
			c := startTrial(t)
			var servers []*harness.Server
			for _, n := range c.nodes {
				servers = append(servers, n.Server)
				members(t, n.Server, 3)
			}
			alive(t, 30, servers...)
			watch := stays(t, servers[1], "alive", 30)
			for _, n := range c.nodes {
				cut(n.hints)
			}
			r := harness.Connect(t, servers[0].Polaris)
			var slowest time.Duration
			for k := range 10 {
				if err := r.Put(harness.Instance("cart", fmt.Sprintf("10.0.2.%d:80", k+1))); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				for _, s := range servers[1:] {
					discovers(t, s, "cart", count(k+1))
				}
				slowest = max(slowest, time.Since(began))
			}
			t.Logf("without hints, changes were everywhere after at most %s", slowest.Round(time.Millisecond))
			for _, n := range c.nodes {
				n.hints.Mend()
			}
			silent(t, servers[0], "later")
			discovers(t, servers[1], "later", healthy(false))
			watch()
			onlyTheSilent(t, c.mariadb, "later")
		})
	}
}

// The clock of the database may be ahead, and jump: every registration is seen
// by everybody, and no lease expires for it.
func TestClusterClockOfTheDatabase(t *testing.T) {
	found, err := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	if err != nil || len(found) == 0 {
		t.Fatalf("libfaketime is missing; make install installs it (%v)", err)
	}
	clock := filepath.Join(t.TempDir(), "clock")
	set := func(offset string) {
		t.Helper()
		next := clock + ".next"
		if err := os.WriteFile(next, []byte(offset+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, clock); err != nil {
			t.Fatal(err)
		}
	}
	set("+10s")
	env := map[string]string{
		"LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": clock, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
	}
	for k, v := range env {
		t.Setenv(k, v)
	}
	db := startMariaDB(t)
	for k := range env {
		_ = os.Unsetenv(k) // the servers have the right time
	}
	var servers []*harness.Server
	for range 3 {
		s := clusterNode(t, db)
		s.StartFor(t)
		servers = append(servers, s)
	}
	alive(t, 15, servers...)
	watch := stays(t, servers[2], "alive", 15)
	for n, offset := range []string{"+10s", "+70s", "-50s", "+10s"} {
		set(offset)
		isAhead(t, db, offset)
		for k, s := range servers {
			service := fmt.Sprintf("cart-%d-%d", n, k)
			r := harness.Connect(t, s.Polaris)
			for m := range 10 {
				if err := r.Put(harness.Instance(service, fmt.Sprintf("10.0.2.%d:80", m+1))); err != nil {
					t.Fatal(err)
				}
			}
			for _, other := range servers {
				discovers(t, other, service, count(10))
			}
		}
	}
	silent(t, servers[0], "later")
	discovers(t, servers[1], "later", healthy(false))
	watch()
	onlyTheSilent(t, db, "later")
}

// isAhead checks that the database's clock is where it was put.
func isAhead(t *testing.T, db *testenv.MariaDB, offset string) {
	t.Helper()
	want, err := time.ParseDuration(offset)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := sql.Open("mysql", db.DSN("mysql"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var now float64
	if err := conn.QueryRowContext(t.Context(), "SELECT UNIX_TIMESTAMP(SYSDATE(6))").Scan(&now); err != nil {
		t.Fatal(err)
	}
	if got := time.Duration(now*1e9) - time.Duration(time.Now().UnixNano()); (got - want).Abs() > 5*time.Second {
		t.Errorf("the database's clock is %s ahead, want %s", got, want)
	}
}
