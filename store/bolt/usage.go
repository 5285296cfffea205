package bolt

import (
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"

	"polestar/naming"
	"polestar/store/codec"
)

// usage is what is kept per service beside the objects.
type usage struct {
	naming.Usage
	touched naming.Revision
}

func decodeUsage(record []byte) (usage, error) {
	u, touched, err := codec.DecodeUsage(record)
	return usage{u, touched}, err
}

// usageOf reads the usage of a service; zero when it has none.
func usageOf(tx *bolt.Tx, key naming.ServiceKey) (usage, error) {
	u, err := decodeUsage(tx.Bucket(bucketUsage).Get([]byte(key.StoreKey())))
	if err != nil {
		return u, fmt.Errorf("usage of service %q: %w", key, err)
	}
	return u, nil
}

func putUsage(tx *bolt.Tx, key naming.ServiceKey, u usage) error {
	record, err := codec.EncodeUsage(u.Usage, u.touched)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketUsage).Put([]byte(key.StoreKey()), record)
}

// serviceKey is the inverse of naming.ServiceKey.StoreKey.
func serviceKey(k []byte) naming.ServiceKey {
	ns, name, _ := strings.Cut(string(k), "\x00")
	return naming.ServiceKey{Namespace: ns, Name: name}
}

// countUsage updates what a commit changes in the usage of services.
func countUsage(tx *bolt.Tx, commit naming.Commit) error {
	type delta struct {
		add     naming.Usage
		touched bool
		gone    bool // the service was deleted
	}
	all := map[naming.ServiceKey]*delta{}
	of := func(key naming.ServiceKey) *delta {
		if all[key] == nil {
			all[key] = &delta{}
		}
		return all[key]
	}
	for n := range commit.Changes {
		c := &commit.Changes[n]
		if key, add, ok := naming.UsageOf(c); ok {
			d := of(key)
			d.add = d.add.Add(add)
		}
		switch x := c.Object().(type) {
		case *naming.Service:
			d := of(x.Key)
			d.touched, d.gone = true, c.Deleted()
		case *naming.Instance:
			of(x.Service).touched = true
		}
	}
	for key, d := range all {
		if d.gone {
			if err := tx.Bucket(bucketUsage).Delete([]byte(key.StoreKey())); err != nil {
				return err
			}
			continue
		}
		u, err := usageOf(tx, key)
		if err != nil {
			return err
		}
		u.Usage = u.Add(d.add)
		if d.touched {
			u.touched = commit.Revision
		}
		if err := putUsage(tx, key, u); err != nil {
			return err
		}
	}
	return nil
}

// migrate brings a file of an earlier format, or a new one (0), to [Format].
func migrate(tx *bolt.Tx, from uint64) error {
	for _, name := range [][]byte{bucketMeta, bucketUsage, bucketLog} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	for _, kind := range naming.Kinds() {
		if _, err := tx.CreateBucketIfNotExists(buckets[kind]); err != nil {
			return err
		}
	}
	if from == 1 {
		if err := migrateTouched(tx); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMeta).Put(metaFormat, bytes8(Format))
}

// migrateTouched turns the marks of format 1 into usages, counting what
// belongs to each service.
func migrateTouched(tx *bolt.Tx) error {
	counted, err := count(tx)
	if err != nil {
		return err
	}
	marks := tx.Bucket(bucketTouched)
	if marks == nil {
		return nil
	}
	err = marks.ForEach(func(k, v []byte) error {
		key := serviceKey(k)
		return putUsage(tx, key, usage{counted[key], naming.Revision(number(v))})
	})
	if err != nil {
		return err
	}
	return tx.DeleteBucket(bucketTouched)
}

// count counts what belongs to each service, object by object.
func count(tx *bolt.Tx) (map[naming.ServiceKey]naming.Usage, error) {
	out := map[naming.ServiceKey]naming.Usage{}
	for _, kind := range []naming.Kind{naming.KindService, naming.KindInstance} {
		err := tx.Bucket(buckets[kind]).ForEach(func(k, v []byte) error {
			o, err := codec.Decode(kind, v, nil)
			if err != nil {
				return fmt.Errorf("%s %q cannot be read: %w", kind, k, err)
			}
			if key, add, ok := naming.UsageOf(&naming.Change{After: o}); ok {
				out[key] = out[key].Add(add)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
