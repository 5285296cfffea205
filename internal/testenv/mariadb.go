package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"time"
)

// startTime bounds the start of a server on a busy machine.
const startTime = 90 * time.Second

// MariaDB is a running server with an empty data directory of its own.
type MariaDB struct {
	*process
	Addr string // where it answers
	dir  string
	args []string
}

// StartMariaDB starts a server on loopback. Further options go to mariadbd.
// The error says what to install when the programs are missing.
func StartMariaDB(ctx context.Context, options ...string) (_ *MariaDB, err error) {
	if _, err = exec.LookPath("mariadbd"); err != nil {
		return nil, fmt.Errorf("mariadbd is missing; make install installs it: %w", err)
	}
	dir, err := os.MkdirTemp("", "polestar-mariadb-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err = installDB(ctx, data, me.Username); err != nil {
		return nil, err
	}
	addr, err := freeAddr(ctx, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	args := []string{
		"--no-defaults", "--datadir=" + data, "--user=" + me.Username, "--socket=" + filepath.Join(dir, "sock"),
		"--pid-file=" + filepath.Join(dir, "pid"), "--bind-address=127.0.0.1", "--port=" + port, "--skip-name-resolve",
		"--innodb-buffer-pool-size=128M", logFileSize, "--max-connections=400", "--innodb-fast-shutdown=2",
	}
	m := &MariaDB{Addr: addr, dir: dir, args: append(args, options...)}
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// start starts the server on what is in its data directory, and returns when
// it answers.
func (m *MariaDB) start(ctx context.Context) (err error) {
	if m.process, err = startProcess(exec.Command("mariadbd", m.args...)); err != nil { //nolint:gosec // arguments of a test
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := m.ready(ctx, m.DSN("mysql"), "SELECT 'port', @@port", func(string, string) bool { return true }); err != nil {
		err = errors.Join(err, m.end())
		return fmt.Errorf("mariadbd: %w: %s", err, m.log)
	}
	return nil
}

// Crash kills the server; [MariaDB.Recover] starts it on what is on its disk.
func (m *MariaDB) Crash() error { return m.end() }

// Recover starts a server that crashed.
func (m *MariaDB) Recover(ctx context.Context) error { return m.start(ctx) }

// logFileSize is that of the redo log, the same whenever a data directory is
// opened.
const logFileSize = "--innodb-log-file-size=16M"

// installDB makes an empty data directory that belongs to a user.
func installDB(ctx context.Context, data, owner string) error {
	out, err := exec.CommandContext(ctx, "mariadb-install-db", "--no-defaults", "--datadir="+data, "--user="+owner, //nolint:gosec // arguments of ours
		"--auth-root-authentication-method=normal", "--skip-test-db", logFileSize).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	return nil
}

// DSN is the data source name of one of its databases.
func (m *MariaDB) DSN(database string) string {
	return "root@tcp(" + m.Addr + ")/" + database
}

// Stop kills the server and removes its data.
func (m *MariaDB) Stop() error {
	return errors.Join(m.end(), os.RemoveAll(m.dir)) // nothing of it is needed any more
}
