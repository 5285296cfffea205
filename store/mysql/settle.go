package mysql

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// readBack bounds the question whether a commit was made whose answer was lost.
func (s *Store) readBack() time.Duration { return s.cfg.Timeout / 3 }

// moveFence changes the row that every commit changes, and nothing in it that
// counts: in a Galera cluster no commit that began before on another node comes
// after it.
const moveFence = "UPDATE polestar_head SET fence = fence + 1 WHERE id = 1"

// settle finds out whether a commit was made whose answer was lost: nil when it
// was, cause when it was not and never will be. It asks whichever host answers
// in time: the one that was told to commit may be dead.
func (s *Store) settle(ctx context.Context, told *conn, seq uint64, cause error) error {
	if elsewhere(cause) {
		s.hosts.fail(told.at)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.readBack())
	defer cancel()
	for {
		var found, final bool
		err := s.on(ctx, func(conn *sql.Conn) (err error) {
			found, final, err = s.ask(ctx, conn, told, seq)
			return err
		})
		switch {
		case err == nil && found:
			return nil
		case err == nil && final:
			return cause
		case err == nil || !rest(ctx):
			return unknown(errors.Join(cause, err))
		}
	}
}

// ask looks for a commit in the change log. Without an error, final tells
// whether one that is not found can never come: every commit locks the row of
// the head, so on the host that was told nothing is under way while we hold
// that lock. Other nodes of a Galera cluster do not know of that lock. There,
// whoever changes the row first is in the cluster's one order before the
// commit, which is then refused everywhere: so we change it.
func (s *Store) ask(ctx context.Context, conn *sql.Conn, told *conn, seq uint64) (found, final bool, err error) {
	to, err := target(conn)
	if err != nil {
		return false, false, err
	}
	var r reading
	r.add("START TRANSACTION", nil)
	r.add("SELECT revision FROM polestar_head WHERE id = 1 FOR UPDATE", func(*sql.Rows) error { return nil })
	r.add("SELECT revision FROM polestar_log WHERE writer = ? AND seq = ?", func(*sql.Rows) error {
		found = true
		return nil
	}, s.writer, seq)
	if err = r.run(ctx, conn); err != nil || found {
		abandon(ctx, conn)
		return found, true, err
	}
	var fence script
	fence.add(moveFence)
	if _, err = fence.run(ctx, conn, "COMMIT"); err != nil {
		abandon(ctx, conn)
	}
	return false, to.host == told.host || to.galera && told.galera, err
}
