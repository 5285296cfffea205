package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
)

// session is what every connection sets: results must not depend on how the
// server was set up.
var session = map[string]string{
	"time_zone":             "'+00:00'",
	"sql_mode":              "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
	"transaction_isolation": "'READ-COMMITTED'",
	// A server that is stopped in the middle of a transaction must not hold the
	// lock of all others for longer than this.
	"wait_timeout":             "10",
	"innodb_lock_wait_timeout": "3",
}

// sessionName is what MariaDB before 11.1 calls a variable of MySQL.
var sessionName = map[string]string{"transaction_isolation": "tx_isolation"}

// errDSN repeats nothing of what it is about: it holds a password.
var errDSN = errors.New("mysql.dsn: is not user:password@tcp(host:port,…)/database")

// configs turns a data source name into one for each of its hosts. A list of
// hosts, as in user@tcp(a:3306,b:3306)/db, is an order of preference.
func configs(dsn, password string, timeout time.Duration) ([]*mysql.Config, error) {
	before, hosts, after, err := splitHosts(dsn)
	if err != nil {
		return nil, err
	}
	var out []*mysql.Config
	for host := range strings.SplitSeq(hosts, ",") {
		host = strings.TrimSpace(host)
		c, err := mysql.ParseDSN(before + host + after)
		switch {
		case err != nil:
			return nil, errDSN
		case c.DBName == "":
			return nil, errors.New("mysql.dsn: names no database")
		case len(c.Params) > 0:
			return nil, errors.New("mysql.dsn: session variables are set by the server itself")
		}
		if c.Net == "tcp" && strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
			return nil, fmt.Errorf("mysql.dsn: %q is not host:port; an IPv6 address stands in brackets", host)
		}
		if password != "" {
			c.Passwd = password
		}
		c.MultiStatements, c.InterpolateParams, c.ParseTime = true, true, true
		c.Collation, c.Loc = "utf8mb4_bin", time.UTC
		c.RejectReadOnly, c.CheckConnLiveness = true, true
		c.Timeout = timeout
		c.ReadTimeout, c.WriteTimeout = 0, 0 // contexts bound every call
		c.Logger = &mysql.NopLogger{}        // what it would say is in the errors
		out = append(out, c)
	}
	return out, nil
}

// splitHosts finds the list of hosts in the parentheses of a DSN.
func splitHosts(dsn string) (before, hosts, after string, err error) {
	end := strings.LastIndex(dsn, ")/")
	if end < 0 {
		return "", "", "", errDSN
	}
	begin := strings.LastIndexByte(dsn[:end], '(')
	if begin < 0 {
		return "", "", "", errDSN
	}
	return dsn[:begin+1], dsn[begin+1 : end], dsn[end:], nil
}

// connector connects to the first host that works, and stays with it: several
// writing hosts of a Galera cluster only make each other's commits fail.
type connector struct {
	hosts []*mysql.Config
	at    atomic.Int32 // index of the host in use
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return mysql.MySQLDriver{} }

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	var errs []error
	start := c.at.Load()
	for n := range len(c.hosts) {
		at := (int(start) + n) % len(c.hosts)
		conn, err := c.try(ctx, c.hosts[at])
		if err == nil {
			c.at.CompareAndSwap(start, int32(at))
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.hosts[at].Addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// try connects to one host, and refuses one that can only be read or is a
// Galera node cut off from the others.
func (c *connector) try(ctx context.Context, host *mysql.Config) (_ driver.Conn, err error) {
	plain, err := mysql.NewConnector(host)
	if err != nil {
		return nil, err
	}
	if len(c.hosts) > 1 { // a frozen host must leave time for the next
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, host.Timeout)
		defer cancel()
	}
	conn, err := plain.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = conn.Close() // the reason is in err
		}
	}()
	if err = prepare(ctx, conn); err != nil {
		return nil, err
	}
	return conn, nil
}

// prepare sets up the session, and checks that the host takes writes.
func prepare(ctx context.Context, conn driver.Conn) error {
	exec := conn.(driver.ExecerContext)
	for name, value := range session {
		_, err := exec.ExecContext(ctx, "SET SESSION "+name+" = "+value, nil)
		if other := sessionName[name]; err != nil && other != "" && number(err) != 0 {
			_, err = exec.ExecContext(ctx, "SET SESSION "+other+" = "+value, nil)
		}
		if err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "SELECT @@global.read_only", nil)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	value := make([]driver.Value, 1)
	if err := rows.Next(value); err != nil {
		return err
	}
	if fmt.Sprintf("%s", value[0]) == "1" || value[0] == int64(1) {
		return errors.New("the host is read-only")
	}
	return nil
}

// fail moves to the next host after one that failed.
func (c *connector) fail() {
	at := c.at.Load()
	c.at.CompareAndSwap(at, (at+1)%int32(len(c.hosts)))
}
