package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
)

// connector connects to the first host that works, and stays with it: several
// writing hosts of a Galera cluster only make each other's commits fail.
type connector struct {
	hosts []*mysql.Config
	moved func(host string) // nil: nobody is told
	at    atomic.Pointer[place]
}

// place is where connections lead from one failure to the next. Those of an
// earlier place are not used again: who stays with a host that failed learns
// it by waiting.
type place struct {
	host int // index
}

func newConnector(hosts []*mysql.Config, moved func(host string)) *connector {
	c := &connector{hosts: hosts, moved: moved}
	c.at.Store(&place{})
	return c
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return mysql.MySQLDriver{} }

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	var errs []error
	start := c.at.Load()
	for n := range len(c.hosts) {
		host := (start.host + n) % len(c.hosts)
		conn, err := c.try(ctx, host, len(c.hosts)-n)
		if err == nil {
			conn.at = c.move(start, host)
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.hosts[host].Addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// try connects to one host, and refuses one that takes no writes. It is the
// first of so many that are left: a frozen host must leave time for the others,
// else its callers never get to them.
func (c *connector) try(ctx context.Context, host, left int) (_ *conn, err error) {
	cfg := c.hosts[host]
	plain, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	if len(c.hosts) > 1 {
		patience := cfg.Timeout
		if end, bounded := ctx.Deadline(); bounded {
			patience = min(patience, time.Until(end)/time.Duration(left))
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	made, err := plain.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = made.Close() // the reason is in err
		}
	}()
	galera, err := prepare(ctx, made)
	if err != nil {
		return nil, err
	}
	return &conn{whole: made.(whole), hosts: c, host: host, galera: galera}, nil
}

// move goes to a host, and returns the place there. When others have gone
// somewhere else meanwhile, they are right.
func (c *connector) move(from *place, host int) *place {
	if from.host == host {
		return from
	}
	to := &place{host: host}
	if c.at.CompareAndSwap(from, to) {
		if c.moved != nil {
			c.moved(c.hosts[host].Addr)
		}
		return to
	}
	if now := c.at.Load(); now.host == host {
		return now
	}
	return to
}

// fail gives up all connections of a place where one failed. The next to
// connect finds out whether the host is still good.
func (c *connector) fail(at *place) {
	c.at.CompareAndSwap(at, &place{host: at.host})
}

// preferAfter is how often a better host than the one in use is looked for.
const preferAfter = 30 * time.Second

// prefer goes back to the first hosts of the list, until ctx ends, so that in
// the end all servers write to the same one.
func (c *connector) prefer(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.better(ctx)
	}
}

// better goes to the first host that is better than the one in use. One that
// lacks what was committed is not: a replica that lags, or a Galera node that
// has not caught up.
func (c *connector) better(ctx context.Context) {
	now := c.at.Load()
	if now.host == 0 {
		return
	}
	least, err := c.head(ctx, now.host)
	if err != nil {
		return // who needs it finds out
	}
	for host := range now.host {
		if head, err := c.head(ctx, host); err == nil && head >= least {
			c.move(now, host)
			return
		}
	}
}

// head asks a host for its newest revision.
func (c *connector) head(ctx context.Context, host int) (head int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.hosts[host].Timeout)
	defer cancel()
	conn, err := c.try(ctx, host, 1)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	rows, err := conn.QueryContext(ctx, "SELECT CAST(revision AS SIGNED) FROM polestar_head WHERE id = 1", nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil {
		return 0, err
	}
	head, known := row[0].(int64)
	if !known {
		return 0, fmt.Errorf("a revision of type %T", row[0])
	}
	return head, nil
}

// whole is all that a connection of the driver can do.
type whole interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// conn is a connection that knows where it leads.
type conn struct {
	whole
	hosts  *connector
	at     *place
	host   int  // index
	galera bool // the host is a node of a Galera cluster
}

// IsValid implements driver.Validator.
func (c *conn) IsValid() bool { return c.hosts.at.Load() == c.at && c.whole.IsValid() }

// ResetSession implements driver.SessionResetter.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.hosts.at.Load() != c.at {
		return driver.ErrBadConn
	}
	return c.whole.ResetSession(ctx)
}

// target is where a connection of the pool leads.
func target(of *sql.Conn) (to *conn, err error) {
	err = of.Raw(func(c any) error {
		to = c.(*conn)
		return nil
	})
	return to, err
}

// on calls f with a connection. When that fails, or its host does, the next
// call gets a new one.
func (s *Store) on(ctx context.Context, f func(*sql.Conn) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // returns it to the pool
	to, err := target(conn)
	if err != nil {
		return err
	}
	if err = f(conn); elsewhere(err) {
		s.hosts.fail(to.at)
	}
	return err
}
