package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"syscall"
	"testing"
	"time"

	"polestar/e2e/harness"
	"polestar/internal/testenv"
)

// trial is a cluster in which everything can be cut.
type trial struct {
	mariadb *testenv.MariaDB
	sql     *sql.DB
	nodes   []*trialNode
}

type trialNode struct {
	*harness.Server
	database, hints *harness.Link // on the way to the database, and of the others to this node
}

func startTrial(t *testing.T) *trial {
	t.Helper()
	c := &trial{mariadb: startMariaDB(t)}
	var err error
	if c.sql, err = sql.Open("mysql", c.mariadb.DSN("polestar")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.sql.Close() })
	for range 3 {
		n := &trialNode{database: harness.StartLink(t, c.mariadb.Addr)}
		n.Server = clusterNode(t, c.mariadb, "--mysql-dsn", "root@tcp("+n.database.Addr+")/polestar", "--log-level", "warn")
		n.hints = harness.StartLink(t, peerAddr(n.Server))
		n.Args = append(n.Args, "--cluster.advertise", n.hints.Addr)
		n.StartFor(t)
		c.nodes = append(c.nodes, n)
	}
	return c
}

// peerAddr is where a server of clusterNode listens for others.
func peerAddr(s *harness.Server) string {
	for n, a := range s.Args {
		if a == "--peer-addr" {
			return s.Args[n+1]
		}
	}
	return ""
}

// faults are what can befall a round. Each is over when it returns.
var faults = map[string]func(*round, context.Context) error{
	"nothing": func(*round, context.Context) error { return nil },
	// Clients give up after a few milliseconds; see [round.patience].
	"impatience": func(*round, context.Context) error { return nil },
	"kill": func(r *round, ctx context.Context) error {
		n := r.anyNode()
		n.Kill()
		rest(ctx, r.span(50, 600))
		return n.Start()
	},
	"pause": func(r *round, ctx context.Context) error {
		n := r.anyNode()
		if err := n.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		rest(ctx, r.span(100, 1200))
		return n.Signal(syscall.SIGCONT)
	},
	"freeze": func(r *round, ctx context.Context) error {
		if err := r.mariadb.Freeze(ctx); err != nil {
			return err
		}
		rest(ctx, r.span(100, 1200))
		return r.mariadb.Thaw()
	},
	"crash": func(r *round, ctx context.Context) error {
		if err := r.mariadb.Crash(); err != nil {
			return err
		}
		return r.mariadb.Recover(ctx)
	},
	"cut": func(r *round, ctx context.Context) error {
		links := []*harness.Link{r.anyNode().database}
		if r.rng.IntN(2) == 0 { // as if the database were gone
			links = nil
			for _, n := range r.nodes {
				links = append(links, n.database)
			}
		}
		return during(ctx, links, r.span(20, 1000))
	},
	"deaf": func(r *round, ctx context.Context) error {
		links := []*harness.Link{r.anyNode().hints}
		if r.rng.IntN(2) == 0 {
			links = append(links, r.anyNode().hints)
		}
		return during(ctx, links, r.span(300, 1500))
	},
}

func during(ctx context.Context, links []*harness.Link, d time.Duration) error {
	for _, l := range links {
		l.Cut()
	}
	rest(ctx, d)
	for _, l := range links {
		l.Mend()
	}
	return nil
}

func (r *round) anyNode() *trialNode { return r.nodes[r.rng.IntN(len(r.nodes))] }

// span draws a time between two numbers of milliseconds.
func (r *round) span(least, most int) time.Duration {
	return time.Duration(least+r.rng.IntN(most-least)) * time.Millisecond
}

// befall lets the faults of the round happen one after the other.
func (r *round) befall(ctx context.Context) error {
	for _, name := range r.faults {
		rest(ctx, r.span(100, 500))
		if err := faults[name](r, context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// rest waits, and less when ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
