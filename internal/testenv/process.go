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
	"path/filepath"
	"syscall"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver that answers when the server is up
)

// process is a child that ends with the test, whatever ends that.
type process struct {
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan error // buffered 1: how it ended
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, log: &bytes.Buffer{}, done: make(chan error, 1)}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.done <- cmd.Wait() }()
	return p, nil
}

// end kills the process and waits for its end.
func (p *process) end() error {
	kill := p.cmd.Process.Kill()
	ended := <-p.done
	p.done <- ended // it may be ended again
	if ended == nil || errors.Is(kill, os.ErrProcessDone) {
		kill = nil // it was gone
	}
	return kill
}

// poll calls f every 50 ms until it returns nil, the process ends or ctx does.
func (p *process) poll(ctx context.Context, f func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case ended := <-p.done:
			p.done <- ended
			return fmt.Errorf("it ended: %w", errors.Join(err, ended))
		case <-ctx.Done():
			return err
		}
	}
}

// ready waits until a database answers a query for which ok is true.
func (p *process) ready(ctx context.Context, dsn, query string, ok func(name, value string) bool) error {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return p.poll(ctx, func() error {
		var name, value string
		if err := db.QueryRowContext(ctx, query).Scan(&name, &value); err != nil {
			return err
		}
		if !ok(name, value) {
			return fmt.Errorf("%s is %s", name, value)
		}
		return nil
	})
}

// Freeze stops the server in its tracks, and returns when all of its threads
// stand: it accepts connections and answers nothing.
func (p *process) Freeze(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if standing, err := p.standing(); standing || err != nil {
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
func (p *process) standing() (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
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
func (p *process) Thaw() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// freeAddr is an address of a host that nobody listens on.
func freeAddr(ctx context.Context, host string) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
