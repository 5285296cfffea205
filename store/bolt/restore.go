package bolt

import (
	"context"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"polestar/naming"
	"polestar/store"
	"polestar/store/codec"
)

// Restore implements store.Restorer, in one transaction.
func (s *Store) Restore(ctx context.Context, load store.LoadFunc) error {
	if err := s.refusal(ctx); err != nil {
		return err
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		if head := headOf(tx); head != 0 {
			return naming.Errorf(naming.Conflict, "store", "the store is not empty, it has revision %d; nothing was done", head)
		}
		usages := map[naming.ServiceKey]usage{}
		head, err := load(ctx, func(o naming.Object) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if key, add, counts := naming.UsageOf(&naming.Change{After: o}); counts {
				u := usages[key]
				u.Usage = u.Add(add)
				usages[key] = u
			}
			record, err := codec.Encode(o)
			if err != nil {
				return err
			}
			if err := tx.Bucket(buckets[o.ObjectKind()]).Put([]byte(o.ObjectKey()), record); err != nil {
				return fmt.Errorf("%s %q: %w", o.ObjectKind(), o.ObjectKey(), err)
			}
			return nil
		}, func(t naming.Touched) error {
			u := usages[t.Service]
			u.touched = t.Revision
			usages[t.Service] = u
			return nil
		})
		if err != nil {
			return err
		}
		for key, u := range usages {
			if err := putUsage(tx, key, u); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		if err := meta.Put(metaLogFrom, bytes8(uint64(head))); err != nil {
			return err
		}
		return meta.Put(metaHead, bytes8(uint64(head)))
	})
	if err != nil {
		return notDone(err)
	}
	return nil
}
