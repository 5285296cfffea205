package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"time"

	"polestar/naming"
	"polestar/store/codec"
)

const (
	maxAttempts = 8 // at one group; only lost certifications and lock waits are tried again
	firstWait   = 5 * time.Millisecond
	// readBack bounds the question whether a commit was made whose answer was lost.
	readBack = time.Second
	// cleanUp bounds a rollback; the server does it itself when the connection ends.
	cleanUp = 500 * time.Millisecond
	// maxRecord is the size of a record of the change log in bytes; a larger group
	// is refused as one that can be split.
	maxRecord = 12 << 20
	// trimPerCommit bounds how many old log records one commit removes.
	trimPerCommit = 4
)

// Apply implements store.Writer.
func (s *Store) Apply(ctx context.Context, writes []naming.Write) (naming.Commit, []naming.Result, error) {
	if ctx.Err() != nil {
		return naming.Commit{}, nil, &naming.Error{Kind: naming.NotDone, Msg: "nothing was done", Err: context.Cause(ctx)}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	moves := 0 // to other hosts, each once: who waits for a database that is away is told soon
	for attempt := 1; ; attempt++ {
		commit, results, err := s.attempt(ctx, writes)
		if err == nil || naming.KindOf(err) == naming.OutcomeUnknown {
			return commit, results, err
		}
		again := retryable(err)
		if elsewhere(err) && moves < len(s.hosts.hosts) {
			s.hosts.fail()
			moves++
			again = true
		}
		if !again || attempt == maxAttempts || !rest(ctx, attempt) {
			return naming.Commit{}, nil, notDone(err)
		}
	}
}

// rest waits a little longer after each attempt; false when ctx ends first.
func rest(ctx context.Context, attempt int) bool {
	wait := firstWait << attempt
	timer := time.NewTimer(wait/2 + rand.N(wait/2)) //nolint:gosec // jitter
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt makes one transaction. Unless its error has the kind OutcomeUnknown,
// nothing of it was done.
func (s *Store) attempt(ctx context.Context, writes []naming.Write) (_ naming.Commit, _ []naming.Result, err error) {
	var none naming.Commit
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return none, nil, err
	}
	defer func() {
		if err != nil {
			abandon(ctx, conn)
		}
		_ = conn.Close() // returns it to the pool
	}()
	v, err := begin(ctx, conn, writes)
	if err != nil {
		return none, nil, err
	}
	commit, results, err := naming.Plan(v.head+1, naming.Micros(time.Now().UnixMicro()), v, writes)
	if err != nil {
		return none, nil, err
	}
	if commit.Revision == 0 {
		_, err = conn.ExecContext(ctx, "ROLLBACK")
		return commit, results, err
	}
	seq := s.seq.Add(1)
	w, err := s.script(v, commit, seq)
	if err != nil {
		return none, nil, err
	}
	host := s.hosts.at.Load()
	last, err := w.run(ctx, conn, "COMMIT")
	if err != nil && last && lost(err) {
		err = s.settle(ctx, host, seq, err)
	}
	return commit, results, err
}

// abandon undoes an open transaction. A connection that cannot even do that is
// closed, which undoes it, too.
func abandon(ctx context.Context, conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
}

// settle finds out whether a commit was made whose answer was lost: nil when
// it was. Whoever holds the lock of the head sees all that was committed, so on
// the same host the log's word is final.
func (s *Store) settle(ctx context.Context, host int32, seq uint64, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBack)
	defer cancel()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return unknown(errors.Join(cause, err))
	}
	defer func() { _ = conn.Close() }()
	found := false
	var r reading
	r.add("START TRANSACTION", nil)
	r.add("SELECT revision FROM polestar_head WHERE id = 1 FOR UPDATE", func(*sql.Rows) error { return nil })
	r.add("SELECT revision FROM polestar_log WHERE writer = ? AND seq = ?", func(*sql.Rows) error {
		found = true
		return nil
	}, s.writer, seq)
	err = r.run(ctx, conn)
	abandon(ctx, conn)
	switch {
	case err == nil && found:
		return nil
	case err != nil || s.hosts.at.Load() != host:
		return unknown(errors.Join(cause, err))
	}
	return cause
}

// appendLog adds the commit to the change log, and removes a few of the oldest
// records while the log is over its bounds.
func (s *Store) appendLog(w *script, v *view, commit naming.Commit, seq uint64) error {
	record, err := codec.EncodeCommit(commit)
	if err != nil {
		return err
	}
	if len(record) > maxRecord {
		return naming.Errorf(naming.Internal, "", "a group of %d bytes, at most %d are allowed", len(record), maxRecord)
	}
	w.add("INSERT INTO polestar_log (revision, writer, seq, time, record) VALUES (?, ?, ?, ?, ?)",
		uint64(commit.Revision), s.writer, seq, int64(commit.Time), record)
	size := v.logBytes + uint64(len(record))
	var gone []any
	for _, old := range v.oldest {
		count := uint64(commit.Revision-old.revision) + 1
		aged := s.cfg.Log.MaxAge > 0 && old.time < commit.Time-naming.Micros(s.cfg.Log.MaxAge.Microseconds())
		if count <= s.cfg.Log.MaxRevisions && size <= s.cfg.Log.MaxBytes && !aged {
			break
		}
		size -= min(size, old.bytes)
		gone = append(gone, uint64(old.revision))
	}
	if len(gone) > 0 {
		w.add("DELETE FROM polestar_log WHERE revision IN ("+marks(len(gone))+")", gone...)
	}
	w.add("UPDATE polestar_head SET revision = ?, log_bytes = ? WHERE id = 1", uint64(commit.Revision), size)
	return nil
}
