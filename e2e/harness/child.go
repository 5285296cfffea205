package harness

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Child is a driver that answers each line on its standard input with one JSON
// line.
type Child struct {
	Log    *Log
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    chan string
	exited chan struct{}

	mu    sync.Mutex // held from a line to its answer
	stuck error      // an answer that did not come
}

// NewChild starts a driver in dir, where SDKs leave files.
func NewChild(dir string, env []string, name string, args ...string) (*Child, error) {
	c := &Child{Log: &Log{}, out: make(chan string, 16), exited: make(chan struct{}), cmd: exec.Command(name, args...)}
	c.cmd.Dir = dir
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = c.Log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.exited)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			if len(lines.Bytes()) > 0 && lines.Bytes()[0] == '{' { // SDKs print other things too
				c.out <- lines.Text()
			}
		}
		_ = c.cmd.Wait()
	}()
	return c, nil
}

// StartChild starts a driver that ends with the test.
func StartChild(t testing.TB, env []string, name string, args ...string) *Child {
	t.Helper()
	c, err := NewChild(t.TempDir(), env, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	ShowOnFailure(t, name, c.Log)
	t.Cleanup(c.Kill)
	return c
}

// Kill ends the driver and its children at once.
func (c *Child) Kill() {
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	for {
		select {
		case <-c.out: // the reader must not be stuck
		case <-c.exited:
			return
		}
	}
}

// Do sends a line and reads the answer into v. An "error" in the answer is an
// error. Several goroutines may call it; their lines wait for each other. Once
// an answer did not come, no later one can be told from it: all further lines
// fail.
func (c *Child) Do(line string, v any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stuck != nil {
		return c.stuck
	}
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		return err
	}
	timer := time.NewTimer(60 * time.Second)
	defer timer.Stop()
	select {
	case text := <-c.out:
		var failed struct{ Error string }
		if err := json.Unmarshal([]byte(text), &failed); err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		if failed.Error != "" {
			return errors.New(failed.Error)
		}
		if v == nil {
			return nil
		}
		return json.Unmarshal([]byte(text), v)
	case <-c.exited:
		return errors.New("the driver ended: " + c.Log.Tail())
	case <-timer.C:
		c.stuck = fmt.Errorf("no answer to %q", line)
		return c.stuck
	}
}
