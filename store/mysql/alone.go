package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// lockWait is how long a server waits for another that changes the schema.
	lockWait = time.Minute
	// lockBeat is how often the holder of the lock shows that it lives.
	lockBeat = time.Second
	// lockDead is how long a holder is silent that is taken for dead. On Galera
	// every change of a table holds up all writes, beats too.
	lockDead = 10 * time.Second
	// lockLook is how often those that wait look.
	lockLook = 100 * time.Millisecond
)

// alone calls f while no other server does. The lock is a row, because
// GET_LOCK and locked rows exclude only those who talk to the same node of a
// Galera cluster: an insertion is done once in all of it. A dead holder is one
// whose row does not change; no clock is compared with another's.
func (s *Store) alone(ctx context.Context, f func(context.Context) error) (err error) {
	_, err = s.db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS polestar_lock (
  id TINYINT NOT NULL, owner BIGINT UNSIGNED NOT NULL, beat BIGINT UNSIGNED NOT NULL, PRIMARY KEY (id)
) ENGINE = InnoDB`)
	if err != nil {
		return err
	}
	if err = s.lock(ctx); err != nil {
		return err
	}
	work, stop := context.WithCancelCause(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { stop(s.hold(work)) })
	defer func() {
		stop(nil)
		beats.Wait()
		err = errors.Join(err, s.unlock(context.WithoutCancel(ctx)))
	}()
	if err = f(work); err != nil && context.Cause(work) != nil {
		err = errors.Join(err, context.Cause(work))
	}
	return err
}

// lock waits for the lock.
func (s *Store) lock(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, fmt.Errorf("another server has been changing the schema for %s", lockWait))
	defer cancel()
	tick := time.NewTicker(lockLook)
	defer tick.Stop()
	watch := vigil{since: time.Now()}
	for {
		began := time.Now()
		_, err := s.db.ExecContext(ctx, "INSERT INTO polestar_lock (id, owner, beat) VALUES (1, ?, 0)", s.writer)
		if err == nil {
			return nil
		}
		if !retryable(err) {
			return errors.Join(err, context.Cause(ctx))
		}
		now, err := s.holder(ctx)
		switch {
		case err != nil && !retryable(err):
			return errors.Join(err, context.Cause(ctx))
		case err == nil && watch.silent(now, began, time.Now(), s.lockDead):
			_, err = s.db.ExecContext(ctx, "DELETE FROM polestar_lock WHERE id = 1 AND owner = ? AND beat = ?", now.owner, now.beat)
			if err != nil && !retryable(err) {
				return errors.Join(err, context.Cause(ctx))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// vigil waits for the beats of a holder.
type vigil struct {
	seen  holder
	since time.Time // when it was seen first
}

// silent takes one look, from begin to end, and reports whether the holder has
// not beaten for so long. A look that takes longer than a beat says nothing:
// what held it up, a change of a table above all, holds the beats up, too.
func (v *vigil) silent(now holder, begin, end time.Time, long time.Duration) bool {
	if now != v.seen || end.Sub(begin) > lockBeat {
		v.seen, v.since = now, end
	}
	return end.Sub(v.since) > long
}

// holder is who has the lock, as of its last beat.
type holder struct{ owner, beat uint64 }

func (s *Store) holder(ctx context.Context) (h holder, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT owner, beat FROM polestar_lock WHERE id = 1").Scan(&h.owner, &h.beat)
	if errors.Is(err, sql.ErrNoRows) {
		return holder{}, nil
	}
	return h, err
}

// hold beats until ctx ends. It returns an error when the lock is lost.
func (s *Store) hold(ctx context.Context) error {
	tick := time.NewTicker(lockBeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		done, err := s.db.ExecContext(ctx, "UPDATE polestar_lock SET beat = beat + 1 WHERE id = 1 AND owner = ?", s.writer)
		if err != nil {
			continue // who beats no more loses the lock, and then finds no row
		}
		if rows, err := done.RowsAffected(); err == nil && rows == 0 {
			return errors.New("another server took this one for dead and changes the schema")
		}
	}
}

// unlock gives the lock back, if this server still has it.
func (s *Store) unlock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	for {
		_, err := s.db.ExecContext(ctx, "DELETE FROM polestar_lock WHERE owner = ?", s.writer)
		if !retryable(err) || !rest(ctx) {
			return err
		}
	}
}
