package grpcserver

import (
	"net"
	"testing"
	"time"
)

func TestSilentConnectionDoesNotHoldTheStop(t *testing.T) {
	cfg := Default("d", "127.0.0.1:0")
	cfg.DrainTimeout = 50 * time.Millisecond
	s, _, stop := start(t, cfg)
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Read(make([]byte, 9)); err != nil { // the server's settings: it has accepted
		t.Fatal(err)
	}
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the stop took %s behind a connection that says nothing", took)
	}
}
