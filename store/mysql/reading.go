package mysql

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// reading gathers queries whose answers come in one round trip.
type reading struct {
	text  []string
	args  []any
	rows  []func(*sql.Rows) error // for each query that answers rows
	after []func()
}

// add appends a query; row reads one row of its answer. A statement without
// rows has none.
func (r *reading) add(query string, row func(*sql.Rows) error, args ...any) {
	r.text = append(r.text, query)
	r.args = append(r.args, args...)
	if row != nil {
		r.rows = append(r.rows, row)
	}
}

// each appends a query for keys; ?? in it is the place of their list.
func (r *reading) each(query string, keys []string, row func(*sql.Rows) error) {
	args := make([]any, len(keys))
	for n, k := range keys {
		args[n] = k
	}
	r.add(strings.Replace(query, "??", marks(len(keys)), 1), row, args...)
}

// then appends what is done when all is read.
func (r *reading) then(f func()) { r.after = append(r.after, f) }

// querier is a connection, or a pool of them.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// run sends the queries as one request and reads all answers.
func (r *reading) run(ctx context.Context, on querier) (err error) {
	if len(r.text) == 0 {
		return nil
	}
	rows, err := on.QueryContext(ctx, strings.Join(r.text, "; "), r.args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for _, row := range r.rows {
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
			if err := row(rows); err != nil {
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
	for _, f := range r.after {
		f()
	}
	return nil
}
