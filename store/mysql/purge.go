package mysql

import (
	"context"
	"database/sql"
	"time"

	"polestar/naming"
)

// purged are the tables whose rows are deleted by flag, with their keys; owned
// rows come first. What hangs on a row goes with it (ON DELETE CASCADE).
var purged = []struct{ table, key string }{
	{"instance", "id"}, {"client", "id"}, {"service", "id"}, {"namespace", "name"},
}

// deletedBefore is true of rows that were deleted longer ago than so many
// microseconds, by the clock of the database.
const deletedBefore = " flag = 1 AND mtime <= NOW(6) - INTERVAL ? MICROSECOND"

// Purgeable implements store.Purger.
func (s *Store) Purgeable(ctx context.Context, age time.Duration) (n int, err error) {
	var r reading
	for _, t := range purged {
		r.add("SELECT COUNT(*) FROM "+t.table+" WHERE"+deletedBefore, func(rows *sql.Rows) error {
			var some int
			err := rows.Scan(&some)
			n += some
			return err
		}, age.Microseconds())
	}
	return n, s.read(ctx, &r)
}

// Purge implements store.Purger. The rows are found without a lock, and removed
// under that of the head, as every transaction of ours begins: so it deadlocks
// with none, and a row that is in use again by then stays.
func (s *Store) Purge(ctx context.Context, by naming.Fence, age time.Duration, limit int) (removed int, err error) {
	keys, err := s.deleted(ctx, age, limit)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	err = s.on(ctx, func(conn *sql.Conn) (err error) {
		removed, err = purge(ctx, conn, by, keys, age)
		return err
	})
	if err != nil {
		return 0, named(err)
	}
	return removed, nil
}

// purge makes the transaction that removes rows.
func purge(ctx context.Context, conn *sql.Conn, by naming.Fence, keys map[string][]string, age time.Duration) (removed int, err error) {
	defer func() {
		if err != nil {
			abandon(ctx, conn)
		}
	}()
	v, err := begin(ctx, conn, nil)
	if err == nil && by.Duty != "" {
		var epoch uint64
		if epoch, err = v.Epoch(by.Duty); err == nil {
			err = by.Check(epoch)
		}
	}
	if err == nil {
		removed, err = remove(ctx, conn, keys, age)
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, moveFence) // other nodes of a Galera cluster do not know of the lock
	}
	if err == nil {
		if _, err = conn.ExecContext(ctx, "COMMIT"); err != nil && !undone(err) {
			err = unknown(err)
		}
	}
	return removed, err
}

// deleted lists the keys of rows that may be purged, by their tables.
func (s *Store) deleted(ctx context.Context, age time.Duration, limit int) (map[string][]string, error) {
	keys := map[string][]string{}
	for _, t := range purged {
		var r reading
		r.add("SELECT "+t.key+" FROM "+t.table+" WHERE"+deletedBefore+" LIMIT ?", func(rows *sql.Rows) error {
			var key string
			err := rows.Scan(&key)
			keys[t.table] = append(keys[t.table], key)
			return err
		}, age.Microseconds(), limit)
		if err := s.read(ctx, &r); err != nil {
			return nil, err
		}
		if limit -= len(keys[t.table]); limit == 0 {
			break
		}
	}
	return keys, nil
}

// remove removes rows, and says how many there still were.
func remove(ctx context.Context, conn *sql.Conn, keys map[string][]string, age time.Duration) (removed int, err error) {
	for _, t := range purged {
		if len(keys[t.table]) == 0 {
			continue
		}
		args := []any{age.Microseconds()}
		for _, k := range keys[t.table] {
			args = append(args, k)
		}
		statement := "DELETE FROM " + t.table + " WHERE" + deletedBefore + " AND " + t.key + " IN (" + marks(len(args)-1) + ")" //nolint:gosec // names of ours
		res, err := conn.ExecContext(ctx, statement, args...)
		if err != nil {
			return 0, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		removed += int(n)
	}
	return removed, nil
}
