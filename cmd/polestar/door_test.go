package main

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestDoorsAreNamedAsPeoplePasteThem(t *testing.T) {
	addr := admin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"services":[],"total":0}`)) })
	for _, good := range []string{addr, "http://" + addr, "http://" + addr + "/"} {
		if _, err := run(t, "get", "services", "--server", good); err != nil {
			t.Errorf("--server %s: %v", good, err)
		}
	}
	for _, c := range []struct{ flag, text, want string }{
		{"--server", "ftp://x", "ftp is not spoken here"},
		{"--server", "localhost", "host:port is expected"},
		{"--server", "", "host:port is expected"},
		{"--server", ":8090", "host:port is expected"},
		{"--server", "localhost:http", "host:port is expected"},
		{"--server", addr + "/api/v1", "host:port is expected"},
	} {
		for _, command := range [][]string{{"get", "services"}, {"wait"}, {"history"}, {"events"}, {"clients"}, {"isolate", "i"}, {"create", "namespace", "n"}} {
			_, err := run(t, append(command, c.flag, c.text)...)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.flag) || exitCode(err) != exitFailed {
				t.Errorf("%v %s %q: %v, want %q", command, c.flag, c.text, err, c.want)
			}
		}
	}
	_, err := run(t, "deregister", "i", "--polaris-addr", "grpc://"+addr)
	if err == nil || !strings.Contains(err.Error(), "grpc is not spoken here") {
		t.Errorf("deregister: %v", err)
	}
}

// Another protocol behind the port is named, its bytes are not shown.
func TestGRPCDoorIsNoHTTPDoor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			_, _ = c.Read(make([]byte, 4096)) // unread, it would reset the connection
			_, _ = c.Write([]byte("\x00\x00\x18\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00@\x00\n"))
			_ = c.Close()
		}
	}()
	for _, command := range [][]string{{"get", "services"}, {"events"}} {
		_, err := run(t, append(command, "--server", l.Addr().String())...)
		if err == nil || !strings.Contains(err.Error(), "does not speak HTTP") || strings.Contains(err.Error(), `\x`) || exitCode(err) != exitServer {
			t.Errorf("%v: %v", command, err)
		}
	}
}

func TestBenchSaysAtOnceThatThereIsNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	out, err := run(t, "bench", "register", "--polaris-addr", addr, "--repeat", "1", "--duration", "1ms")
	if err == nil || !strings.Contains(err.Error(), "refused") || exitCode(err) != exitServer {
		t.Errorf("error %v, output %q", err, out)
	}
}
