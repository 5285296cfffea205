package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// leaderOf is who runs the jobs for all, as a server sees it.
type leaderOf struct {
	Server string
	Self   bool
	Epoch  uint64
}

func leads(s *harness.Server) (leaderOf, error) {
	res, err := http.Get("http://" + s.HTTP + "/api/v1/cleanup")
	if err != nil {
		return leaderOf{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return leaderOf{}, err
	}
	var out struct{ Leader leaderOf }
	err = json.Unmarshal(body, &out)
	return out.Leader, err
}

// One server has the duty to clean up for all; when it is frozen another takes
// it over, with the next epoch, and the frozen one accepts that when it goes on.
func TestClusterLeaderIsReplaced(t *testing.T) {
	_, servers := nodes(t, 2)
	var first, second *harness.Server
	var before leaderOf
	wait := func(what string, ok func() error) {
		t.Helper()
		if err := harness.Poll(40*time.Second, ok); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	wait("a leader", func() error {
		for n, s := range servers {
			l, err := leads(s)
			if err != nil {
				return err
			}
			if l.Self {
				first, second, before = s, servers[1-n], l
			}
		}
		if first == nil {
			return fmt.Errorf("nobody leads")
		}
		return nil
	})
	says(t, first, "this server cleans up for all servers since")
	says(t, second, before.Server+" cleans up for all servers since")
	if err := first.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var after leaderOf
	wait("another leader", func() (err error) {
		if after, err = leads(second); err == nil && !after.Self {
			err = fmt.Errorf("it sees %+v", after)
		}
		return err
	})
	if err := first.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wait("the old leader", func() error {
		l, err := leads(first)
		if err == nil && (l.Self || l.Server != after.Server || l.Epoch != before.Epoch+1) {
			err = fmt.Errorf("it sees %+v", l)
		}
		return err
	})
	second.Kill()
	wait("after the new one was killed", func() error {
		l, err := leads(first)
		if err == nil && (!l.Self || l.Epoch != before.Epoch+2) {
			err = fmt.Errorf("it sees %+v", l)
		}
		return err
	})
}

// The rows of what was deleted long ago go, with all that hangs on them;
// nothing else does.
func TestDeletedRowsArePurged(t *testing.T) {
	db, servers := nodes(t, 1)
	s := servers[0]
	r := harness.Connect(t, s.Polaris)
	for n := range 6 {
		i := harness.Instance("cart", fmt.Sprintf("10.0.0.%d:80", n+1), harness.TTL(60))
		if err := r.Put(i); err != nil {
			t.Fatal(err)
		}
		if n < 4 {
			if err := r.Remove(i); err != nil {
				t.Fatal(err)
			}
		}
	}
	conn, err := sql.Open("mysql", db.DSN("polestar"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Exec("UPDATE instance SET mtime = mtime - INTERVAL 8 DAY WHERE host IN ('10.0.0.1', '10.0.0.2', '10.0.0.5')"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ flag, want string }{{"--dry-run", "2 rows"}, {"--run", "2 rows"}, {"--run", "0 rows"}} {
		out, err := harness.Run("cleanup", "--server", s.HTTP, c.flag, "deleted-rows")
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v: %s", c.flag, err, out)
		}
	}
	var left, checks int
	err = conn.QueryRow("SELECT COUNT(*), (SELECT COUNT(*) FROM health_check) FROM instance").Scan(&left, &checks)
	if err != nil || left != 4 || checks != 4 {
		t.Errorf("%d instances and %d health checks are left: %v", left, checks, err)
	}
	discovers(t, s, "cart", count(2))
	if err := r.Put(harness.Instance("cart", "10.0.0.1:80")); err != nil {
		t.Errorf("what was purged comes back: %v", err)
	}
	discovers(t, s, "cart", count(3))
}
