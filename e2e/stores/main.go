// Command stores compares the embedded store with a MariaDB on this machine:
// registrations by 1, 64 and 512 callers, the two servers in turn, and what one
// round trip, one sync and one group cost. It starts everything on loopback, in
// temporary directories, and ends what it started.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	_ "github.com/go-sql-driver/mysql" // for what is asked of the database itself

	"polestar/e2e/harness"
	"polestar/internal/testenv"
)

func main() {
	repeat := flag.Int("repeat", 5, "runs of each store and number of callers")
	duration := flag.Duration("duration", 2*time.Second, "length of one run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := compare(ctx, *repeat, *duration)
	harness.Cleanup()
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to be stopped
	}
}

// bench is what `polestar bench register -o json` says of one run.
type bench struct {
	PerSecond float64 `json:"registrations_per_second"`
	Errors    int     `json:"errors"`
	LastError string  `json:"last_error"`
	Latency   struct {
		P50 float64 `json:"p50_ms"`
		P99 float64 `json:"p99_ms"`
	} `json:"latency"`

	group float64 // registrations in one group
}

func compare(ctx context.Context, repeat int, duration time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "polestar-stores-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db, err := testenv.StartMariaDB(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Stop()) }()
	conn, err := sql.Open("mysql", db.DSN("mysql"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err = conn.ExecContext(ctx, "CREATE DATABASE polestar"); err != nil {
		return err
	}
	bolt, mysql := harness.NewServer(filepath.Join(dir, "bolt")), harness.NewServer(filepath.Join(dir, "mysql"))
	mysql.Args = []string{"--store", "mysql", "--mysql-dsn", db.DSN("polestar")}
	for _, s := range []*harness.Server{bolt, mysql} {
		if err = s.Start(); err != nil {
			return err
		}
		defer s.End()
	}
	if err = costs(ctx, conn, dir); err != nil {
		return err
	}
	if err = table(ctx, bolt, mysql, repeat, duration); err != nil {
		return err
	}
	return roundTrips(ctx, conn, db, filepath.Join(dir, "counted"), duration)
}

// table runs both servers in turn and prints medians.
func table(ctx context.Context, bolt, mysql *harness.Server, repeat int, duration time.Duration) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "callers\tbolt /s\tMariaDB /s\tMariaDB : bolt\tbolt p50, p99 ms\tMariaDB p50, p99 ms\tin a group of bolt\tof MariaDB")
	for _, callers := range []int{1, 64, 512} {
		var runs [2][]bench
		for range repeat {
			for n, s := range []*harness.Server{bolt, mysql} {
				r, err := register(ctx, s, callers, duration)
				if err != nil {
					return err
				}
				runs[n] = append(runs[n], r)
			}
		}
		of := func(n int, f func(bench) float64) float64 { return median(runs[n], f) }
		rate, group := func(b bench) float64 { return b.PerSecond }, func(b bench) float64 { return b.group }
		p50, p99 := func(b bench) float64 { return b.Latency.P50 }, func(b bench) float64 { return b.Latency.P99 }
		_, _ = fmt.Fprintf(w, "%d\t%.0f\t%.0f\t%.2f\t%.2f, %.2f\t%.2f, %.2f\t%.0f\t%.0f\n", callers, of(0, rate), of(1, rate), of(1, rate)/of(0, rate),
			of(0, p50), of(0, p99), of(1, p50), of(1, p99), of(0, group), of(1, group))
	}
	return w.Flush()
}

func median[T any](of []T, f func(T) float64) float64 {
	var all []float64
	for _, x := range of {
		all = append(all, f(x))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// register is one run.
func register(ctx context.Context, s *harness.Server, callers int, duration time.Duration) (b bench, err error) {
	if ctx.Err() != nil {
		return b, context.Cause(ctx)
	}
	sum, groups, err := groupsOf(s)
	if err != nil {
		return b, err
	}
	out, err := harness.Run("bench", "register", "--polaris-addr", s.Polaris, "--callers", strconv.Itoa(callers),
		"--duration", duration.String(), "--repeat", "1", "-o", "json")
	if err != nil {
		return b, fmt.Errorf("%w: %s", err, out)
	}
	var runs []bench
	if err = json.Unmarshal(out, &runs); err != nil || len(runs) != 1 {
		return b, fmt.Errorf("%w: %s", err, out)
	}
	if b = runs[0]; b.Errors > 0 {
		return b, fmt.Errorf("%d registrations failed: %s", b.Errors, b.LastError)
	}
	newSum, newGroups, err := groupsOf(s)
	b.group = (newSum - sum) / max(newGroups-groups, 1)
	return b, err
}

// groupsOf counts the registrations that a server committed, and their groups.

func groupsOf(s *harness.Server) (sum, groups float64, err error) {
	if sum, err = s.Metric(`polestar_batch_group_size_sum{kind="register"}`); err == nil {
		groups, err = s.Metric(`polestar_batch_group_size_count{kind="register"}`)
	}
	return sum, groups, err
}

func head(ctx context.Context, conn *sql.DB) (revision int, err error) {
	err = conn.QueryRowContext(ctx, "SELECT revision FROM polestar.polestar_head").Scan(&revision)
	return revision, err
}

// costs prints what the parts of a commit cost when nothing else goes on.
func costs(ctx context.Context, pool *sql.DB, dir string) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err = conn.ExecContext(ctx, "CREATE TABLE polestar.bench_commit (id INT PRIMARY KEY, n INT) ENGINE = InnoDB"); err != nil {
		return err
	}
	if _, err = conn.ExecContext(ctx, "INSERT INTO polestar.bench_commit VALUES (1, 0)"); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	page := make([]byte, 4096)
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"one round trip to MariaDB (SELECT 1)", func() error { _, err := conn.ExecContext(ctx, "SELECT 1"); return err }},
		{"one commit of MariaDB (an UPDATE of one row, synced)", func() error {
			_, err := conn.ExecContext(ctx, "UPDATE polestar.bench_commit SET n = n + 1")
			return err
		}},
		{"one sync of a 4 KiB page (a commit of bolt has two)", func() error {
			_, err := file.WriteAt(page, 0)
			return errors.Join(err, file.Sync())
		}},
	} {
		var took []time.Duration
		for range 300 {
			began := time.Now()
			if err := c.do(); err != nil {
				return err
			}
			took = append(took, time.Since(began))
		}
		fmt.Printf("%-62s %.3f ms\n", c.what, median(took, func(d time.Duration) float64 { return float64(d) / 1e6 }))
	}
	_, err = conn.ExecContext(ctx, "DROP TABLE polestar.bench_commit")
	return err
}

// roundTrips counts the requests of one more server, which reaches the database
// through a counter.
func roundTrips(ctx context.Context, conn *sql.DB, db *testenv.MariaDB, dir string, duration time.Duration) (err error) {
	c, err := newCounter(db.Addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	s := harness.NewServer(dir)
	s.Args = []string{"--store", "mysql", "--mysql-dsn", fmt.Sprintf("root@tcp(%s)/polestar", c.listener.Addr())}
	if err = s.Start(); err != nil {
		return err
	}
	defer s.End()
	before, err := head(ctx, conn)
	if err != nil {
		return err
	}
	requests := c.requests.Load()
	if _, err = register(ctx, s, 64, duration); err != nil {
		return err
	}
	requests = c.requests.Load() - requests
	after, err := head(ctx, conn)
	if err != nil {
		return err
	}
	fmt.Printf("%-62s %.2f\n", "requests to MariaDB for each group, all others included", float64(requests)/float64(max(after-before, 1)))
	return nil
}
