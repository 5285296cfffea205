package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"math/rand/v2"
	"time"

	"polestar/naming"
	"polestar/store/codec"
)

const (
	// maxAttempts at one group; only lost certifications and lock waits are tried
	// again. Twelve writers at three Galera nodes needed 38 at most, in 3,000
	// commits; nearly always the deadline ends it before.
	maxAttempts = 100
	// retryWait is the least wait between two of them, jitter comes on top. Longer
	// ones, that double, let one node starve while another one's writers queue.
	retryWait = 5 * time.Millisecond
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
	// The last third is for the question whether a commit was made whose answer
	// was lost.
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout-s.readBack())
	defer cancel()
	moves := 0 // to other connections, as many as hosts: who waits for a database that is away is told soon
	for attempt := 1; ; attempt++ {
		var commit naming.Commit
		var results []naming.Result
		err := s.on(ctx, func(conn *sql.Conn) (err error) {
			commit, results, err = s.attempt(ctx, conn, writes)
			return err
		})
		if err == nil || naming.KindOf(err) == naming.OutcomeUnknown {
			return commit, results, err
		}
		again := retryable(err)
		if elsewhere(err) && moves < len(s.hosts.hosts) {
			moves++
			again = true
		}
		if !again || attempt == maxAttempts || !rest(ctx) {
			return naming.Commit{}, nil, notDone(err)
		}
	}
}

// rest waits before another attempt; false when ctx ends first.
func rest(ctx context.Context) bool {
	timer := time.NewTimer(retryWait + rand.N(retryWait)) //nolint:gosec // jitter
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
func (s *Store) attempt(ctx context.Context, conn *sql.Conn, writes []naming.Write) (_ naming.Commit, _ []naming.Result, err error) {
	var none naming.Commit
	to, err := target(conn)
	if err != nil {
		return none, nil, err
	}
	defer func() {
		if err != nil {
			abandon(ctx, conn)
		}
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
		return commit, results, s.settled(ctx, conn, v.head) // what changed nothing rests on what is
	}
	seq := s.seq.Add(1)
	commit.Record, commit.After = naming.Record{Writer: s.writer, Seq: seq}, v.newest
	w, err := s.script(v, commit, seq)
	if err != nil {
		return none, nil, err
	}
	last, err := w.run(ctx, conn, "COMMIT")
	if err != nil && last && !undone(err) {
		abandon(ctx, conn) // it may still hold the lock
		_ = conn.Close()   // nor does it keep its place in the pool
		err = s.settle(ctx, to, seq, err)
	}
	if err == nil {
		s.onDisk(commit.Revision)
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
