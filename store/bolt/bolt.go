package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"polestar/naming"
	"polestar/store"
	"polestar/store/codec"
)

// Format is the version of the file's layout that this program writes. It
// reads this version and all earlier ones.
const Format = 3

// File is the name of the store file in the data directory.
const File = "polestar.db"

// The buckets.
var (
	bucketMeta    = []byte("meta")
	bucketUsage   = []byte("usage")   // service key → storepb.Usage
	bucketTouched = []byte("touched") // until format 1: service key → revision
	bucketLog     = []byte("log")     // revision → codec.EncodeCommit
	buckets       = map[naming.Kind][]byte{
		naming.KindNamespace: []byte("namespace"),
		naming.KindService:   []byte("service"),
		naming.KindInstance:  []byte("instance"),
		naming.KindClient:    []byte("client"),
		naming.KindContract:  []byte("contract"),
		naming.KindOverride:  []byte("override"),
		naming.KindUser:      []byte("user"),
		naming.KindGroup:     []byte("group"),
		naming.KindToken:     []byte("token"),
		naming.KindPolicy:    []byte("policy"),
	}
)

// The keys of the meta bucket; values are 8 bytes, big endian.
var (
	metaFormat   = []byte("format")
	metaHead     = []byte("head")
	metaLogBytes = []byte("log-bytes")
	metaLogFrom  = []byte("log-from") // revision of a restored world: the log begins after it
)

// trimPerCommit bounds how many old log records one commit removes, so that no
// commit pays for many.
const trimPerCommit = 4

// Writers is how many transactions can write at once: bbolt has one writer.
const Writers = 1

// lockWait is how long Open waits for another process to let go of the file.
const lockWait = time.Second

// Config of the store.
type Config struct {
	Dir string // the data directory; created with mode 0700 when missing
	Log store.LogBounds
}

// Store is an open file.
type Store struct {
	db     *bolt.DB
	bounds store.LogBounds
	// broken is set when a commit failed so that memory and disk may differ.
	broken atomic.Pointer[naming.Error]
}

var _ store.Store = (*Store)(nil)

// Open opens or creates the file. It fails at once, with a text that says what
// to do, when another process has it open, when a newer program wrote it, or
// when the directory cannot be used.
func Open(cfg Config) (*Store, error) {
	if err := cfg.Log.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be created: %w", cfg.Dir, err)
	}
	path := filepath.Join(cfg.Dir, File)
	fresh, err := checkWhole(path)
	if err != nil {
		return nil, openError(path, err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         lockWait,
		NoFreelistSync:  true, // rebuilt at start; a commit writes fewer pages
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: 1 << 30, // address space, not memory: growing later stops writers
	})
	if err != nil {
		if fresh && !errors.Is(err, berrors.ErrTimeout) {
			_ = os.Remove(path) // half made, as on a full disk: the next start begins anew
		}
		return nil, openError(path, err)
	}
	s := &Store{db: db, bounds: cfg.Log}
	if err := s.prepare(path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// openError says what is wrong with the file and names it.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("store file %s is in use: another server has it open", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("store file %s cannot be opened for writing: %w", path, err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch),
		errors.Is(err, berrors.ErrChecksum), errors.Is(err, errTruncated), errors.Is(err, errEmpty), errors.Is(err, errPages):
		return fmt.Errorf("store file %s is damaged or no Polestar store: %w", path, err)
	default:
		return fmt.Errorf("store file %s cannot be opened: %w", path, err)
	}
}

// prepare makes the buckets of a new file and checks the format of an old one.
func (s *Store) prepare(path string) error {
	var format uint64
	err := s.db.View(func(tx *bolt.Tx) error {
		if meta := tx.Bucket(bucketMeta); meta != nil {
			format = number(meta.Get(metaFormat))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if format > Format {
		return fmt.Errorf("store file %s has format %d, written by a newer program; this one reads up to format %d",
			path, format, Format)
	}
	if format == Format {
		return nil
	}
	return s.db.Update(func(tx *bolt.Tx) error { return migrate(tx, format) })
}

func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func bytes8(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// view implements naming.View inside a transaction.
type view struct{ tx *bolt.Tx }

func get[T naming.Object](v view, kind naming.Kind, key string) (T, error) {
	var none T
	record := v.tx.Bucket(buckets[kind]).Get([]byte(key))
	if record == nil {
		return none, nil
	}
	o, err := codec.Decode(kind, record, nil)
	if err != nil {
		return none, fmt.Errorf("%s %q: %w", kind, key, err)
	}
	return o.(T), nil
}

func (v view) Namespace(name string) (*naming.Namespace, error) {
	return get[*naming.Namespace](v, naming.KindNamespace, name)
}

func (v view) Service(key naming.ServiceKey) (*naming.Service, error) {
	return get[*naming.Service](v, naming.KindService, key.StoreKey())
}

func (v view) Instance(id string) (*naming.Instance, error) {
	return get[*naming.Instance](v, naming.KindInstance, id)
}

func (v view) Client(id string) (*naming.Client, error) {
	return get[*naming.Client](v, naming.KindClient, id)
}

func (v view) Contract(key naming.ServiceKey, id string) (*naming.Contract, error) {
	return get[*naming.Contract](v, naming.KindContract, naming.ContractKey(key, id))
}

func (v view) Override(instanceID string) (*naming.Override, error) {
	return get[*naming.Override](v, naming.KindOverride, instanceID)
}

func (v view) Usage(key naming.ServiceKey) (naming.Usage, error) {
	u, err := usageOf(v.tx, key)
	return u.Usage, err
}

func (v view) ServicesIn(namespace string, visit func(naming.ServiceKey) bool) error {
	prefix := []byte(naming.ServiceKey{Namespace: namespace}.StoreKey())
	c := v.tx.Bucket(buckets[naming.KindService]).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if !visit(serviceKey(k)) {
			break
		}
	}
	return nil
}

func (v view) ContractsOf(key naming.ServiceKey, visit func(*naming.Contract)) error {
	prefix := []byte(naming.ContractKey(key, ""))
	c := v.tx.Bucket(buckets[naming.KindContract]).Cursor()
	for k, record := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, record = c.Next() {
		o, err := codec.Decode(naming.KindContract, record, nil)
		if err != nil {
			return fmt.Errorf("contract %q: %w", k, err)
		}
		visit(o.(*naming.Contract))
	}
	return nil
}

// Epoch is 0 for ever: one server has no duties to share.
func (v view) Epoch(string) (uint64, error) { return 0, nil }

func (v view) Access(visit func(naming.Object)) error {
	for _, kind := range naming.Kinds() {
		if !kind.Access() {
			continue
		}
		err := v.tx.Bucket(buckets[kind]).ForEach(func(k, record []byte) error {
			o, err := codec.Decode(kind, record, nil)
			if err != nil {
				return fmt.Errorf("%s %q: %w", kind, k, err)
			}
			visit(o)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Head implements store.Store.
func (s *Store) Head(context.Context) (head naming.Revision, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		head = headOf(tx)
		return nil
	})
	return head, err
}

func headOf(tx *bolt.Tx) naming.Revision {
	return naming.Revision(number(tx.Bucket(bucketMeta).Get(metaHead)))
}

// Backup writes a consistent copy of the whole file, while the store goes on.
func (s *Store) Backup(ctx context.Context, w io.Writer) (n int64, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		n, err = tx.WriteTo(ctxWriter{ctx, w})
		return err
	})
	return n, err
}

// ctxWriter ends a long copy with its caller.
type ctxWriter struct {
	ctx context.Context //nolint:containedctx // the writer lives as long as the one call
	w   io.Writer
}

func (c ctxWriter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.w.Write(p)
}

// Close implements store.Store.
func (s *Store) Close() error { return s.db.Close() }
