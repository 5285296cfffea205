package bolt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"polestar/naming"
	"polestar/store"
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
	for _, want := range []string{"does not exist", `"broken" cannot be read`} {
		if !strings.Contains(all, want) {
			t.Errorf("Check did not report %q: %s", want, all)
		}
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
	f, err := os.Create(filepath.Join(dir, File)) //nolint:gosec // a directory of the test
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

func BenchmarkApply(b *testing.B) {
	for _, group := range []int{1, 32, 128} {
		b.Run(fmt.Sprint("group=", group), func(b *testing.B) {
			s := open(b, b.TempDir(), store.DefaultLogBounds())
			defer func() { _ = s.Close() }()
			n := 0
			for b.Loop() {
				writes := make([]naming.Write, group)
				for k := range writes {
					i := storetest.Instance("svc", n)
					i.Host = fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)
					i.ID = naming.InstanceID(i.Service, "", i.Host, i.Port)
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
