package mysql

import (
	"context"
	"database/sql"

	"polestar/naming"
)

// InnoDB shows a commit, and releases its locks, before the log of it is on the
// disk; only who made it waits for that. The log is one sequence: when a later
// commit is on the disk, so are all before it.

// Sync implements store.Feed.
func (s *Store) Sync(ctx context.Context) (head naming.Revision, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	err = s.on(ctx, func(conn *sql.Conn) (err error) {
		head, err = s.sync(ctx, conn)
		return err
	})
	return head, named(err)
}

// sync begins a transaction that changes the head, and ends it.
func (s *Store) sync(ctx context.Context, conn *sql.Conn) (head naming.Revision, err error) {
	var r reading
	r.add("START TRANSACTION", nil)
	r.add("SELECT revision FROM polestar_head WHERE id = 1 FOR UPDATE", func(rows *sql.Rows) error { return rows.Scan(&head) })
	if err = r.run(ctx, conn); err == nil {
		err = s.settled(ctx, conn, head)
	}
	if err != nil {
		abandon(ctx, conn)
	}
	return head, err
}

// settled ends a transaction that holds the lock of the head and has changed
// nothing: then the head is on the disk, and so is all that was decided on. At a
// Galera node it is on other nodes, too, before it can be seen.
func (s *Store) settled(ctx context.Context, conn *sql.Conn, head naming.Revision) error {
	to, err := target(conn)
	if err != nil {
		return err
	}
	if to.galera || uint64(head) <= s.synced.Load() {
		_, err = conn.ExecContext(ctx, "ROLLBACK")
		return err
	}
	var fence script
	fence.add(moveFence)
	if _, err = fence.run(ctx, conn, "COMMIT"); err == nil {
		s.onDisk(head)
	}
	return err
}

// onDisk notes a revision that no crash takes back.
func (s *Store) onDisk(rev naming.Revision) {
	for {
		old := s.synced.Load()
		if uint64(rev) <= old || s.synced.CompareAndSwap(old, uint64(rev)) {
			return
		}
	}
}
