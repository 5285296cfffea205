package mysql

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
)

// reading gathers queries whose answers come in one round trip.
type reading struct {
	queries []query
	after   []func()
}

type query struct {
	text string
	args []any
	row  func(*sql.Rows) error // nil: it answers no rows
}

// add appends a query; row reads one row of its answer. A statement without
// rows has none.
func (r *reading) add(text string, row func(*sql.Rows) error, args ...any) {
	r.queries = append(r.queries, query{text, args, row})
}

// each appends a query for keys; ?? in it is the place of their list.
func (r *reading) each(text string, keys []string, row func(*sql.Rows) error) {
	args := make([]any, len(keys))
	for n, k := range keys {
		args[n] = k
	}
	r.add(strings.Replace(text, "??", marks(len(keys)), 1), row, args...)
}

// then appends what is done when all is read.
func (r *reading) then(f func()) { r.after = append(r.after, f) }

// querier is a connection, or a pool of them.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// run sends the queries as one request and reads all answers.
func (r *reading) run(ctx context.Context, on querier) error {
	size := len(r.queries)
	if apart(on) {
		size = 1
	}
	for group := range slices.Chunk(r.queries, max(size, 1)) {
		if err := ask(ctx, on, group); err != nil {
			return err
		}
	}
	for _, f := range r.after {
		f()
	}
	return nil
}

// apart reports whether every statement needs a request of its own. When a
// Galera node aborts a transaction in favour of another node's, MariaDB tells
// that to the next request; the further statements of the same request run
// outside of any transaction and stay (seen with 10.11.19).
func apart(on querier) bool {
	conn, ok := on.(*sql.Conn)
	if !ok {
		return false
	}
	to, err := target(conn)
	return err == nil && to.galera
}

// ask sends queries as one request.
func ask(ctx context.Context, on querier, queries []query) (err error) {
	texts := make([]string, len(queries))
	var args []any
	for n, q := range queries {
		texts[n], args = q.text, append(args, q.args...)
	}
	rows, err := on.QueryContext(ctx, strings.Join(texts, "; "), args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for _, q := range queries {
		if q.row == nil {
			continue
		}
		for columns := 0; columns == 0; { // statements without rows have no columns
			names, bad := rows.Columns()
			if bad != nil {
				return bad
			}
			if columns = len(names); columns == 0 && !rows.NextResultSet() {
				return errors.Join(rows.Err(), errors.New("an answer is missing"))
			}
		}
		for rows.Next() {
			if err := q.row(rows); err != nil {
				return err
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		rows.NextResultSet() // false after the last; an error is in Err
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}
