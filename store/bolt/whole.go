package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// What can be wrong with a file that bbolt would trust.
var (
	// errEmpty: a store that was emptied must not be taken for a new one, or a
	// server would tell everybody that nothing is registered.
	errEmpty     = errors.New("the file is empty: restore a backup, or remove it to begin with an empty store")
	errTruncated = errors.New("the file is cut short")
	errPages     = errors.New("its pages cannot be read")
)

// checkWhole looks at an existing file before it is opened for writing: bbolt
// maps it, and would end the process with SIGBUS or a panic in a goroutine of
// its own at the first page that is missing or overwritten. It reports whether
// there is no file yet.
func checkWhole(path string) (fresh bool, err error) {
	if _, err = os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait, ReadOnly: true})
	if err != nil {
		if info, statErr := os.Stat(path); statErr == nil && info.Size() == 0 && !errors.Is(err, berrors.ErrTimeout) {
			err = errEmpty
		}
		return false, err
	}
	err = db.View(func(tx *bolt.Tx) error {
		// Asked after the lock: another server may have been growing it before.
		info, statErr := os.Stat(path)
		if statErr != nil {
			return statErr
		}
		if info.Size() < tx.Size() {
			return fmt.Errorf("%w: it has %d bytes of at least %d", errTruncated, info.Size(), tx.Size())
		}
		return walk(tx)
	})
	return false, errors.Join(err, db.Close())
}

// walk reads every page that is in use, as bbolt does right after, when it
// looks for the free ones, but turns a panic into an error.
func walk(tx *bolt.Tx) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // pages may point outside of the file
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPages, p)
		}
	}()
	var read byte
	defer func() { runtime.KeepAlive(read) }() // or nothing would be read
	return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		var before []byte
		return b.ForEach(func(k, v []byte) error {
			if before != nil && bytes.Compare(before, k) >= 0 {
				return fmt.Errorf("%w: the keys of %q are not in order", errPages, name)
			}
			if len(v) > 0 {
				read ^= v[len(v)-1] // a fault here is caught, one in Load would not be
			}
			before = k
			return nil
		})
	})
}
