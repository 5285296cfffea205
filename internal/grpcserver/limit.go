package grpcserver

import (
	"maps"
	"net"
	"slices"
	"sync"
)

// limited is a listener that closes connections over its bounds at once.
type limited struct {
	net.Listener
	most, mostPerIP int
	meter           *meter

	mu    sync.Mutex // guards everything below
	open  int
	perIP map[string]int
	conns map[*conn]struct{}
	ended bool // closeAll was called
}

func newLimited(l net.Listener, most, mostPerIP int, m *meter) *limited {
	return &limited{Listener: l, most: most, mostPerIP: mostPerIP, meter: m, perIP: map[string]int{}, conns: map[*conn]struct{}{}}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
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
			l.meter.refused.WithLabelValues(why).Inc()
			_ = c.Close()
			continue
		}
		return l.track(c, ip), nil
	}
}

func (l *limited) track(c net.Conn, ip string) *conn {
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

// closeAll ends every connection, those too that have not said anything yet:
// grpc.Server.Stop knows them only after their handshake, and waits for it.
func (l *limited) closeAll() {
	l.mu.Lock()
	l.ended = true
	open := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

func (l *limited) admit(ip string) (refusal string) {
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
	l.meter.connections.Set(float64(l.open))
	return ""
}

func (l *limited) leave(c *conn, ip string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.open--
	if l.perIP[ip]--; l.perIP[ip] == 0 {
		delete(l.perIP, ip)
	}
	l.meter.connections.Set(float64(l.open))
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
