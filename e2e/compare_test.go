package e2e

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/e2e/harness"
)

// A row that is changed behind the servers' backs is found, counted, named and
// shown as it is stored, on each server.
func TestClusterFindsWhatDiffers(t *testing.T) {
	db := startMariaDB(t)
	var servers []*harness.Server
	for range 2 {
		s := clusterNode(t, db, "--cluster.compare", "1s")
		s.StartFor(t)
		servers = append(servers, s)
	}
	r := harness.Connect(t, servers[0].Polaris)
	for n := range 5 {
		if err := r.Put(harness.Instance("cart", fmt.Sprintf("10.0.0.%d:80", n+1), harness.Weight(100))); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range servers {
		says(t, s, "all the same")
	}
	conn, err := sql.Open("mysql", db.DSN("polestar"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Exec("UPDATE instance SET weight = 7 WHERE host = '10.0.0.3'"); err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		discovers(t, s, "cart", func(got []*service_manage.Instance) error {
			for _, i := range got {
				if want := map[bool]uint32{true: 7, false: 100}[i.GetHost().GetValue() == "10.0.0.3"]; i.GetWeight().GetValue() != want {
					return fmt.Errorf("%s has weight %d, want %d", i.GetHost().GetValue(), i.GetWeight().GetValue(), want)
				}
			}
			return count(5)(got)
		})
		if err := harness.Poll(20*time.Second, func() error {
			n, err := s.Metric("polestar_follow_differences_total")
			if err == nil && n != 1 {
				err = fmt.Errorf("%v differences are counted", n)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
		says(t, s, "all the same")
		if log := s.Log.Tail(); !strings.Contains(log, "10.0.0.3") || !strings.Contains(log, "weight: 100 here, 7 in the store") {
			t.Errorf("the log does not name what differed:\n%s", log)
		}
	}
}

// says waits until readiness has a text.
func says(t *testing.T, s *harness.Server, want string) {
	t.Helper()
	if err := harness.Poll(20*time.Second, func() error {
		if text := readyz(s); !strings.Contains(text, want) {
			return fmt.Errorf("readyz says %s, want %q", text, want)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
