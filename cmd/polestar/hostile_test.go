package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// intruder is a connection that may do what no client does.
type intruder struct {
	net.Conn
	*http2.Framer
	ended chan struct{} // what the server says was read to its end
	err   error         // of reading it; after ended
}

func intrude(t *testing.T, addr, hello string) *intruder {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	x := &intruder{Conn: c, Framer: http2.NewFramer(c, nil), ended: make(chan struct{})}
	x.AllowIllegalWrites = true
	go func() { defer close(x.ended); _, x.err = io.Copy(io.Discard, c) }()
	t.Cleanup(func() { _ = c.Close(); <-x.ended })
	_ = c.SetWriteDeadline(time.Now().Add(30 * time.Second)) // a server that does not read any more bounds itself
	if _, err := io.WriteString(c, hello); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *intruder) http2(t *testing.T) *intruder {
	t.Helper()
	if _, err := io.WriteString(x.Conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := x.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return x
}

// headers begin a call.
func headers(path string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // into memory
	}
	return b.Bytes()
}

const method = "/v1.PolarisGRPC/Discover"

// floods are what one connection sends, until the server has enough of it.
var floods = map[string]func(x *intruder) error{
	"junk": func(x *intruder) error {
		junk := make([]byte, 1<<20)
		r := rand.New(rand.NewPCG(1, 2))
		for n := range junk {
			junk[n] = byte(r.Uint32())
		}
		_, err := x.Write(junk)
		return err
	},
	"pings": func(x *intruder) error {
		return times(20_000, func(int) error { return x.WritePing(false, [8]byte{}) })
	},
	"settings": func(x *intruder) error {
		return times(20_000, func(int) error { return x.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535}) })
	},
	"rapid resets": func(x *intruder) error {
		return times(5000, func(n int) error {
			id := uint32(2*n + 1)
			if err := x.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headers(method), EndHeaders: true}); err != nil {
				return err
			}
			return x.WriteRSTStream(id, http2.ErrCodeCancel)
		})
	},
	"streams": func(x *intruder) error {
		return times(20_000, func(n int) error {
			return x.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*n + 1), BlockFragment: headers(method), EndHeaders: true})
		})
	},
	"continuations": func(x *intruder) error {
		if err := x.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(method)}); err != nil {
			return err
		}
		more := bytes.Repeat([]byte{0x40, 1, 'a', 1, 'b'}, 3000) // fields of two bytes
		return times(1100, func(int) error { return x.WriteContinuation(1, false, more) })
	},
	"window updates": func(x *intruder) error {
		return times(20_000, func(int) error { return x.WriteWindowUpdate(0, 1) })
	},
}

func times(n int, f func(int) error) error {
	for k := range n {
		if err := f(k); err != nil {
			return err
		}
	}
	return nil
}

// heap is what is in use after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// others fails unless an ordinary client is answered at every door.
func (w *whole) others(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	res, err := w.polaris.Heartbeat(ctx, at("cart", 1))
	if err != nil || res.GetCode().GetValue() != 200000 {
		t.Errorf("an ordinary beat meanwhile: %v, %v", res, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.web.Addr().String()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("HTTP meanwhile: %s", answer.Status)
	}
}

// Whatever one connection does to a gRPC door, the others are served, and what
// it costs is bounded.
func TestFloodsAreBounded(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.try(t, 200000, at("cart", 1))
	for door, addr := range map[string]string{"polaris": w.app.polaris.Addr().String(), "xds": w.xdsAddr()} {
		for name, flood := range floods {
			t.Run(door+"/"+name, func(t *testing.T) {
				was := heap()
				x := intrude(t, addr, "").http2(t)
				sent := make(chan error, 1)
				go func() { sent <- flood(x) }()
				w.others(t)
				err := <-sent
				w.others(t)
				if grew := heap() - was; grew > 20<<20 {
					t.Errorf("%d MiB more are in use", grew>>20)
				}
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Log("the server stopped reading")
				}
			})
		}
	}
}

// Each door takes those for what they are who speak another's protocol.
func TestTheWrongProtocol(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.try(t, 200000, at("cart", 1))
	for name, c := range map[string]struct{ addr, says string }{
		"HTTP/1 at the Polaris door": {w.app.polaris.Addr().String(), "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"},
		"HTTP/1 at the xDS door":     {w.xdsAddr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 100_000)},
		"TLS at the Polaris door":    {w.app.polaris.Addr().String(), "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + strings.Repeat("\x00", 160)},
		"gRPC at the HTTP door":      {w.web.Addr().String(), http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"},
		"junk at the HTTP door":      {w.web.Addr().String(), strings.Repeat("\x00\xff\r\n", 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			x := intrude(t, c.addr, c.says)
			_ = x.SetReadDeadline(time.Now().Add(20 * time.Second))
			<-x.ended
			if errors.Is(x.err, os.ErrDeadlineExceeded) {
				t.Error("it is not cut off")
			}
			w.others(t)
		})
	}
}

// Idle connections cost little and take nobody's place.
func TestIdleConnections(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.try(t, 200000, at("cart", 1))
	was := heap()
	for n := range 1000 {
		addr := []string{w.app.polaris.Addr().String(), w.web.Addr().String()}[n%2]
		x := intrude(t, addr, "")
		if n%4 == 0 {
			x.http2(t)
		}
	}
	w.others(t)
	if grew := heap() - was; grew > 100<<20 {
		t.Errorf("%d MiB more are in use", grew>>20)
	}
}

// Connections over the bound of an address are closed at once, at the HTTP door
// as at the others.
func TestConnectionsOfTheHTTPDoorAreBounded(t *testing.T) {
	w := startWhole(t, t.TempDir(), func(c *Config) { c.HTTPConns = httpConns{5, 3} })
	var all []*intruder
	for range 3 {
		all = append(all, intrude(t, w.web.Addr().String(), ""))
	}
	until(t, "three are open", func() bool { return w.metric(t, "polestar_http_connections") == 3 })
	over := intrude(t, w.web.Addr().String(), "")
	<-over.ended
	if n := w.metric(t, "polestar_http_connections_refused_total", "per ip"); n != 1 {
		t.Errorf("%v were refused", n)
	}
	_ = all[0].Close()
	until(t, "there is room again", func() bool { return w.metric(t, "polestar_http_connections") == 2 })
	next := intrude(t, w.web.Addr().String(), "")
	until(t, "it is taken", func() bool { return w.metric(t, "polestar_http_connections") == 3 })
	_ = next.Close()
}

// A message over the bound is refused by its length, before it is read.
func TestTenMegabytes(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.try(t, 200000, at("cart", 1))
	in := at("cart", 2)
	in.Metadata = map[string]string{"k": strings.Repeat("x", 10<<20)}
	if _, err := w.polaris.RegisterInstance(t.Context(), in); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message of 10 MB: %v", err)
	}
	stream, err := w.polaris.Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&service_manage.DiscoverRequest{Service: &service_manage.Service{Metadata: in.GetMetadata()}}) // Recv tells
	if _, err = stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("on a stream: %v", err)
	}
	url := fmt.Sprintf("http://%s/api/v1/services", w.web.Addr())
	body := `{"namespace": "n", "name": "s", "comment": "` + in.GetMetadata()["k"] + `"}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	// The server may close before all of it is sent.
	if res, err := http.DefaultClient.Do(req); err == nil {
		_ = res.Body.Close()
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("a body of 10 MB: %s", res.Status)
		}
	}
	w.others(t)
}
