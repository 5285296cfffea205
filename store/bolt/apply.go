package bolt

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"polestar/naming"
	"polestar/store/codec"
)

// Apply implements store.Writer.
func (s *Store) Apply(ctx context.Context, writes []naming.Write) (naming.Commit, []naming.Result, error) {
	var none naming.Commit
	if err := s.refusal(ctx); err != nil {
		return none, nil, err
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return none, nil, notDone(err)
	}
	defer func() { _ = tx.Rollback() }() // no effect after a commit; undoes all before one, panics included
	// Begin may have waited for another writer: who is gone meanwhile gets nothing
	// done, and nothing is done after that writer broke the store.
	if err = s.refusal(ctx); err != nil {
		return none, nil, err
	}
	commit, results, err := naming.Plan(headOf(tx)+1, naming.Micros(time.Now().UnixMicro()), view{tx}, writes)
	if err != nil {
		return none, nil, notDone(err)
	}
	if commit.Revision == 0 {
		return commit, results, nil
	}
	if err := s.write(tx, commit); err != nil {
		return none, nil, notDone(err)
	}
	if err := tx.Commit(); err != nil {
		return none, nil, s.failedCommit(ctx, commit.Revision, err)
	}
	return commit, results, nil
}

// refusal says why no transaction may begin now, nil when one may.
func (s *Store) refusal(ctx context.Context) error {
	if broken := s.broken.Load(); broken != nil {
		return broken
	}
	if ctx.Err() != nil {
		return &naming.Error{Kind: naming.NotDone, Msg: "nothing was done", Err: context.Cause(ctx)}
	}
	return nil
}

// failedCommit finds out what a failed commit left behind. Data pages are
// written first and the page that makes them count last, so a commit that the
// file does not show (a full disk, mostly) was not done, and the next one may
// work. One that it shows was written and perhaps not synced: until the file is
// opened anew nobody can say, so nothing more is written to it.
func (s *Store) failedCommit(ctx context.Context, rev naming.Revision, err error) error {
	if head, headErr := s.Head(context.WithoutCancel(ctx)); headErr == nil && head < rev {
		return notDone(err)
	}
	s.broken.Store(&naming.Error{
		Kind: naming.StoreFailed, Msg: "the store failed to sync and takes no writes until the server restarts", Err: err,
	})
	return &naming.Error{Kind: naming.OutcomeUnknown, Msg: "outcome unknown; a retry is safe", Err: err}
}

func notDone(err error) error {
	if _, ours := errors.AsType[*naming.Error](err); ours {
		return err
	}
	return &naming.Error{Kind: naming.StoreFailed, Msg: "nothing was done", Err: err}
}

// write puts the objects of a commit, its log record and the new head.
func (s *Store) write(tx *bolt.Tx, commit naming.Commit) error {
	for n := range commit.Changes {
		c := &commit.Changes[n]
		o := c.Object()
		if !o.ObjectKind().Kept() {
			continue
		}
		b, key := tx.Bucket(buckets[o.ObjectKind()]), []byte(o.ObjectKey())
		if c.Deleted() {
			if err := b.Delete(key); err != nil {
				return err
			}
			continue
		}
		record, err := codec.Encode(o)
		if err != nil {
			return err
		}
		if err := b.Put(key, record); err != nil {
			return fmt.Errorf("%s %q: %w", o.ObjectKind(), o.ObjectKey(), err)
		}
	}
	if err := countUsage(tx, commit); err != nil {
		return err
	}
	if err := s.appendLog(tx, commit); err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(metaHead, bytes8(uint64(commit.Revision)))
}

// appendLog adds the commit to the change log and removes a few of the oldest
// records while the log is over its bounds.
func (s *Store) appendLog(tx *bolt.Tx, commit naming.Commit) error {
	record, err := codec.EncodeCommit(commit)
	if err != nil {
		return err
	}
	log, meta := tx.Bucket(bucketLog), tx.Bucket(bucketMeta)
	log.FillPercent = 0.95 // keys only grow
	if err := log.Put(bytes8(uint64(commit.Revision)), record); err != nil {
		return err
	}
	size := number(meta.Get(metaLogBytes)) + uint64(len(record))
	cursor := log.Cursor()
	for range trimPerCommit {
		k, v := cursor.First()
		count := uint64(commit.Revision) - number(k) + 1
		if k == nil || count <= 1 || count <= s.bounds.MaxRevisions && size <= s.bounds.MaxBytes && !s.old(v, commit.Time) {
			break
		}
		size -= min(size, uint64(len(v)))
		if err := cursor.Delete(); err != nil {
			return err
		}
	}
	return meta.Put(metaLogBytes, bytes8(size))
}

// old reports whether a log record is over the log's age. Clocks only decide
// how much history is kept.
func (s *Store) old(record []byte, now naming.Micros) bool {
	return s.bounds.MaxAge > 0 && codec.CommitTime(record) < now-naming.Micros(s.bounds.MaxAge.Microseconds())
}
