package cmdb

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
)

// maxBytes of one file.
const maxBytes = 32 << 20

// interval between two looks at the file.
const interval = 2 * time.Second

// Inventory answers from the newest file that could be used.
type Inventory struct {
	path  string
	log   *zap.Logger
	meter meter
	table atomic.Pointer[table]

	// The goroutine of Load, then that of Run.
	seen    fs.FileInfo       // of the file that was read last; nil: it could not be
	settled bool              // that was old enough: no later change has the same time
	digest  [sha256.Size]byte // of what is in force
	said    string            // the last error that was logged
}

// New makes an inventory of the file at path. It locates nobody before
// [Inventory.Load].
func New(path string, metrics prometheus.Registerer, log *zap.Logger) (*Inventory, error) {
	i := &Inventory{path: path, log: log, meter: newMeter()}
	i.table.Store(newTable())
	return i, i.meter.register(metrics)
}

// Locate implements naming.Locator: the location of the longest range that
// holds an address, the zero Location for any other text.
func (i *Inventory) Locate(ip string) naming.Location {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return naming.Location{}
	}
	return i.table.Load().find(a.Unmap().WithZone(""))
}

// Load reads the file for the first time. An error names the file, the line and
// the bound.
func (i *Inventory) Load(context.Context) error {
	_, err := i.read()
	return err
}

// Run reads the file again whenever it changes, until ctx ends.
func (i *Inventory) Run(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			i.look()
		}
	}
}

// look reads the file if it may have changed.
func (i *Inventory) look() {
	if info, err := os.Stat(i.path); err == nil && i.settled && i.seen != nil && same(info, i.seen) {
		return
	}
	changed, err := i.read()
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case err != nil && text != i.said:
		i.log.Error("the cmdb file cannot be used; what was read before stays in force", zap.Error(err))
	case err == nil && (changed || i.said != ""):
		i.log.Info("the cmdb file was read", zap.String("file", i.path), zap.Int("ranges", len(i.table.Load().byRange)))
	}
	i.said = text
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// read puts the file in force and reports whether it differs from before.
func (i *Inventory) read() (changed bool, err error) {
	defer func() { i.meter.read(err) }()
	i.seen = nil
	content, info, err := slurp(i.path)
	if err != nil {
		return false, fmt.Errorf("cmdb-file: %w", err)
	}
	i.seen, i.settled = info, time.Since(info.ModTime()).Abs() > interval
	digest := sha256.Sum256(content)
	if digest == i.digest {
		return false, nil
	}
	t, err := parse(i.path, content)
	if err != nil {
		return false, fmt.Errorf("cmdb-file %s: %w", i.path, err)
	}
	i.table.Store(t)
	i.digest = digest
	i.meter.ranges.Set(float64(len(t.byRange)))
	return true, nil
}

// slurp reads a regular file of at most maxBytes.
func slurp(path string) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe would wait for its writer
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path) //nolint:gosec // named by whoever starts the server
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(content) > maxBytes {
		err = fmt.Errorf("%s has more than %d bytes", path, maxBytes)
	}
	return content, info, err
}
