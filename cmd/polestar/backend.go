package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/store"
	"polestar/store/bolt"
	"polestar/store/mysql"
	"polestar/store/snapshot"
)

// The backends by their names in the configuration.
const (
	backendBolt  = "bolt"
	backendMySQL = "mysql"
)

// snapshotFile is the last known world, in the data directory.
const snapshotFile = "world.snapshot"

// late is a store that may not be there yet: of a server that started while
// its database was away.
type late struct {
	at atomic.Pointer[store.Store]
}

func (l *late) set(s store.Store) { l.at.Store(&s) }

// get returns the store, or the error that everything answers without one.
func (l *late) get() (store.Store, error) {
	if s := l.at.Load(); s != nil {
		return *s, nil
	}
	return nil, &naming.Error{Kind: naming.StoreFailed, Msg: "the database cannot be reached; nothing was done"}
}

// Apply implements store.Writer.
func (l *late) Apply(ctx context.Context, writes []naming.Write) (naming.Commit, []naming.Result, error) {
	s, err := l.get()
	if err != nil {
		return naming.Commit{}, nil, err
	}
	return s.Apply(ctx, writes)
}

// Load implements store.Loader.
func (l *late) Load(ctx context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
	s, err := l.get()
	if err != nil {
		return 0, err
	}
	return s.Load(ctx, visit, touched)
}

// Scan implements store.Scanner.
func (l *late) Scan(ctx context.Context, at func(naming.Revision) error, visit func(naming.Object) error) error {
	s, err := l.get()
	if err != nil {
		return err
	}
	return s.(store.Scanner).Scan(ctx, at, visit) // only shared backends are compared
}

// Since implements store.Feed.
func (l *late) Since(ctx context.Context, after naming.Revision, limit int) ([]naming.Commit, error) {
	s, err := l.get()
	if err != nil {
		return nil, err
	}
	return s.Since(ctx, after, limit)
}

// Tail implements store.Feed.
func (l *late) Tail(ctx context.Context, after naming.Revision, limit int) (naming.Tail, error) {
	s, err := l.get()
	if err != nil {
		return naming.Tail{}, err
	}
	return s.Tail(ctx, after, limit)
}

// Sync implements store.Feed.
func (l *late) Sync(ctx context.Context) (naming.Revision, error) {
	s, err := l.get()
	if err != nil {
		return 0, err
	}
	return s.Sync(ctx)
}

// Before implements store.Feed.
func (l *late) Before(ctx context.Context, before naming.Revision, limit int) ([]naming.Commit, error) {
	s, err := l.get()
	if err != nil {
		return nil, err
	}
	return s.Before(ctx, before, limit)
}

// Oldest implements store.Feed.
func (l *late) Oldest(ctx context.Context) (naming.Revision, error) {
	s, err := l.get()
	if err != nil {
		return 0, err
	}
	return s.Oldest(ctx)
}

// Restore implements store.Restorer.
func (l *late) Restore(ctx context.Context, load store.LoadFunc) error {
	s, err := l.get()
	if err != nil {
		return err
	}
	return s.Restore(ctx, load)
}

// Head implements store.Store.
func (l *late) Head(ctx context.Context) (naming.Revision, error) {
	s, err := l.get()
	if err != nil {
		return 0, err
	}
	return s.Head(ctx)
}

// Check implements store.Store.
func (l *late) Check(ctx context.Context, report func(string)) error {
	s, err := l.get()
	if err != nil {
		return err
	}
	return s.Check(ctx, report)
}

// Announce implements store.Members.
func (l *late) Announce(ctx context.Context, m naming.Member) ([]naming.Member, error) {
	s, err := l.get()
	if err != nil {
		return nil, err
	}
	return s.(store.Members).Announce(ctx, m) // only shared backends have a cluster
}

// Remove implements store.Members.
func (l *late) Remove(ctx context.Context, m naming.Member) error {
	s, err := l.get()
	if err != nil {
		return err
	}
	return s.(store.Members).Remove(ctx, m)
}

// Lead implements store.Elections.
func (l *late) Lead(ctx context.Context, duty, server string, term time.Duration) (naming.Leader, error) {
	s, err := l.get()
	if err != nil {
		return naming.Leader{}, err
	}
	return s.(store.Elections).Lead(ctx, duty, server, term)
}

// Resign implements store.Elections.
func (l *late) Resign(ctx context.Context, leader naming.Leader) error {
	s, err := l.get()
	if err != nil {
		return err
	}
	return s.(store.Elections).Resign(ctx, leader)
}

// Purgeable implements store.Purger.
func (l *late) Purgeable(ctx context.Context, age time.Duration) (int, error) {
	s, err := l.get()
	if err != nil {
		return 0, err
	}
	return s.(store.Purger).Purgeable(ctx, age)
}

// Purge implements store.Purger.
func (l *late) Purge(ctx context.Context, by naming.Fence, age time.Duration, limit int) (int, error) {
	s, err := l.get()
	if err != nil {
		return 0, err
	}
	return s.(store.Purger).Purge(ctx, by, age, limit)
}

// Close implements store.Store.
func (l *late) Close() error {
	if s, err := l.get(); err == nil {
		return s.Close()
	}
	return nil
}

var (
	_ store.Store     = (*late)(nil)
	_ store.Members   = (*late)(nil)
	_ store.Scanner   = (*late)(nil)
	_ store.Elections = (*late)(nil)
	_ store.Purger    = (*late)(nil)
)

// openStore opens the configured backend.
func (a *app) openStore(ctx context.Context) error {
	if a.cfg.Store == backendBolt {
		s, err := bolt.Open(bolt.Config{Dir: a.cfg.DataDir, Log: a.cfg.Log})
		if err == nil {
			a.store.set(s)
		}
		return err
	}
	return a.openMySQL(ctx)
}

func (a *app) openMySQL(ctx context.Context) error {
	cfg := a.cfg.MySQL
	cfg.Log = a.cfg.Log
	cfg.Moved = func(host string) {
		a.log.Warn("another host of the database is used from now on", zap.String("host", host))
	}
	s, err := mysql.Open(ctx, cfg)
	if err == nil {
		a.store.set(s)
		a.log.Info("the database is open", zap.String("host", s.Host()))
	}
	return err
}

// host is that of the database in use; empty while there is none.
func (l *late) host() string {
	s, err := l.get()
	if at, shared := s.(interface{ Host() string }); err == nil && shared {
		return at.Host()
	}
	return ""
}

// hostCollector shows which host of the database is used, read when asked.
type hostCollector struct{ store *late }

var descHost = prometheus.NewDesc("polestar_database_host", "1 for the host of the database that this server uses.", []string{"host"}, nil)

// Describe implements prometheus.Collector.
func (hostCollector) Describe(ch chan<- *prometheus.Desc) { ch <- descHost }

// Collect implements prometheus.Collector.
func (h hostCollector) Collect(ch chan<- prometheus.Metric) {
	if host := h.store.host(); host != "" {
		ch <- prometheus.MustNewConstMetric(descHost, prometheus.GaugeValue, 1, host)
	}
}

// load fills the registry from the store, or, while that is away, from the
// last snapshot.
func (a *app) load(ctx context.Context) error {
	err := a.openStore(ctx)
	if err == nil {
		if err = load(ctx, &a.store, a.registry); err != nil {
			_ = a.store.Close() // the load's error says more
		}
		return err
	}
	if !errors.Is(err, mysql.ErrUnreachable) {
		return err
	}
	l := a.registry.Load()
	head, snapErr := snapshot.Load(a.snapshotPath(), l.Add, l.Touched)
	if errors.Is(snapErr, fs.ErrNotExist) {
		return err
	}
	if snapErr == nil {
		snapErr = l.Publish(head)
	}
	if snapErr != nil {
		return errors.Join(err, snapErr)
	}
	a.stale.Store(true)
	a.log.Error("the database cannot be reached; this server starts with the world that it knew last and takes no writes",
		zap.Uint64("revision", uint64(head)), zap.Error(err))
	return nil
}

func (a *app) snapshotPath() string { return filepath.Join(a.cfg.DataDir, snapshotFile) }

// reach connects to a database that was away at the start, however long that
// takes.
func (a *app) reach(ctx context.Context) error {
	if !a.stale.Load() {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, missing := a.store.get(); missing != nil { // else it was opened, and could not be read then
			if err := a.openMySQL(ctx); err != nil {
				a.log.Debug("the database still cannot be reached", zap.Error(err))
				continue
			}
		}
		head, err := a.store.Sync(ctx)
		if err != nil {
			a.log.Debug("the database cannot be read", zap.Error(err))
			continue
		}
		a.follower.Hint(head)
		a.stale.Store(false)
		a.log.Info("the database is back")
		<-ctx.Done()
		return nil
	}
}

// snapshotEvery is how often a world that changed is written to its file.
const snapshotEvery = 30 * time.Second

// keep writes the world to the snapshot file, from time to time and at the end.
func (a *app) keep(ctx context.Context) error {
	tick := time.NewTicker(snapshotEvery)
	defer tick.Stop()
	var written naming.Revision
	var loads uint64 // of the world that was written: what is healed keeps its revision
	write := func() {
		w := a.registry.World()
		if w.Revision() == written && w.Loads() == loads {
			return
		}
		if err := snapshot.Write(a.snapshotPath(), w); err != nil {
			a.log.Warn("the last known world could not be written", zap.Error(err))
			return
		}
		written, loads = w.Revision(), w.Loads()
	}
	write()
	for {
		select {
		case <-ctx.Done():
			write()
			return nil
		case <-tick.C:
			write()
		}
	}
}

// database is what readiness says of the store.
func (a *app) database() string {
	if away := a.cutOff(); away != "" {
		return away
	}
	return "the host in use is " + a.store.host()
}

// cutOff says since when the store is away; empty when it is there.
func (a *app) cutOff() string {
	if a.stale.Load() {
		return "the database has been away since the start; what is served is the world known last, and writes are refused"
	}
	if since := a.follower.CutOff(); !since.IsZero() {
		return fmt.Sprintf("the database cannot be read since %s; what is served is as of revision %d, and writes are refused",
			since.UTC().Format(time.RFC3339), a.registry.World().Revision())
	}
	return ""
}
