package testenv

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"syscall"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver that answers when the server is up
)

// startTime bounds the start of a server on a busy machine.
const startTime = 90 * time.Second

// MariaDB is a running server with an empty data directory of its own.
type MariaDB struct {
	Port int
	cmd  *exec.Cmd
	dir  string
	done chan error
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
	common := []string{"--no-defaults", "--datadir=" + data, "--user=" + me.Username}
	install := append(common, "--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=16M")
	out, err := exec.CommandContext(ctx, "mariadb-install-db", install...).CombinedOutput() //nolint:gosec // arguments of ours
	if err != nil {
		return nil, fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	args := append(common, "--socket="+filepath.Join(dir, "sock"), "--pid-file="+filepath.Join(dir, "pid"), "--bind-address=127.0.0.1",
		fmt.Sprint("--port=", port), "--skip-name-resolve", "--innodb-buffer-pool-size=128M", "--innodb-log-file-size=16M", "--max-connections=400",
		"--innodb-fast-shutdown=2")
	m := &MariaDB{Port: port, dir: dir, done: make(chan error, 1), cmd: exec.Command("mariadbd", append(args, options...)...)} //nolint:gosec // arguments of a test
	log := &bytes.Buffer{}
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { m.done <- m.cmd.Wait() }()
	if err := m.ready(ctx); err != nil {
		_ = m.cmd.Process.Kill() // it may have ended itself
		err = errors.Join(err, <-m.done)
		return nil, fmt.Errorf("mariadbd: %w: %s", err, log)
	}
	return m, nil
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// ready waits until the server answers.
func (m *MariaDB) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	db, err := sql.Open("mysql", m.DSN("mysql"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case ended := <-m.done:
			m.done <- ended
			return fmt.Errorf("it ended: %w", ended)
		case <-ctx.Done():
			return err
		}
	}
}

// DSN is the data source name of one of its databases.
func (m *MariaDB) DSN(database string) string {
	return fmt.Sprintf("root@tcp(127.0.0.1:%d)/%s", m.Port, database)
}

// Freeze stops the server in its tracks, and returns when all of its threads
// stand: it accepts connections and answers nothing.
func (m *MariaDB) Freeze(ctx context.Context) error {
	if err := m.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if standing, err := m.standing(); standing || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// standing reports whether no thread of the server runs (proc(5), task/*/stat).
func (m *MariaDB) standing() (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", m.cmd.Process.Pid))
	if err != nil {
		return false, err
	}
	for _, path := range threads {
		stat, err := os.ReadFile(path) //nolint:gosec // of the kernel
		if err != nil {
			continue // the thread ended
		}
		if at := bytes.LastIndexByte(stat, ')'); at < 0 || at+2 >= len(stat) || stat[at+2] != 'T' {
			return false, nil
		}
	}
	return true, nil
}

// Thaw lets a frozen server go on.
func (m *MariaDB) Thaw() error { return m.cmd.Process.Signal(syscall.SIGCONT) }

// Stop kills the server and removes its data.
func (m *MariaDB) Stop() error {
	kill := m.cmd.Process.Kill() // nothing of it is needed any more
	if ended := <-m.done; ended == nil {
		kill = nil // it was gone
	}
	return errors.Join(kill, os.RemoveAll(m.dir))
}
