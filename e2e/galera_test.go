package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/e2e/harness"
	"polestar/internal/testenv"
)

// Three servers on three database nodes of which one dies, freezes and comes
// back under load.
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
	sqlOn(t, g.Nodes[0], "mysql", "CREATE DATABASE polestar; CREATE DATABASE apart; CREATE DATABASE probe; CREATE TABLE probe.t (n INT)")
	var servers []*harness.Server
	for range 3 {
		s := clusterServer(t, g.DSN("polestar"))
		s.StartFor(t)
		servers = append(servers, s)
	}
	l := startLoad(t, servers)
	l.more(t)
	for _, step := range []struct {
		name string
		f    func(*testing.T, *testenv.Galera, []*harness.Server, *load)
	}{
		{"a node is killed", killed},
		{"servers that prefer different nodes", apart},
		{"servers return to the node", returned},
		{"a node is frozen", frozen},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.f(t, g, servers, l) }) {
			return
		}
	}
	l.stop()
	l.check(t, g, servers)
}

// killed kills the node that all servers use, and lets it join again.
func killed(t *testing.T, g *testenv.Galera, _ []*harness.Server, l *load) {
	began := time.Now()
	if err := g.Nodes[0].Kill(); err != nil {
		t.Fatal(err)
	}
	accepted := accepts(t, g.Nodes[1])
	l.more(t)
	t.Logf("after kill -9 the database took writes again in %s; the servers' first one was answered after %s", accepted.Sub(began), l.resumed(began).Sub(began))
	if err := g.Nodes[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// accepts waits until a node takes writes, and returns when it did.
func accepts(t *testing.T, n *testenv.GaleraNode) time.Time {
	t.Helper()
	sqlOn(t, n, "probe", "INSERT INTO t VALUES (1)") // it waits while the nodes agree about who is left
	return time.Now()
}

// returned waits until all servers write to the first node again.
func returned(t *testing.T, g *testenv.Galera, servers []*harness.Server, l *load) {
	harness.Wait(t, 60*time.Second, func() error {
		for k, n := range g.Nodes {
			var open int
			if err := rowOn(n, "mysql", "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'polestar'", &open); err != nil {
				return err
			}
			if k == 0 && open < len(servers) || k > 0 && open > 0 {
				return fmt.Errorf("node %d has %d connections of servers", k, open)
			}
		}
		return nil
	})
	l.more(t)
}

// frozen stops the node that all servers use in its tracks.
func frozen(t *testing.T, g *testenv.Galera, servers []*harness.Server, l *load) {
	began := time.Now()
	if err := g.Nodes[0].Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	accepted := accepts(t, g.Nodes[1])
	l.more(t)
	t.Logf("after a freeze the database took writes again in %s; the servers' first one was answered after %s; no answer took more than %s",
		accepted.Sub(began), l.resumed(began).Sub(began), l.worst())
	for _, s := range servers {
		if text := readyz(s); strings.Contains(text, "cannot be read since") {
			t.Errorf("a server that writes says %s", text)
		}
	}
	if err := g.Nodes[0].Thaw(); err != nil {
		t.Fatal(err)
	}
	harness.Wait(t, 30*time.Second, func() error { // it finds out that it was left out, and joins again
		var n int
		return rowOn(g.Nodes[0], "probe", "SELECT COUNT(*) FROM t", &n)
	})
	l.more(t)
}

// apart lets servers that prefer different nodes write the same few instances:
// every write is done, once, and all see the same.
func apart(t *testing.T, g *testenv.Galera, _ []*harness.Server, _ *load) {
	const each = 40
	var servers []*harness.Server
	for k := range 3 {
		s := clusterServer(t, g.DSN("apart", k, (k+1)%3, (k+2)%3))
		s.StartFor(t)
		servers = append(servers, s)
	}
	var writers sync.WaitGroup
	for k, s := range servers {
		r := harness.Connect(t, s.Polaris)
		writers.Go(func() {
			for n := range each {
				i := harness.Instance("few", fmt.Sprintf("10.0.0.%d:80", n%4+1), harness.Weight(uint32(1+k*each+n)))
				if err := r.Put(i); err != nil {
					t.Errorf("server %d, write %d: %v", k, n, err)
				}
			}
		})
	}
	writers.Wait()
	harness.Wait(t, soon, func() error {
		var views []string
		for _, s := range servers {
			view, err := viewOf(s, "few")
			if err != nil {
				return err
			}
			views = append(views, view)
		}
		if views[0] != views[1] || views[1] != views[2] || strings.Count(views[0], "\n") != 4 {
			return fmt.Errorf("the servers show %q", views)
		}
		return nil
	})
	for _, n := range g.Nodes {
		if revisions := gapFree(t, n, "apart"); revisions < 3*each {
			t.Errorf("%d revisions of %d writes", revisions, 3*each)
		}
	}
}

// viewOf is what a server shows of a service, one line for each instance.
func viewOf(s *harness.Server, service string) (string, error) {
	r, err := harness.NewRegistrar(s.Polaris)
	if err != nil {
		return "", err
	}
	defer r.Close()
	got, err := r.Instances(service)
	if err != nil {
		return "", err
	}
	var lines []string
	for _, i := range got {
		lines = append(lines, fmt.Sprintln(i.GetId().GetValue(), i.GetHost().GetValue(), i.GetWeight().GetValue()))
	}
	slices.Sort(lines)
	return strings.Join(lines, ""), nil
}

// gapFree checks the change log of a node, and returns its newest revision.
func gapFree(t *testing.T, n *testenv.GaleraNode, database string) int {
	t.Helper()
	var count, first, last, head int
	err := rowOn(n, database, "SELECT COUNT(*), MIN(revision), MAX(revision), (SELECT revision FROM polestar_head) FROM polestar_log", &count, &first, &last, &head)
	if err != nil || first != 1 || last != count || head != last {
		t.Errorf("the change log has %d revisions from %d to %d, the newest is %d: %v", count, first, last, head, err)
	}
	return head
}

// load registers ever new instances at all servers, and notes what it was told.
type load struct {
	stop func()

	mu                      sync.Mutex // guards everything below
	acked, refused, unknown map[string]bool
	byWriter                map[int]int // acknowledged
	at                      []time.Time // of acknowledgements
	slowest                 time.Duration
}

func startLoad(t *testing.T, servers []*harness.Server) *load {
	t.Helper()
	const perServer = 2
	l := &load{acked: map[string]bool{}, refused: map[string]bool{}, unknown: map[string]bool{}, byWriter: map[int]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for k := range perServer * len(servers) {
		r := harness.Connect(t, servers[k%len(servers)].Polaris)
		writers.Go(func() { l.write(ctx, r, k) })
	}
	l.stop = sync.OnceFunc(func() { cancel(); writers.Wait() })
	t.Cleanup(l.stop)
	return l
}

func (l *load) write(ctx context.Context, r *harness.Registrar, k int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		host := fmt.Sprintf("10.%d.%d.%d", k, n/250, n%250+1)
		began := time.Now()
		err := r.Put(harness.Instance("load", host+":80"))
		l.note(k, host, time.Since(began), err)
	}
}

func (l *load) note(k int, host string, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, took)
	switch {
	case err == nil:
		l.acked[host] = true
		l.byWriter[k]++
		l.at = append(l.at, time.Now())
	case strings.Contains(err.Error(), "nothing was done") || strings.Contains(err.Error(), "code 500008"):
		l.refused[host] = true
	default:
		l.unknown[host] = true
	}
}

// more waits until every writer has been told of ten more writes.
func (l *load) more(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	before := maps.Clone(l.byWriter)
	l.mu.Unlock()
	harness.Wait(t, 60*time.Second, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for k := range 6 {
			if l.byWriter[k] < before[k]+10 {
				return fmt.Errorf("writer %d was told of %d writes, %d of them before", k, l.byWriter[k], before[k])
			}
		}
		return nil
	})
}

// resumed returns when the longest silence after a moment ended.
func (l *load) resumed(after time.Time) (end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, longest := after, time.Duration(0)
	for _, at := range l.at {
		if at.Before(after) {
			continue
		}
		if gap := at.Sub(last); gap > longest {
			longest, end = gap, at
		}
		last = at
	}
	return end
}

func (l *load) worst() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slowest
}

// check compares what the writers were told with what every server and every
// node has.
func (l *load) check(t *testing.T, g *testenv.Galera, servers []*harness.Server) {
	t.Helper()
	t.Logf("%d writes were acknowledged, %d refused, %d have an unknown outcome", len(l.acked), len(l.refused), len(l.unknown))
	if l.slowest > 9*time.Second {
		t.Errorf("an answer took %s", l.slowest)
	}
	for _, s := range servers {
		discovers(t, s, "load", func(got []*service_manage.Instance) error {
			var hosts []string
			for _, i := range got {
				hosts = append(hosts, i.GetHost().GetValue())
			}
			return l.agrees(hosts)
		})
	}
	for k, n := range g.Nodes {
		var hosts string
		err := rowOn(n, "polestar", "SELECT GROUP_CONCAT(host) FROM instance WHERE flag = 0", &hosts)
		if err == nil {
			err = l.agrees(strings.Split(hosts, ","))
		}
		if err != nil {
			t.Errorf("the tables of node %d: %v", k, err)
		}
		gapFree(t, n, "polestar")
	}
}

func (l *load) agrees(hosts []string) error {
	here := map[string]bool{}
	for _, host := range hosts {
		here[host] = true
		if !l.acked[host] && !l.unknown[host] {
			return fmt.Errorf("%s is there; the server said that nothing was done", host)
		}
	}
	for host := range l.acked {
		if !here[host] {
			return fmt.Errorf("%s was acknowledged and is missing", host)
		}
	}
	return nil
}

// sqlOn runs statements on a node.
func sqlOn(t *testing.T, n *testenv.GaleraNode, database, statements string) {
	t.Helper()
	db, err := sql.Open("mysql", n.DSN(database)+"?multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := db.ExecContext(ctx, statements); err != nil {
		t.Fatal(err)
	}
}

// rowOn reads one row of a node, as new as everything that was committed.
func rowOn(n *testenv.GaleraNode, database, query string, into ...any) error {
	db, err := sql.Open("mysql", n.DSN(database)+"?wsrep_sync_wait=1&group_concat_max_len=10000000")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return db.QueryRowContext(ctx, query).Scan(into...)
}
