package harness

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Link passes TCP connections on to an address, until it is cut.
type Link struct {
	Addr string
	to   string

	mu    sync.Mutex // guards everything below
	cut   bool
	hung  chan struct{} // closed when it does not hang any more; nil: it passes
	conns map[net.Conn]struct{}
}

// StartLink starts a link that ends with the test.
func StartLink(t testing.TB, to string) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{Addr: listener.Addr().String(), to: to, conns: map[net.Conn]struct{}{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { l.pass(c) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.Cut()
		running.Wait()
	})
	return l
}

// Cut ends all connections at once, and new ones as soon as they come.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mend()
	l.cut = true
	for c := range l.conns {
		_ = c.Close()
	}
}

// Hang lets connections come and stay, and delivers nothing until it is mended.
func (l *Link) Hang() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hung == nil {
		l.hung = make(chan struct{})
	}
}

// Mend lets connections pass again.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mend()
}

func (l *Link) mend() {
	l.cut = false
	if l.hung != nil {
		close(l.hung)
		l.hung = nil
	}
}

// through writes to a connection, later when the link hangs.
type through struct {
	*Link
	to net.Conn
}

func (t through) Write(p []byte) (int, error) {
	t.mu.Lock()
	hung := t.hung
	t.mu.Unlock()
	if hung != nil {
		<-hung
	}
	return t.to.Write(p)
}

// keep notes a connection, or refuses it when the link is cut.
func (l *Link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *Link) drop(c net.Conn) {
	_ = c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

func (l *Link) pass(c net.Conn) {
	defer l.drop(c)
	if !l.keep(c) {
		return
	}
	s, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer l.drop(s)
	if !l.keep(s) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(through{l, s}, c); _ = s.Close() })
	both.Go(func() { _, _ = io.Copy(through{l, c}, s); _ = c.Close() })
	both.Wait()
}
