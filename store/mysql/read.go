package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"polestar/naming"
	"polestar/store/codec"
)

// page is how many rows of one table are read at a time when everything is.
const page = 5000

// Load implements store.Loader: all tables as of one moment.
func (s *Store) Load(ctx context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (head naming.Revision, err error) {
	err = s.scan(ctx, func(at naming.Revision) error {
		head = at
		return nil
	}, visit, touched, func(conn *sql.Conn) error {
		// The same connection: had the database crashed meanwhile, it were gone.
		abandon(ctx, conn)
		_, unsure := s.sync(ctx, conn)
		return unsure
	})
	return head, err
}

// Scan implements store.Scanner.
func (s *Store) Scan(ctx context.Context, at func(naming.Revision) error, visit func(naming.Object) error) error {
	return s.scan(ctx, at, visit, func(naming.Touched) error { return nil }, func(*sql.Conn) error { return nil })
}

// maxSilence is how long nothing may be read in a reading of everything. A host
// that is frozen must not hold it for ever: a follower applies nothing meanwhile.
const maxSilence = 30 * time.Second

// errSilent is no end of the caller's time, but says as much of the host.
var errSilent = fmt.Errorf("the database fell silent: %w", context.DeadlineExceeded)

func (s *Store) scan(
	ctx context.Context, at func(naming.Revision) error, visit func(naming.Object) error, touched func(naming.Touched) error, done func(*sql.Conn) error,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(s.silence, func() { cancel(errSilent) })
	defer silent.Stop()
	heard := func(o naming.Object) error {
		err := visit(o)
		silent.Reset(s.silence)
		return err
	}
	err := s.snapshot(ctx, func(conn *sql.Conn) error {
		var head naming.Revision
		var r reading
		r.add("SELECT revision FROM polestar_head WHERE id = 1", func(rows *sql.Rows) error { return rows.Scan(&head) })
		if err := r.run(ctx, conn); err != nil {
			return err
		}
		if err := at(head); err != nil {
			return err
		}
		l := loading{ctx: ctx, conn: conn, in: codec.Interner{}, visit: heard, touched: touched}
		if err := l.all(); err != nil {
			return err
		}
		return done(conn)
	})
	return named(err)
}

// snapshot calls f with a connection whose reads are all as of one moment.
func (s *Store) snapshot(ctx context.Context, f func(*sql.Conn) error) error {
	return s.on(ctx, func(conn *sql.Conn) error {
		defer abandon(ctx, conn)
		_, err := conn.ExecContext(ctx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT")
		if err == nil {
			err = f(conn)
		}
		if cause := context.Cause(ctx); err != nil && errors.Is(cause, errSilent) {
			return cause
		}
		return err
	})
}

// loading visits everything.
type loading struct {
	ctx     context.Context //nolint:containedctx // it lives as long as one call
	conn    *sql.Conn
	in      codec.Interner
	visit   func(naming.Object) error
	touched func(naming.Touched) error
}

func (l *loading) all() error {
	for _, part := range []func() error{l.namespaces, l.services, l.instances, l.clients, l.rest} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

func (l *loading) namespaces() error {
	var r reading
	r.add(selectNamespace, func(rows *sql.Rows) error {
		n, err := scanNamespace(rows, l.in)
		if err != nil {
			return err
		}
		return l.visit(n)
	})
	return r.run(l.ctx, l.conn)
}

// pages visits the rows of a table in the order of their ids, page by page: a
// million with their details do not fit into one answer. Both queries end in
// a condition that an id follows; rows returns the id of what it read.
func (l *loading) pages(id, query, details string, row func(*sql.Rows) (string, error), detail func(*sql.Rows) error, done func() error) error {
	for after, n := "", page; n == page; {
		first := ""
		n = 0
		var r reading
		r.add(query+" AND "+id+" > ? ORDER BY "+id+" LIMIT ?", func(rows *sql.Rows) (err error) {
			after, err = row(rows)
			if n++; n == 1 {
				first = after
			}
			return err
		}, after, page)
		if err := r.run(l.ctx, l.conn); err != nil || n == 0 {
			return err
		}
		var more reading
		more.add(details, detail, first, after)
		if err := more.run(l.ctx, l.conn); err != nil {
			return err
		}
		if err := done(); err != nil {
			return err
		}
	}
	return nil
}

func (l *loading) services() error {
	var all []*naming.Service
	var marks []naming.Revision
	byID := map[string]*naming.Service{}
	return l.pages("s.id", selectService, "SELECT id, mkey, mvalue FROM service_metadata WHERE id BETWEEN ? AND ?",
		func(rows *sql.Rows) (string, error) {
			s, touched, err := scanService(rows, l.in)
			if err != nil {
				return "", err
			}
			all, marks, byID[s.ID] = append(all, s), append(marks, touched), s
			return s.ID, nil
		},
		func(rows *sql.Rows) error {
			id, p, err := scanPair(rows, l.in)
			if s := byID[id]; s != nil {
				s.Metadata = append(s.Metadata, p)
			}
			return err
		},
		func() error {
			for n, s := range all {
				s.Metadata = sortPairs(s.Metadata)
				if err := l.visit(s); err != nil {
					return err
				}
				if err := l.touched(naming.Touched{Service: s.Key, Revision: marks[n]}); err != nil {
					return err
				}
			}
			all, marks = nil, nil
			clear(byID)
			return nil
		})
}

func (l *loading) instances() error {
	var all []*naming.Instance
	byID := map[string]*naming.Instance{}
	return l.pages("i.id", selectInstance, "SELECT id, mkey, mvalue FROM instance_metadata WHERE id BETWEEN ? AND ?",
		func(rows *sql.Rows) (string, error) {
			i, _, err := scanInstance(rows, l.in)
			if err != nil {
				return "", err
			}
			all, byID[i.ID] = append(all, i), i
			return i.ID, nil
		},
		func(rows *sql.Rows) error {
			id, p, err := scanPair(rows, l.in)
			if i := byID[id]; i != nil {
				i.Metadata = append(i.Metadata, p)
			}
			return err
		},
		func() error {
			for _, i := range all {
				i.Metadata = sortPairs(i.Metadata)
				if err := l.visit(i); err != nil {
					return err
				}
			}
			all = nil
			clear(byID)
			return nil
		})
}

func (l *loading) clients() error {
	var all []*naming.Client
	byID := map[string]*naming.Client{}
	return l.pages("id", selectClient, selectStat+" WHERE client_id BETWEEN ? AND ? ORDER BY client_id, polestar_place",
		func(rows *sql.Rows) (string, error) {
			c, err := scanClient(rows, l.in)
			if err != nil {
				return "", err
			}
			all, byID[c.ID] = append(all, c), c
			return c.ID, nil
		},
		func(rows *sql.Rows) error {
			id, s, err := scanStat(rows, l.in)
			if c := byID[id]; c != nil {
				c.Stats = append(c.Stats, s)
			}
			return err
		},
		func() error {
			for _, c := range all {
				if err := l.visit(c); err != nil {
					return err
				}
			}
			all = nil
			clear(byID)
			return nil
		})
}

// rest visits what comes in small numbers.
func (l *loading) rest() error {
	var r reading
	r.add(selectContract, func(rows *sql.Rows) error {
		c, err := scanContract(rows, l.in)
		if err != nil {
			return err
		}
		return l.visit(c)
	})
	r.add(selectOverride, func(rows *sql.Rows) error {
		o, err := scanOverride(rows)
		if err != nil {
			return err
		}
		return l.visit(o)
	})
	r.add(selectAccess+" ORDER BY kind, id", func(rows *sql.Rows) error {
		o, err := scanAccess(rows)
		if err != nil {
			return err
		}
		return l.visit(o)
	})
	return r.run(l.ctx, l.conn)
}

// checks are queries each of whose rows is a problem; the one column says it.
var checks = []string{
	`SELECT CONCAT('instance "', i.id, '" belongs to service id "', i.service_id, '", which does not exist')
	FROM instance i LEFT JOIN service s ON s.id = i.service_id AND s.flag = 0 WHERE i.flag = 0 AND s.id IS NULL`,
	`SELECT CONCAT('service "', s.namespace, '/', s.name, '" is an alias for service id "', s.reference, '", which does not exist')
	FROM service s LEFT JOIN service r ON r.id = s.reference AND r.flag = 0 WHERE s.flag = 0 AND s.reference IS NOT NULL AND r.id IS NULL`,
	`SELECT CONCAT('service "', s.namespace, '/', s.name, '" is in a namespace that does not exist')
	FROM service s LEFT JOIN namespace n ON n.name = s.namespace AND n.flag = 0 WHERE s.flag = 0 AND n.name IS NULL`,
	`SELECT CONCAT('instance "', i.id, '" has revision ', i.polestar_revision, ', its service is marked as touched at ', s.polestar_touched)
	FROM instance i JOIN service s ON s.id = i.service_id WHERE i.flag = 0 AND i.polestar_revision > s.polestar_touched`,
	`SELECT CONCAT('service "', s.namespace, '/', s.name, '" was touched at revision ', s.polestar_touched, ', the newest is ', h.revision)
	FROM service s, polestar_head h WHERE h.id = 1 AND s.polestar_touched > h.revision`,
	`SELECT CONCAT('change log: ', COUNT(*), ' records from ', MIN(revision), ' to ', MAX(revision)) FROM polestar_log
	HAVING COUNT(*) > 0 AND COUNT(*) <> MAX(revision) - MIN(revision) + 1`,
	`SELECT CONCAT('change log ends at revision ', COALESCE(MAX(l.revision), h.log_from), ', the newest is ', h.revision)
	FROM polestar_head h LEFT JOIN polestar_log l ON TRUE WHERE h.id = 1 GROUP BY h.revision, h.log_from
	HAVING COALESCE(MAX(l.revision), h.log_from) <> h.revision`,
}

// Check implements store.Store: every record can be read, and what refers to
// each other agrees.
func (s *Store) Check(ctx context.Context, report func(problem string)) error {
	err := s.snapshot(ctx, func(conn *sql.Conn) error {
		var access naming.AccessCheck
		l := loading{
			ctx: ctx, conn: conn, in: codec.Interner{}, touched: func(naming.Touched) error { return nil },
			visit: func(o naming.Object) error {
				access.Add(o)
				return nil
			},
		}
		if err := l.all(); err != nil {
			if lost(err) || ctx.Err() != nil {
				return err
			}
			report("a table cannot be read: " + err.Error())
		} else {
			for _, p := range access.Problems() {
				report(p)
			}
		}
		for _, query := range checks {
			var r reading
			r.add(query, func(rows *sql.Rows) error {
				var text string
				err := rows.Scan(&text)
				report(text)
				return err
			})
			if err := r.run(ctx, conn); err != nil {
				return err
			}
		}
		return s.checkLog(ctx, conn, report)
	})
	return named(err)
}
