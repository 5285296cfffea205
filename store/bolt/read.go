package bolt

import (
	"bytes"
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

// Check implements store.Store: bbolt's own consistency, every record, and
// that log, heads and marks agree.
func (s *Store) Check(ctx context.Context, report func(problem string)) error {
	return s.db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			report("file: " + err.Error())
		}
		head, services, marks := headOf(tx), tx.Bucket(buckets[naming.KindService]), map[naming.ServiceKey]usage{}
		err := tx.Bucket(bucketUsage).ForEach(func(k, v []byte) error {
			u, err := decodeUsage(v)
			if err != nil {
				report(fmt.Sprintf("usage of service %q cannot be read: %v", k, err))
			}
			marks[serviceKey(k)] = u
			return nil
		})
		if err != nil {
			return err
		}
		counted := map[naming.ServiceKey]naming.Usage{}
		for _, kind := range naming.Kinds() {
			err := tx.Bucket(buckets[kind]).ForEach(func(k, v []byte) error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				o, err := codec.Decode(kind, v, nil)
				switch {
				case err != nil:
					report(fmt.Sprintf("%s %q cannot be read: %v", kind, k, err))
				case !bytes.Equal(k, []byte(o.ObjectKey())):
					report(fmt.Sprintf("%s %q is stored under the key %q", kind, o.ObjectKey(), k))
				case o.ObjectRevision() > head:
					report(fmt.Sprintf("%s %q has revision %d, after the newest, %d", kind, k, o.ObjectRevision(), head))
				}
				if err != nil {
					return nil // reported
				}
				if key, add, counts := naming.UsageOf(&naming.Change{After: o}); counts {
					counted[key] = counted[key].Add(add)
				}
				if i, ok := o.(*naming.Instance); ok {
					key := []byte(i.Service.StoreKey())
					if services.Get(key) == nil {
						report(fmt.Sprintf("instance %q belongs to service %s, which does not exist", i.ID, i.Service))
					}
					if mark := marks[i.Service].touched; mark < i.Revision {
						report(fmt.Sprintf("service %s is marked as touched at revision %d, its instance %q at %d", i.Service, mark, i.ID, i.Revision))
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		checkUsage(marks, counted, report)
		checkLog(tx, head, report)
		return nil
	})
}

func checkUsage(marks map[naming.ServiceKey]usage, counted map[naming.ServiceKey]naming.Usage, report func(string)) {
	for key, u := range marks {
		if u.Usage != counted[key] {
			report(fmt.Sprintf("service %s is said to have %d instances and %d aliases, but has %d and %d",
				key, u.Instances, u.Aliases, counted[key].Instances, counted[key].Aliases))
		}
		delete(counted, key)
	}
	for key, u := range counted {
		report(fmt.Sprintf("service %s is said to have nothing, but has %d instances and %d aliases", key, u.Instances, u.Aliases))
	}
}

func checkLog(tx *bolt.Tx, head naming.Revision, report func(string)) {
	var last uint64
	c := tx.Bucket(bucketLog).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		rev := number(k)
		if last != 0 && rev != last+1 {
			report(fmt.Sprintf("change log: revision %d is followed by %d", last, rev))
		}
		if _, err := codec.DecodeCommit(naming.Revision(rev), v); err != nil {
			report(fmt.Sprintf("change log: revision %d cannot be read: %v", rev, err))
		}
		last = rev
	}
	if last != uint64(head) {
		report(fmt.Sprintf("change log ends at revision %d, the newest is %d", last, head))
	}
}
