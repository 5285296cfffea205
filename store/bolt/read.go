package bolt

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"

	"polestar/naming"
	"polestar/store"
	"polestar/store/codec"
)

// loadOrder visits owners before what belongs to them.
var loadOrder = []naming.Kind{naming.KindNamespace, naming.KindService, naming.KindInstance, naming.KindClient}

// Load implements store.Loader.
func (s *Store) Load(ctx context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
	var head naming.Revision
	err := s.db.View(func(tx *bolt.Tx) error {
		head = headOf(tx)
		in := codec.Interner{}
		for _, kind := range loadOrder {
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
		return tx.Bucket(bucketTouched).ForEach(func(k, v []byte) error {
			ns, name, _ := strings.Cut(string(k), "\x00")
			return touched(naming.Touched{
				Service: naming.ServiceKey{Namespace: ns, Name: name}, Revision: naming.Revision(number(v)),
			})
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

// Check implements store.Store: bbolt's own consistency, every record, and
// that log, heads and marks agree.
func (s *Store) Check(ctx context.Context, report func(problem string)) error {
	return s.db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			report("file: " + err.Error())
		}
		head, services, marks := headOf(tx), tx.Bucket(buckets[naming.KindService]), tx.Bucket(bucketTouched)
		for _, kind := range loadOrder {
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
				case revisionOf(o) > head:
					report(fmt.Sprintf("%s %q has revision %d, after the newest, %d", kind, k, revisionOf(o), head))
				}
				if i, ok := o.(*naming.Instance); ok {
					key := []byte(i.Service.StoreKey())
					if services.Get(key) == nil {
						report(fmt.Sprintf("instance %q belongs to service %s, which does not exist", i.ID, i.Service))
					}
					if mark := naming.Revision(number(marks.Get(key))); mark < i.Revision {
						report(fmt.Sprintf("service %s is marked as touched at revision %d, its instance %q at %d", i.Service, mark, i.ID, i.Revision))
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		checkLog(tx, head, report)
		return nil
	})
}

func revisionOf(o naming.Object) naming.Revision {
	switch x := o.(type) {
	case *naming.Namespace:
		return x.Revision
	case *naming.Service:
		return x.Revision
	case *naming.Instance:
		return x.Revision
	case *naming.Client:
		return x.Revision
	default:
		return 0
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
