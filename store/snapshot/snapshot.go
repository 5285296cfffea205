package snapshot

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"polestar/naming"
	"polestar/store/codec"
)

// magic begins every file; its last byte is the version of the format.
var magic = []byte("polestar-world\x00\x01")

// maxRecord bounds the length of one record that is believed, in bytes.
const maxRecord = 64 << 20

// kindTouched marks a record that is no object but the revision at which a
// service was touched.
const kindTouched = 0xff

// Write writes the world to a file, replacing the one that is there.
func Write(path string, w naming.World) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	out := &writer{buf: bufio.NewWriterSize(f, 1<<20), sum: sha256.New()}
	out.bytes(magic)
	out.number(uint64(w.Revision()))
	world(w, out)
	out.number(0) // no record is empty: the end
	_, _ = out.buf.Write(out.sum.Sum(nil))
	if err = errors.Join(out.err, out.buf.Flush(), f.Sync()); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the data directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func world(w naming.World, out *writer) {
	for n := range w.Namespaces() {
		out.object(n)
	}
	for st := range w.Services("") {
		out.object(st.Service)
		mark := append([]byte(st.Service.Key.StoreKey()), 0)
		out.record(kindTouched, binary.BigEndian.AppendUint64(mark, uint64(st.Revision)))
		for _, i := range st.Instances {
			out.object(i)
		}
		for c := range w.Contracts(st.Service.Key) {
			out.object(c)
		}
	}
	for c := range w.Clients() {
		out.object(c)
	}
	for o := range w.Overrides() {
		out.object(o)
	}
	for u := range w.Users() {
		out.object(u)
	}
	for g := range w.Groups() {
		out.object(g)
	}
	for t := range w.Tokens() {
		out.object(t)
	}
	for p := range w.Policies() {
		out.object(p)
	}
}

// writer writes and sums; the first error stays.
type writer struct {
	buf *bufio.Writer
	sum hash.Hash
	err error
}

func (w *writer) bytes(b []byte) {
	if w.err == nil {
		_, _ = w.sum.Write(b) // never fails
		_, w.err = w.buf.Write(b)
	}
}

func (w *writer) number(n uint64) { w.bytes(binary.AppendUvarint(nil, n)) }

func (w *writer) record(kind byte, record []byte) {
	w.number(uint64(len(record)) + 1)
	w.bytes([]byte{kind})
	w.bytes(record)
}

func (w *writer) object(o naming.Object) {
	record, err := codec.Encode(o)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.record(byte(o.ObjectKind()), record)
}

// Load visits what a file holds, as store.Loader does. Nothing is visited of a
// damaged file: it is read twice.
func Load(path string, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
	nothing := func(naming.Object) error { return nil }
	if _, err := read(path, nothing, func(naming.Touched) error { return nil }); err != nil {
		return 0, err
	}
	return read(path, visit, touched)
}

func read(path string, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
	f, err := os.Open(path) //nolint:gosec // a file of the data directory
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	r := &reader{buf: bufio.NewReaderSize(f, 1<<20), sum: sha256.New()}
	head := make([]byte, len(magic))
	if err = r.full(head); err != nil || !bytes.Equal(head, magic) {
		return 0, fmt.Errorf("%s is no snapshot of this program", path)
	}
	rev, err := binary.ReadUvarint(r)
	for in := (codec.Interner{}); err == nil; {
		var kind byte
		var record []byte
		if kind, record, err = r.record(); err != nil || record == nil {
			break
		}
		err = hand(kind, record, in, visit, touched)
	}
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return 0, fmt.Errorf("snapshot %s: %w", path, err)
	}
	return naming.Revision(rev), nil
}

func hand(kind byte, record []byte, in codec.Interner, visit func(naming.Object) error, touched func(naming.Touched) error) error {
	if kind != kindTouched {
		o, err := codec.Decode(naming.Kind(kind), record, in)
		if err != nil {
			return err
		}
		return visit(o)
	}
	at := len(record) - 9
	if at < 0 {
		return errDamaged
	}
	ns, name, ok := bytes.Cut(record[:at], []byte{0})
	if !ok {
		return errDamaged
	}
	return touched(naming.Touched{
		Service: naming.ServiceKey{Namespace: string(ns), Name: string(name)}, Revision: naming.Revision(binary.BigEndian.Uint64(record[at+1:])),
	})
}

var errDamaged = errors.New("the file is damaged")

type reader struct {
	buf *bufio.Reader
	sum hash.Hash
}

// ReadByte implements io.ByteReader, for numbers.
func (r *reader) ReadByte() (byte, error) {
	b, err := r.buf.ReadByte()
	if err == nil {
		_, _ = r.sum.Write([]byte{b})
	}
	return b, err
}

func (r *reader) full(b []byte) error {
	_, err := io.ReadFull(r.buf, b)
	_, _ = r.sum.Write(b)
	return err
}

// record reads one; nil at the end of all.
func (r *reader) record() (kind byte, record []byte, err error) {
	n, err := binary.ReadUvarint(r)
	switch {
	case err != nil || n == 0:
		return 0, nil, err
	case n > maxRecord:
		return 0, nil, errDamaged
	}
	if kind, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	record = make([]byte, n-1)
	return kind, record, r.full(record)
}

// end compares the checksum.
func (r *reader) end() error {
	want := r.sum.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r.buf, got); err != nil || !bytes.Equal(got, want) {
		return errDamaged
	}
	return nil
}
