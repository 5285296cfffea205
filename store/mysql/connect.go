package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
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

// prepare sets up the session, and checks that the host takes writes: it is
// not read-only, and not a Galera node that is cut off from the others.
func prepare(ctx context.Context, conn driver.Conn) (galera bool, err error) {
	for name, value := range session {
		err = set(ctx, conn, name, value)
		if other := sessionName[name]; err != nil && other != "" && number(err) != 0 {
			err = set(ctx, conn, other, value)
		}
		if err != nil {
			return false, fmt.Errorf("set %s: %w", name, err)
		}
	}
	readOnly, err := variable(ctx, conn, "VARIABLES", "read_only")
	if err != nil {
		return false, err
	}
	if readOnly != "" && readOnly != "OFF" {
		return false, errors.New("the host is read-only")
	}
	on, err := variable(ctx, conn, "VARIABLES", "wsrep_on")
	if err != nil || on != "ON" {
		return false, err
	}
	ready, err := variable(ctx, conn, "STATUS", "wsrep_ready")
	if err != nil {
		return false, err
	}
	if ready != "ON" {
		return false, errors.New("the host is cut off from its Galera cluster")
	}
	// What was committed on any node before a reading or a transaction begins is
	// seen by it.
	return true, set(ctx, conn, "wsrep_sync_wait", "1")
}

func set(ctx context.Context, conn driver.Conn, name, value string) error {
	_, err := conn.(driver.ExecerContext).ExecContext(ctx, "SET SESSION "+name+" = "+value, nil)
	return err
}

// variable reads one of the server's VARIABLES or STATUS; empty: it has none
// of this name.
func variable(ctx context.Context, conn driver.Conn, of, name string) (string, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "SHOW GLOBAL "+of+" LIKE '"+name+"'", nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	row := make([]driver.Value, 2)
	if err := rows.Next(row); errors.Is(err, io.EOF) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s", row[1]), nil
}
