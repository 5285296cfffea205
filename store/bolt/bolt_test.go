package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"polestar/naming"
	"polestar/store"
	"polestar/store/codec"
	"polestar/store/storetest"
)

func open(t testing.TB, dir string, b store.LogBounds) store.Store {
	t.Helper()
	s, err := Open(Config{Dir: dir, Log: b})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) { storetest.Run(t, open, storetest.Caps{}) }

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string) string // returns the directory to open
		want    string
	}{
		"another server has it open": {func(t *testing.T, dir string) string {
			s := open(t, dir, store.DefaultLogBounds())
			t.Cleanup(func() { _ = s.Close() })
			return dir
		}, "another server has it open"},
		"the directory is a file": {func(t *testing.T, dir string) string {
			file := filepath.Join(dir, "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return file
		}, "cannot be created"},
		"not a store": {func(t *testing.T, dir string) string {
			if err := os.WriteFile(filepath.Join(dir, File), []byte(strings.Repeat("no store ", 4096)), 0o600); err != nil {
				t.Fatal(err)
			}
			return dir
		}, "damaged or no Polestar store"},
		"its end is missing":    {func(t *testing.T, dir string) string { return cut(t, dir, 64<<10) }, "cut short"},
		"only its head is left": {func(t *testing.T, dir string) string { return cut(t, dir, 100) }, "damaged or no Polestar store"},
		"it was emptied":        {func(t *testing.T, dir string) string { return cut(t, dir, 0) }, "the file is empty"},
		"its middle is zero":    {func(t *testing.T, dir string) string { return overwrite(t, dir, 0) }, "damaged or no Polestar store"},
		"its middle is junk":    {func(t *testing.T, dir string) string { return overwrite(t, dir, 0xa5) }, "damaged or no Polestar store"},
		"a newer program wrote it": {func(t *testing.T, dir string) string {
			s := open(t, dir, store.DefaultLogBounds()).(*Store)
			err := s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaFormat, bytes8(Format+1)) })
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
			return dir
		}, "written by a newer program"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := c.prepare(t, t.TempDir())
			s, err := Open(Config{Dir: dir, Log: store.DefaultLogBounds()})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %q, want the path and %q", err, c.want)
			}
		})
	}
}

// cut fills a store in dir and cuts its file to so many bytes.
func cut(t *testing.T, dir string, bytes int64) string {
	t.Helper()
	fill(t, dir)
	if err := os.Truncate(filepath.Join(dir, File), bytes); err != nil {
		t.Fatal(err)
	}
	return dir
}

// overwrite fills a store in dir and makes all of its file but the two meta
// pages the same byte.
func overwrite(t *testing.T, dir string, with byte) string {
	t.Helper()
	fill(t, dir)
	path := filepath.Join(dir, File)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	from := int64(2 * os.Getpagesize())
	if _, err := f.WriteAt(bytes.Repeat([]byte{with}, int(info.Size()-from)), from); err != nil {
		t.Fatal(err)
	}
	return dir
}

func fill(t *testing.T, dir string) {
	t.Helper()
	s := open(t, dir, store.DefaultLogBounds())
	writes := make([]naming.Write, 500)
	for n := range writes {
		writes[n] = &naming.Register{Instance: storetest.Instance("svc", n), AutoCreate: true}
	}
	if _, _, err := s.Apply(t.Context(), writes); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Who gave up while another writer held the file gets nothing done.
func TestContextEndsWhileWaiting(t *testing.T) {
	s := open(t, t.TempDir(), store.DefaultLogBounds()).(*Store)
	defer func() { _ = s.Close() }()
	other, err := s.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error)
	go func() {
		//nolint:contextcheck // waited hands on what it was given
		_, _, err := s.Apply(waited{ctx, cancel}, []naming.Write{&naming.Register{Instance: storetest.Instance("svc", 1), AutoCreate: true}})
		answer <- err
	}()
	<-ctx.Done()
	if err := other.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; naming.KindOf(err) != naming.NotDone {
		t.Errorf("err = %v, want NotDone", err)
	}
	if head, err := s.Head(t.Context()); head != 0 || err != nil {
		t.Errorf("head = %d, %v", head, err)
	}
}

// waited is a context that ends right after it was first asked.
type waited struct {
	context.Context //nolint:containedctx // it is a context
	end             func()
}

func (w waited) Err() error {
	defer w.end()
	return w.Context.Err()
}

// A panic while a group is decided undoes it and leaves the store in use.
func TestPanicRollsBack(t *testing.T) {
	s := open(t, t.TempDir(), store.DefaultLogBounds())
	defer func() { _ = s.Close() }()
	good := &naming.Register{Instance: storetest.Instance("svc", 1), AutoCreate: true}
	if _, _, err := s.Apply(t.Context(), []naming.Write{good, (*naming.Register)(nil)}); naming.KindOf(err) != naming.Internal {
		t.Errorf("err = %v, want one of kind Internal", err)
	}
	if head, err := s.Head(t.Context()); head != 0 || err != nil {
		t.Errorf("head = %d, %v after the panic", head, err)
	}
	if c, _, err := s.Apply(t.Context(), []naming.Write{good}); err != nil || c.Revision != 1 || len(c.Changes) != 3 {
		t.Errorf("the next write: %+v, %v; want revision 1 with all three objects", c, err)
	}
}

// After a commit of which the file shows something and the disk perhaps not,
// nothing is written until the file is opened anew; one that left no trace
// costs nothing.
func TestFailedCommits(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.DefaultLogBounds()).(*Store)
	group := func(n int) []naming.Write {
		return []naming.Write{&naming.Register{Instance: storetest.Instance("svc", n), AutoCreate: true}}
	}
	if _, _, err := s.Apply(t.Context(), group(1)); err != nil {
		t.Fatal(err)
	}
	sync := errors.New("sync failed")
	if err := s.failedCommit(t.Context(), 2, sync); naming.KindOf(err) != naming.StoreFailed || !errors.Is(err, sync) {
		t.Errorf("no trace of it: %v, want StoreFailed", err)
	}
	if _, _, err := s.Apply(t.Context(), group(2)); err != nil {
		t.Errorf("the write after it: %v", err)
	}
	if err := s.failedCommit(t.Context(), 2, sync); naming.KindOf(err) != naming.OutcomeUnknown || !errors.Is(err, sync) {
		t.Errorf("the file shows it: %v, want OutcomeUnknown", err)
	}
	if _, _, err := s.Apply(t.Context(), group(3)); naming.KindOf(err) != naming.StoreFailed {
		t.Errorf("the write after it: %v, want StoreFailed", err)
	}
	if head, err := s.Head(t.Context()); head != 2 || err != nil {
		t.Errorf("head = %d, %v; reads must go on", head, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, store.DefaultLogBounds())
	defer func() { _ = again.Close() }()
	if c, _, err := again.Apply(t.Context(), group(3)); err != nil || c.Revision != 3 {
		t.Errorf("opened anew: revision %d, %v", c.Revision, err)
	}
}

// A file of format 1, which marked services and counted nothing, is brought up
// when it is opened.
func TestFormat1IsMigrated(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.DefaultLogBounds()).(*Store)
	a, b := storetest.Instance("svc", 1), storetest.Instance("svc", 2)
	for _, i := range []naming.Instance{a, b} {
		if _, _, err := s.Apply(t.Context(), []naming.Write{&naming.Register{Instance: i, AutoCreate: true}}); err != nil {
			t.Fatal(err)
		}
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		marks, err := tx.CreateBucket(bucketTouched)
		if err != nil {
			return err
		}
		return errors.Join(marks.Put([]byte(a.Service.StoreKey()), bytes8(2)), tx.DeleteBucket(bucketUsage),
			tx.DeleteBucket(buckets[naming.KindContract]), tx.DeleteBucket(buckets[naming.KindOverride]),
			tx.Bucket(bucketMeta).Put(metaFormat, bytes8(1)))
	})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, store.DefaultLogBounds()).(*Store)
	defer func() { _ = s.Close() }()
	if err = s.Check(t.Context(), func(p string) { t.Error(p) }); err != nil {
		t.Fatal(err)
	}
	_, results, err := s.Apply(t.Context(), []naming.Write{&naming.DeleteService{Key: a.Service}})
	if err != nil || naming.KindOf(results[0].Err) != naming.Conflict || !strings.Contains(results[0].Err.Error(), "2 instances") {
		t.Errorf("deleting a service in use: %v, %v", results[0].Err, err)
	}
}

// A file of format 2 knows nothing of who may do what.
func TestFormat2IsMigrated(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.DefaultLogBounds()).(*Store)
	a := storetest.Instance("svc", 1)
	if _, _, err := s.Apply(t.Context(), []naming.Write{&naming.Register{Instance: a, AutoCreate: true}}); err != nil {
		t.Fatal(err)
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		for _, kind := range naming.Kinds() {
			if kind.Access() {
				if err := tx.DeleteBucket(buckets[kind]); err != nil {
					return err
				}
			}
		}
		return tx.Bucket(bucketMeta).Put(metaFormat, bytes8(2))
	})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, store.DefaultLogBounds()).(*Store)
	defer func() { _ = s.Close() }()
	boot := &naming.Bootstrap{UserID: "u", Name: "root", TokenID: "t", Hash: "h"}
	if _, rs, bad := s.Apply(t.Context(), []naming.Write{boot}); bad != nil || rs[0].Outcome != naming.Created || rs[0].Revision != 2 {
		t.Errorf("bootstrap: %+v, %v", rs, bad)
	}
	if err = s.Check(t.Context(), func(p string) { t.Error(p) }); err != nil {
		t.Fatal(err)
	}
}

// What is said of who may do what must fit together.
func TestCheckLooksAtAccess(t *testing.T) {
	s := open(t, t.TempDir(), store.DefaultLogBounds()).(*Store)
	defer func() { _ = s.Close() }()
	err := s.db.Update(func(tx *bolt.Tx) error {
		for _, o := range []naming.Object{
			&naming.User{ID: "u1", Name: "ann", Identities: []string{"x"}}, &naming.User{ID: "u2", Name: "ann", Identities: []string{"x"}, Main: true, Disabled: true},
			&naming.Group{ID: "g1", Name: "ops", Members: []string{"u3"}},
			&naming.Token{ID: "t1", Owner: "u4", Hash: "h"}, &naming.Token{ID: "t2", Owner: "u1", Hash: "h"},
			&naming.Policy{ID: "u5", Name: "p", Default: true, Users: []string{"u5"}}, &naming.Policy{ID: "u1", Name: "q", Default: true, Users: []string{"u1"}},
		} {
			record, err := codec.Encode(o)
			if err != nil {
				return err
			}
			if err := tx.Bucket(buckets[o.ObjectKind()]).Put([]byte(o.ObjectKey()), record); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := s.Check(t.Context(), func(p string) { got = append(got, p) }); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"user u1 and user u2 have the same name of a user",
		"user u1 and user u2 have the same identity",
		"user u2 has no default policy",
		"no user that is not disabled is a main user",
		"group g1 has no default policy",
		"group g1 has the member u3, who does not exist",
		"token t1 belongs to u4, which is neither a user nor a group",
		"token t1 and token t2 have the same hash",
		"default policy u5 is of nobody",
		`policy u5: users: there is no user with id "u5"`,
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("Check did not report %q:\n%s", w, strings.Join(got, "\n"))
		}
	}
}

func TestCheckFindsDamage(t *testing.T) {
	s := open(t, t.TempDir(), store.DefaultLogBounds()).(*Store)
	defer func() { _ = s.Close() }()
	i := storetest.Instance("svc", 1)
	if _, _, err := s.Apply(t.Context(), []naming.Write{&naming.Register{Instance: i, AutoCreate: true}}); err != nil {
		t.Fatal(err)
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		if err := tx.Bucket(buckets[naming.KindService]).Delete([]byte(i.Service.StoreKey())); err != nil {
			return err
		}
		if err := putUsage(tx, i.Service, usage{}); err != nil {
			return err
		}
		if err := tx.Bucket(bucketLog).Delete(bytes8(1)); err != nil {
			return err
		}
		return tx.Bucket(buckets[naming.KindInstance]).Put([]byte("broken"), []byte{0xff, 0xff})
	})
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	if err := s.Check(t.Context(), func(p string) { problems = append(problems, p) }); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(problems, "\n")
	for _, want := range []string{
		"does not exist", `"broken" cannot be read`, "touched at revision 0", "said to have 0 instances", "change log ends at revision 0, the newest is 1",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("Check did not report %q: %s", want, all)
		}
	}
	if _, err := s.Since(t.Context(), 0, 10); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("Since with a log that ends too early: %v, want ErrCompacted", err)
	}
	if _, err := s.Load(t.Context(), func(naming.Object) error { return nil }, nil); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("Load of a damaged record: %v, want an error that names it", err)
	}
}

func TestBackupIsAStore(t *testing.T) {
	s := open(t, t.TempDir(), store.DefaultLogBounds()).(*Store)
	defer func() { _ = s.Close() }()
	if _, _, err := s.Apply(t.Context(), []naming.Write{&naming.Register{Instance: storetest.Instance("svc", 1), AutoCreate: true}}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	copied := open(t, dir, store.DefaultLogBounds())
	defer func() { _ = copied.Close() }()
	if head, err := copied.Head(t.Context()); head != 1 || err != nil {
		t.Errorf("head of the copy = %d, %v", head, err)
	}
}

// numbered is an instance with five pairs of metadata, one of them its own.
func numbered(service string, n int) naming.Instance {
	i := storetest.Instance(service, n)
	i.Host = fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)
	i.ID = naming.InstanceID(i.Service, "", i.Host, i.Port)
	i.Metadata = naming.NewMetadata(map[string]string{
		"version": "1.4.2", "env": "production", "idc": "eu-1", "build": fmt.Sprint(n / 100), "pod": fmt.Sprint("pod-", n),
	})
	return i
}

func BenchmarkApply(b *testing.B) {
	for _, group := range []int{1, 32, 128} {
		b.Run(fmt.Sprint("group=", group), func(b *testing.B) {
			s := open(b, b.TempDir(), store.DefaultLogBounds())
			defer func() { _ = s.Close() }()
			n := 0
			for b.Loop() {
				writes := make([]naming.Write, group)
				for k := range writes {
					i := numbered("svc", n)
					writes[k] = &naming.Register{Instance: i, AutoCreate: true}
					n++
				}
				if _, _, err := s.Apply(context.Background(), writes); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	const instances, group = 100_000, 1000
	s := open(b, b.TempDir(), store.DefaultLogBounds())
	defer func() { _ = s.Close() }()
	for first := 0; first < instances; first += group {
		writes := make([]naming.Write, group)
		for k := range writes {
			n := first + k
			i := numbered(fmt.Sprint("svc", n/100), n)
			writes[k] = &naming.Register{Instance: i, AutoCreate: true}
		}
		if _, _, err := s.Apply(context.Background(), writes); err != nil {
			b.Fatal(err)
		}
	}
	var held uint64
	for b.Loop() {
		before := heap()
		objects := make([]naming.Object, 0, instances)
		_, err := s.Load(context.Background(), func(o naming.Object) error {
			objects = append(objects, o)
			return nil
		}, func(naming.Touched) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		held = heap() - before
		runtime.KeepAlive(objects)
	}
	b.ReportMetric(float64(held)/instances, "bytes/instance")
}

// heap returns the bytes that are still in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
