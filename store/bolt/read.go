package bolt

import (
	"context"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"polestar/naming"
	"polestar/store"
	"polestar/store/codec"
)

// Load implements store.Loader.
func (s *Store) Load(ctx context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
	var head naming.Revision
	err := s.db.View(func(tx *bolt.Tx) error {
		head = headOf(tx)
		in := codec.Interner{}
		for _, kind := range naming.Kinds() {
			err := tx.Bucket(buckets[kind]).ForEach(func(k, v []byte) error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				o, err := codec.Decode(kind, v, in)
				if err != nil {
					return fmt.Errorf("%s %q cannot be read: %w", kind, k, err)
				}
				return visit(o)
			})
			if err != nil {
				return err
			}
		}
		return tx.Bucket(bucketUsage).ForEach(func(k, v []byte) error {
			u, err := decodeUsage(v)
			if err != nil {
				return fmt.Errorf("usage of service %q cannot be read: %w", k, err)
			}
			return touched(naming.Touched{Service: serviceKey(k), Revision: u.touched})
		})
	})
	return head, err
}

// Since implements store.Feed.
func (s *Store) Since(ctx context.Context, after naming.Revision, limit int) (out []naming.Commit, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		if after >= headOf(tx) {
			return nil
		}
		next := after + 1
		c := tx.Bucket(bucketLog).Cursor()
		for k, v := c.Seek(bytes8(uint64(next))); k != nil && len(out) < limit; k, v = c.Next() {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if naming.Revision(number(k)) != next {
				return store.ErrCompacted
			}
			commit, bad := codec.DecodeCommit(next, v)
			if bad != nil {
				return fmt.Errorf("change log, revision %d: %w", next, bad)
			}
			out = append(out, commit)
			next++
		}
		if len(out) == 0 && limit > 0 {
			return store.ErrCompacted // a log that ends before the head: loading again is the only way on
		}
		return nil
	})
	return out, err
}

// Tail implements store.Feed. Nobody else writes this log: its records need no
// names.
func (s *Store) Tail(ctx context.Context, after naming.Revision, limit int) (t naming.Tail, err error) {
	if t.Commits, err = s.Since(ctx, after, limit); err != nil {
		return naming.Tail{}, err
	}
	if t.Head, err = s.Head(ctx); err != nil {
		return naming.Tail{}, err
	}
	return t, nil
}

// Sync implements store.Feed: what can be seen is on the disk.
func (s *Store) Sync(ctx context.Context) (naming.Revision, error) { return s.Head(ctx) }

// Before implements store.Feed.
func (s *Store) Before(ctx context.Context, before naming.Revision, limit int) (out []naming.Commit, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketLog).Cursor()
		k, v := c.Last()
		if before != 0 {
			if k, v = c.Seek(bytes8(uint64(before))); k == nil {
				k, v = c.Last()
			}
		}
		for ; k != nil && len(out) < limit; k, v = c.Prev() {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			rev := naming.Revision(number(k))
			if before != 0 && rev >= before {
				continue
			}
			commit, bad := codec.DecodeCommit(rev, v)
			if bad != nil {
				return fmt.Errorf("change log, revision %d: %w", rev, bad)
			}
			out = append(out, commit)
		}
		return nil
	})
	return out, err
}

// Oldest implements store.Feed.
func (s *Store) Oldest(context.Context) (oldest naming.Revision, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		if k, _ := tx.Bucket(bucketLog).Cursor().First(); k != nil {
			oldest = naming.Revision(number(k))
		}
		return nil
	})
	return oldest, err
}
