package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// counter passes connections on to a database and counts the requests in them.
type counter struct {
	listener net.Listener
	to       string
	requests atomic.Int64
	wg       sync.WaitGroup

	mu    sync.Mutex // guards everything below
	conns []net.Conn
}

func newCounter(to string) (*counter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counter{listener: l, to: to}
	c.wg.Go(c.accept)
	return c, nil
}

func (c *counter) accept() {
	for {
		from, err := c.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", c.to)
		if err != nil {
			_ = from.Close()
			continue
		}
		c.mu.Lock()
		c.conns = append(c.conns, from, to)
		c.mu.Unlock()
		c.wg.Go(func() { _, _ = io.Copy(from, to); _ = from.Close() })
		c.wg.Go(func() { _ = c.pass(to, from); _ = to.Close() })
	}
}

// pass copies what a client sends. Packets begin with 3 bytes of length and
// their number in the exchange; number 0 begins a request.
func (c *counter) pass(to io.Writer, from io.Reader) error {
	head := make([]byte, 4)
	for {
		if _, err := io.ReadFull(from, head); err != nil {
			return err
		}
		if head[3] == 0 {
			c.requests.Add(1)
		}
		length := int64(binary.LittleEndian.Uint32(head) & 0xffffff)
		_, err := to.Write(head)
		if err == nil {
			_, err = io.CopyN(to, from, length)
		}
		if err != nil {
			return err
		}
	}
}

func (c *counter) close() error {
	err := c.listener.Close()
	c.mu.Lock()
	for _, conn := range c.conns {
		if bad := conn.Close(); bad != nil && !errors.Is(bad, net.ErrClosed) {
			err = errors.Join(err, bad)
		}
	}
	c.mu.Unlock()
	c.wg.Wait()
	return err
}
