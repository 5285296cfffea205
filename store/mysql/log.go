package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"polestar/naming"
	"polestar/store"
	"polestar/store/codec"
)

// Since implements store.Feed.
func (s *Store) Since(ctx context.Context, after naming.Revision, limit int) ([]naming.Commit, error) {
	t, err := s.Tail(ctx, after, limit)
	return t.Commits, err
}

const selectTail = "SELECT revision, writer, seq, IF(revision = ?, '', record) FROM polestar_log WHERE revision >= ? ORDER BY revision LIMIT ?"

// Tail implements store.Feed.
func (s *Store) Tail(ctx context.Context, after naming.Revision, limit int) (naming.Tail, error) {
	var t naming.Tail
	var r reading
	// The head comes first: what is committed between the two only makes the log longer.
	r.add("SELECT revision FROM polestar_head WHERE id = 1", func(rows *sql.Rows) error { return rows.Scan(&t.Head) })
	r.add(selectTail, tailOf(&t, after), uint64(after), uint64(after), limit+1)
	if err := s.read(ctx, &r); err != nil {
		return naming.Tail{}, err
	}
	if len(t.Commits) > limit { // the log has nothing at the revision itself
		t.Commits = t.Commits[:limit]
	}
	for n, c := range t.Commits {
		if c.Revision != after+1+naming.Revision(n) {
			return naming.Tail{}, store.ErrCompacted
		}
	}
	if len(t.Commits) == 0 && limit > 0 && after < t.Head {
		return naming.Tail{}, store.ErrCompacted
	}
	return t, nil
}

// tailOf reads records from a revision on.
func tailOf(t *naming.Tail, after naming.Revision) func(*sql.Rows) error {
	var last naming.Record
	return func(rows *sql.Rows) error {
		var rev naming.Revision
		var name naming.Record
		var record []byte
		if err := rows.Scan(&rev, &name.Writer, &name.Seq, &record); err != nil {
			return err
		}
		if rev == after {
			t.At, last = name, name
			return nil
		}
		c, err := decode(rev, record)
		if err != nil {
			return err
		}
		c.Record, c.After, last = name, last, name
		t.Commits = append(t.Commits, c)
		return nil
	}
}

// Before implements store.Feed.
func (s *Store) Before(ctx context.Context, before naming.Revision, limit int) ([]naming.Commit, error) {
	if before == 0 {
		before = 1<<63 - 1
	}
	var out []naming.Commit
	var r reading
	r.add("SELECT revision, record FROM polestar_log WHERE revision < ? ORDER BY revision DESC LIMIT ?", into(&out), uint64(before), limit)
	return out, s.read(ctx, &r)
}

// Oldest implements store.Feed.
func (s *Store) Oldest(ctx context.Context) (oldest naming.Revision, err error) {
	var r reading
	r.add("SELECT COALESCE(MIN(revision), 0) FROM polestar_log", func(rows *sql.Rows) error { return rows.Scan(&oldest) })
	return oldest, s.read(ctx, &r)
}

// into reads records of the change log.
func into(out *[]naming.Commit) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var rev naming.Revision
		var record []byte
		if err := rows.Scan(&rev, &record); err != nil {
			return err
		}
		c, err := decode(rev, record)
		*out = append(*out, c)
		return err
	}
}

func decode(rev naming.Revision, record []byte) (naming.Commit, error) {
	c, err := codec.DecodeCommit(rev, record)
	if err != nil {
		return c, fmt.Errorf("change log, revision %d: %w", rev, err)
	}
	return c, nil
}

func (s *Store) checkLog(ctx context.Context, conn *sql.Conn, report func(string)) error {
	var after uint64
	for {
		n := 0
		var r reading
		r.add("SELECT revision, record FROM polestar_log WHERE revision > ? ORDER BY revision LIMIT 500", func(rows *sql.Rows) error {
			var record []byte
			if err := rows.Scan(&after, &record); err != nil {
				return err
			}
			n++
			if _, err := codec.DecodeCommit(naming.Revision(after), record); err != nil {
				report(fmt.Sprintf("change log: revision %d cannot be read: %v", after, err))
			}
			return nil
		}, after)
		if err := r.run(ctx, conn); err != nil || n == 0 {
			return errors.Join(err)
		}
	}
}
