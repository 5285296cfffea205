package connlimit

import (
	"maps"
	"net"
	"slices"
	"sync"
)

// Watch is told what happens at a listener.
type Watch struct {
	Open    func(n int)      // how many connections are open now
	Refused func(why string) // one was closed for a bound: "total" or "per ip"
}

// Listener closes connections over its bounds at once.
type Listener struct {
	net.Listener
	most, mostPerIP int
	watch           Watch

	mu    sync.Mutex // guards everything below
	open  int
	perIP map[string]int
	conns map[*conn]struct{}
	ended bool // CloseAll was called
}

// New bounds the connections of l, in all and from one ip.
func New(l net.Listener, most, mostPerIP int, w Watch) *Listener {
	return &Listener{Listener: l, most: most, mostPerIP: mostPerIP, watch: w, perIP: map[string]int{}, conns: map[*conn]struct{}{}}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip, _, err := net.SplitHostPort(c.RemoteAddr().String())
		if err != nil {
			ip = c.RemoteAddr().String()
		}
		if why := l.admit(ip); why != "" {
			l.watch.Refused(why)
			_ = c.Close()
			continue
		}
		return l.track(c, ip), nil
	}
}

func (l *Listener) track(c net.Conn, ip string) *conn {
	out := &conn{Conn: c}
	out.leave = sync.OnceFunc(func() { l.leave(out, ip) })
	l.mu.Lock()
	l.conns[out] = struct{}{}
	ended := l.ended
	l.mu.Unlock()
	if ended {
		_ = out.Close()
	}
	return out
}

// CloseAll ends every connection, those too that have not said anything yet:
// servers know them only after their handshake.
func (l *Listener) CloseAll() {
	l.mu.Lock()
	l.ended = true
	open := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

func (l *Listener) admit(ip string) (refusal string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.open >= l.most:
		return "total"
	case l.perIP[ip] >= l.mostPerIP:
		return "per ip"
	}
	l.open++
	l.perIP[ip]++
	l.watch.Open(l.open)
	return ""
}

func (l *Listener) leave(c *conn, ip string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.open--
	if l.perIP[ip]--; l.perIP[ip] == 0 {
		delete(l.perIP, ip)
	}
	l.watch.Open(l.open)
}

type conn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}
