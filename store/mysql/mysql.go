package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"polestar/naming"
	"polestar/store"
)

// Config of the store.
type Config struct {
	// DSN is user:password@tcp(host:port,…)/database. The first host that takes
	// writes is used; the others are for when it fails.
	DSN string
	// Password, when it is set, is used instead of the one in DSN.
	Password string
	Timeout  time.Duration // of one commit or one reading of the log, 100 ms…1 min
	MaxConns int           // open connections at most, 2…1,000
	Log      store.LogBounds
	// Moved is told, unless it is nil, that [Store.Host] is another one now. It
	// is called while somebody waits for a connection, and must not wait.
	Moved func(host string)
}

// Default returns the bounds that fit most servers.
func Default() Config {
	return Config{Timeout: 3 * time.Second, MaxConns: 16, Log: store.DefaultLogBounds()}
}

// Validate returns an error that names the key and its bound; no text of the
// DSN is in it.
func (c Config) Validate() error {
	switch {
	case c.DSN == "":
		return errors.New("mysql.dsn: must not be empty")
	case c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute:
		return fmt.Errorf("mysql.timeout: %s is not between 100ms and 1m", c.Timeout)
	case c.MaxConns < 2 || c.MaxConns > 1000:
		return fmt.Errorf("mysql.max-conns: %d is not between 2 and 1000", c.MaxConns)
	}
	if _, err := configs(c.DSN, c.Password, c.Timeout); err != nil {
		return err
	}
	return c.Log.Validate()
}

// Store is an open database.
type Store struct {
	cfg      Config
	hosts    *connector
	db       *sql.DB
	writer   uint64        // names this open store in the log
	seq      atomic.Uint64 // of its last attempt to commit
	synced   atomic.Uint64 // the newest revision that is known to be on the disk
	lockDead time.Duration // after so long without a beat the holder of the schema's lock is dead
	silence  time.Duration // maxSilence
	end      func()        // ends what Open started
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Members   = (*Store)(nil)
	_ store.Scanner   = (*Store)(nil)
	_ store.Elections = (*Store)(nil)
	_ store.Purger    = (*Store)(nil)
)

// ErrUnreachable says that no host of the database took a connection that can
// write.
var ErrUnreachable = errors.New("mysql: the database cannot be reached")

// connectTimeout bounds the making of one connection to one host.
const connectTimeout = time.Second

// Open connects, and brings the schema up while no other server does. It fails
// when no host can be reached, and when a newer program made the schema. With
// several hosts a goroutine looks, until Close, whether a better one than the
// one in use is back.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		unreachable := elsewhere(err) || number(err) == 0 && s.db.PingContext(ctx) != nil
		_ = s.db.Close() // the reason is in err
		if unreachable {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return nil, fmt.Errorf("mysql: %w", err)
	}
	s.prefer(context.WithoutCancel(ctx), preferAfter)
	return s, nil
}

// connect makes a store that will connect when it is used.
func connect(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	hosts, err := configs(cfg.DSN, cfg.Password, min(connectTimeout, cfg.Timeout))
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, hosts: newConnector(hosts, cfg.Moved), writer: rand.Uint64() >> 1, lockDead: lockDead, silence: maxSilence} //nolint:gosec // a name, not a secret
	s.db = sql.OpenDB(s.hosts)
	s.db.SetMaxOpenConns(cfg.MaxConns)
	s.db.SetMaxIdleConns(cfg.MaxConns)
	s.db.SetConnMaxIdleTime(5 * time.Second) // below wait_timeout
	s.db.SetConnMaxLifetime(5 * time.Minute)
	return s, nil
}

// prefer starts the search for better hosts.
func (s *Store) prefer(ctx context.Context, every time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	var search sync.WaitGroup
	if len(s.hosts.hosts) > 1 {
		search.Go(func() { s.hosts.prefer(ctx, every) })
	}
	s.end = func() { cancel(); search.Wait() }
}

// Host is the address of the host in use: of the list's first before any was
// connected to.
func (s *Store) Host() string { return s.hosts.hosts[s.hosts.at.Load().host].Addr }

// Head implements store.Store.
func (s *Store) Head(ctx context.Context) (head naming.Revision, err error) {
	var r reading
	r.add("SELECT revision FROM polestar_head WHERE id = 1", func(rows *sql.Rows) error { return rows.Scan(&head) })
	return head, s.read(ctx, &r)
}

// read makes one short reading.
func (s *Store) read(ctx context.Context, r *reading) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return named(s.on(ctx, func(conn *sql.Conn) error { return r.run(ctx, conn) }))
}

// named gives the error of a reading its kind.
func named(err error) error {
	if err == nil {
		return nil
	}
	return notDone(err)
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.end()
	return s.db.Close()
}
