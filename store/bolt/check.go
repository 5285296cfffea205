package bolt

import (
	"bytes"
	"context"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"polestar/naming"
	"polestar/store/codec"
)

// Check implements store.Store: bbolt's own consistency, every record, and
// that log, heads and usages agree.
func (s *Store) Check(ctx context.Context, report func(problem string)) error {
	return s.db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			report("file: " + err.Error())
		}
		c := checker{
			tx: tx, head: headOf(tx), said: map[naming.ServiceKey]usage{}, counted: map[naming.ServiceKey]naming.Usage{},
			report: func(format string, args ...any) { report(fmt.Sprintf(format, args...)) },
		}
		err := each(ctx, tx.Bucket(bucketUsage), func(k, v []byte) {
			u, bad := decodeUsage(v)
			if bad != nil {
				c.report("usage of service %q cannot be read: %v", k, bad)
			}
			c.said[serviceKey(k)] = u
		})
		for _, kind := range naming.Kinds() {
			if err != nil {
				return err
			}
			err = each(ctx, tx.Bucket(buckets[kind]), func(k, v []byte) { c.object(kind, k, v) })
		}
		c.usage()
		for _, p := range c.access.Problems() {
			c.report("%s", p)
		}
		c.log()
		return err
	})
}

// each visits a bucket until ctx ends.
func each(ctx context.Context, b *bolt.Bucket, visit func(k, v []byte)) error {
	return b.ForEach(func(k, v []byte) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		visit(k, v)
		return nil
	})
}

// checker is one reading of the file.
type checker struct {
	tx      *bolt.Tx
	head    naming.Revision
	said    map[naming.ServiceKey]usage
	counted map[naming.ServiceKey]naming.Usage
	access  naming.AccessCheck
	report  func(format string, args ...any)
}

// object checks one record.
func (c *checker) object(kind naming.Kind, k, v []byte) {
	o, err := codec.Decode(kind, v, nil)
	if err != nil {
		c.report("%s %q cannot be read: %v", kind, k, err)
		return
	}
	if !bytes.Equal(k, []byte(o.ObjectKey())) {
		c.report("%s %q is stored under the key %q", kind, o.ObjectKey(), k)
	}
	if o.ObjectRevision() > c.head {
		c.report("%s %q has revision %d, after the newest, %d", kind, k, o.ObjectRevision(), c.head)
	}
	if key, add, counts := naming.UsageOf(&naming.Change{After: o}); counts {
		c.counted[key] = c.counted[key].Add(add)
	}
	c.access.Add(o)
	i, ok := o.(*naming.Instance)
	if !ok {
		return
	}
	if c.tx.Bucket(buckets[naming.KindService]).Get([]byte(i.Service.StoreKey())) == nil {
		c.report("instance %q belongs to service %s, which does not exist", i.ID, i.Service)
	}
	if mark := c.said[i.Service].touched; mark < i.Revision {
		c.report("service %s is marked as touched at revision %d, its instance %q at %d", i.Service, mark, i.ID, i.Revision)
	}
}

// usage compares what is said of services with what was counted.
func (c *checker) usage() {
	for key, u := range c.said {
		if u.Usage != c.counted[key] {
			c.report("service %s is said to have %d instances and %d aliases, but has %d and %d",
				key, u.Instances, u.Aliases, c.counted[key].Instances, c.counted[key].Aliases)
		}
		delete(c.counted, key)
	}
	for key, u := range c.counted {
		c.report("service %s is said to have nothing, but has %d instances and %d aliases", key, u.Instances, u.Aliases)
	}
}

// log checks that the change log has no gap and ends at the head.
func (c *checker) log() {
	var last uint64
	cursor := c.tx.Bucket(bucketLog).Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		rev := number(k)
		if last != 0 && rev != last+1 {
			c.report("change log: revision %d is followed by %d", last, rev)
		}
		if _, err := codec.DecodeCommit(naming.Revision(rev), v); err != nil {
			c.report("change log: revision %d cannot be read: %v", rev, err)
		}
		last = rev
	}
	if last == 0 {
		last = number(c.tx.Bucket(bucketMeta).Get(metaLogFrom))
	}
	if last != uint64(c.head) {
		c.report("change log ends at revision %d, the newest is %d", last, c.head)
	}
}
