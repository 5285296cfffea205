package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/e2e/harness"
	"polestar/internal/testenv"
)

// startMariaDB starts a database server that ends with the test.
func startMariaDB(t testing.TB) *testenv.MariaDB {
	t.Helper()
	db, err := testenv.StartMariaDB(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = db.Thaw() // it may still be frozen
		if err := db.Stop(); err != nil {
			t.Error(err)
		}
	})
	conn, err := sql.Open("mysql", db.DSN("mysql"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Exec("CREATE DATABASE polestar"); err != nil {
		t.Fatal(err)
	}
	return db
}

// clusterNode makes a server of a cluster; it starts nothing.
func clusterNode(t testing.TB, db *testenv.MariaDB, args ...string) *harness.Server {
	t.Helper()
	return clusterServer(t, db.DSN("polestar"), args...)
}

// clusterServer makes a server on a database; it starts nothing.
func clusterServer(t testing.TB, dsn string, args ...string) *harness.Server {
	t.Helper()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("the secret of this cluster\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := harness.NewServer(dir)
	s.Args = append([]string{
		"--store", "mysql", "--mysql-dsn", dsn, "--peer-addr", harness.FreeAddr(), "--cluster.secret-file", secret,
	}, args...)
	return s
}

// nodes starts so many servers on one database.
func nodes(t *testing.T, n int) (*testenv.MariaDB, []*harness.Server) {
	t.Helper()
	db := startMariaDB(t)
	var out []*harness.Server
	for range n {
		s := clusterNode(t, db)
		s.StartFor(t)
		out = append(out, s)
	}
	return db, out
}

// discovers waits until a server discovers exactly these hosts as ok says.
func discovers(t *testing.T, s *harness.Server, service string, ok func([]*service_manage.Instance) error) {
	t.Helper()
	r := harness.Connect(t, s.Polaris)
	err := harness.Poll(20*time.Second, func() error {
		got, err := r.Instances(service)
		if err != nil {
			return err
		}
		return ok(got)
	})
	if err != nil {
		t.Error(err)
	}
}

func count(n int) func([]*service_manage.Instance) error {
	return func(got []*service_manage.Instance) error {
		if len(got) != n {
			return fmt.Errorf("%d instances, want %d", len(got), n)
		}
		return nil
	}
}

func weighs(want uint32) func([]*service_manage.Instance) error {
	return func(got []*service_manage.Instance) error {
		if len(got) != 1 || got[0].GetWeight().GetValue() != want {
			return fmt.Errorf("%v, want one of weight %d", got, want)
		}
		return nil
	}
}

func healthy(want bool) func([]*service_manage.Instance) error {
	return func(got []*service_manage.Instance) error {
		if len(got) == 0 {
			return fmt.Errorf("no instance")
		}
		for _, i := range got {
			if i.GetHealthy().GetValue() != want {
				return fmt.Errorf("%s: healthy is %v", i.GetHost().GetValue(), i.GetHealthy().GetValue())
			}
		}
		return nil
	}
}

// Any server takes any write, all show it, to SDKs and to a real Envoy.
func TestClusterIsOne(t *testing.T) {
	_, servers := nodes(t, 2)
	a, b := servers[0], servers[1]
	backend := harness.StartBackend(t, "one")
	envoy := harness.StartEnvoy(t, b, false)
	ra, rb := harness.Connect(t, a.Polaris), harness.Connect(t, b.Polaris)
	if err := ra.Put(harness.Instance("cart", backend.Addr)); err != nil {
		t.Fatal(err)
	}
	discovers(t, b, "cart", count(1))
	if err := harness.Poll(20*time.Second, func() error {
		if got := envoy.Get("cart.default", 1); got.By["one"] != 1 {
			return fmt.Errorf("answers: %v", got)
		}
		return nil
	}); err != nil {
		t.Errorf("Envoy at the other server: %v", err)
	}
	if err := rb.Remove(harness.Instance("cart", backend.Addr)); err != nil {
		t.Fatal(err)
	}
	discovers(t, a, "cart", count(0))
}

// Beats may come to any server; who dies hands its leases on, and nobody who
// beats flips. A beat right after a registration elsewhere is known.
func TestClusterLeases(t *testing.T) {
	_, servers := nodes(t, 3)
	r := harness.Connect(t, servers[0].Polaris)
	beats := harness.Connect(t, servers[1].Polaris)
	for n := range 20 {
		i := harness.Instance("alive", fmt.Sprintf("10.0.0.%d:80", n+1), harness.TTL(1))
		if err := r.Put(i); err != nil {
			t.Fatal(err)
		}
		res, err := beats.Heartbeat(t.Context(), i)
		if err != nil || res.GetCode().GetValue() != 200000 {
			t.Fatalf("the first beat, at another server: %v, %v", res, err)
		}
		beats.Beat(t, i, 300*time.Millisecond)
	}
	silent := harness.Instance("silent", "10.0.1.1:80", harness.TTL(1))
	if err := r.Put(silent); err != nil {
		t.Fatal(err)
	}
	discovers(t, servers[2], "silent", healthy(false))
	watch := stays(t, servers[1], "alive", 20)
	servers[2].Kill()
	if err := beats.Put(harness.Instance("orphan", "10.0.2.1:80", harness.TTL(1))); err != nil {
		t.Fatal(err)
	}
	discovers(t, servers[0], "orphan", healthy(false)) // whoever owned it, somebody expires it
	watch()
}

// stays watches that a service keeps so many instances, all healthy, until the
// returned function is called.
func stays(t *testing.T, s *harness.Server, service string, n int) (stop func()) {
	t.Helper()
	r := harness.Connect(t, s.Polaris)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			got, err := r.Instances(service)
			if err == nil {
				err = count(n)(got)
			}
			if err == nil {
				err = healthy(true)(got)
			}
			if err != nil {
				done <- err
				return
			}
			select {
			case <-ctx.Done():
				done <- nil
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s at %s: %v", service, s.Polaris, err)
		}
	}
}

// A database that is gone or frozen takes no writes and costs no reads; when it
// is back, so is everything.
func TestClusterWithoutDatabase(t *testing.T) {
	db, servers := nodes(t, 1)
	s := servers[0]
	r := harness.Connect(t, s.Polaris)
	i := harness.Instance("cart", "10.0.0.1:80", harness.TTL(1))
	if err := r.Put(i); err != nil {
		t.Fatal(err)
	}
	r.Beat(t, i, 200*time.Millisecond)
	watch := stays(t, s, "cart", 1)
	if err := db.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err := r.Put(harness.Instance("cart", "10.0.0.2:80"))
	if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "code 5") || took > 4*time.Second {
		t.Errorf("a write to a frozen database: %v after %s", err, took)
	}
	if err := harness.Poll(20*time.Second, func() error {
		if text := readyz(s); !strings.Contains(text, "cannot be read since") {
			return fmt.Errorf("readyz says %s", text)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	// An application that starts now reads all the same.
	bin, err := harness.Binary("drivers/polarisgo", ".")
	if err != nil {
		t.Fatal(err)
	}
	sdk := &sdk{Child: harness.StartChild(t, []string{"HOME=" + t.TempDir()}, bin, s.Polaris)}
	if one := sdk.instances(t, "one cart"); len(one) != 1 || one[0].Host != "10.0.0.1" {
		t.Errorf("polaris-go shows %+v", one)
	}
	if err := db.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := harness.Poll(20*time.Second, func() error { return r.Put(harness.Instance("shop", "10.0.0.3:80")) }); err != nil {
		t.Errorf("after it came back: %v", err)
	}
	watch()
}

// A server that starts while the database is away serves what it knew, and
// says so; it goes on by itself when the database is back.
func TestClusterStartsFromItsSnapshot(t *testing.T) {
	db := startMariaDB(t)
	s := clusterNode(t, db)
	s.StartFor(t)
	r := harness.Connect(t, s.Polaris)
	if err := r.Put(harness.Instance("cart", "10.0.0.1:80")); err != nil {
		t.Fatal(err)
	}
	if err := s.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := db.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	discovers(t, s, "cart", count(1))
	if err := harness.Connect(t, s.Polaris).Put(harness.Instance("cart", "10.0.0.2:80")); err == nil || !strings.Contains(err.Error(), "500001") {
		t.Errorf("a write without a database: %v", err)
	}
	if text := readyz(s); !strings.Contains(text, "away since the start") {
		t.Errorf("readyz says %s", text)
	}
	if err := db.Thaw(); err != nil {
		t.Fatal(err)
	}
	again := harness.Connect(t, s.Polaris)
	if err := harness.Poll(20*time.Second, func() error { return again.Put(harness.Instance("cart", "10.0.0.2:80")) }); err != nil {
		t.Errorf("after it came back: %v", err)
	}
	discovers(t, s, "cart", count(2))
}

// readyz is what a server says of itself.
func readyz(s *harness.Server) string {
	res, err := http.Get("http://" + s.HTTP + "/readyz?verbose")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// No password of the database is in any output.
func TestPasswordsAreNotPrinted(t *testing.T) {
	out, err := harness.Run("config", "print", "--store", "mysql", "--mysql-dsn", "root:s3cret@tcp(127.0.0.1:1)/db")
	if err != nil || strings.Contains(string(out), "s3cret") || !strings.Contains(string(out), "root:***@tcp") {
		t.Errorf("%v: %s", err, out)
	}
	s := harness.NewServer(t.TempDir())
	s.Args = []string{"--store", "mysql", "--mysql-dsn", "root:s3cret@tcp(127.0.0.1:1)/db"}
	if err := s.Launch(); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitExit(20 * time.Second); err == nil {
		t.Error("a server without a database and without a snapshot ended with 0")
	}
	if text := s.Log.Tail(); strings.Contains(text, "s3cret") || !strings.Contains(text, "cannot be reached") {
		t.Errorf("log: %s", text)
	}
}

// What several writers at all servers were told is what all servers show at
// the end, whatever happened to them meanwhile.
func TestClusterKeepsWhatItAcknowledged(t *testing.T) {
	_, servers := nodes(t, 3)
	type outcome struct {
		host string
		up   bool
	}
	results := make(chan map[string]bool, len(servers))
	for k := range 2 { // the third is killed; nobody writes through it
		r := harness.Connect(t, servers[k].Polaris)
		go func() {
			last := map[string]bool{}
			for n := range 200 {
				o := outcome{fmt.Sprintf("10.%d.0.%d:80", k, n%20+1), n%3 != 2}
				i := harness.Instance("cart", o.host, harness.Weight(uint32(n%100+1)))
				write := r.Put
				if !o.up {
					write = r.Remove
				}
				if err := write(i); err == nil {
					last[o.host] = o.up
				} else {
					delete(last, o.host) // either way will do
				}
			}
			results <- last
		}()
	}
	servers[2].Kill()
	want := map[string]bool{}
	for range 2 {
		for host, up := range <-results {
			want[host] = up
		}
	}
	if err := servers[2].Start(); err != nil {
		t.Fatal(err)
	}
	var views []string
	for _, s := range servers {
		discovers(t, s, "cart", func(got []*service_manage.Instance) error {
			here := map[string]bool{}
			for _, i := range got {
				here[fmt.Sprintf("%s:%d", i.GetHost().GetValue(), i.GetPort().GetValue())] = true
			}
			for host, up := range want {
				if here[host] != up {
					return fmt.Errorf("%s: shown is %v, acknowledged was %v", host, here[host], up)
				}
			}
			return nil
		})
		got, err := harness.Connect(t, s.Polaris).Instances("cart")
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, i := range got {
			all = append(all, fmt.Sprint(i.GetId().GetValue(), i.GetWeight().GetValue()))
		}
		slices.Sort(all)
		views = append(views, strings.Join(all, " "))
	}
	if views[0] != views[1] || views[1] != views[2] {
		t.Error("the servers do not show the same")
	}
}
