package harness

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// Backend answers its own name: over HTTP at any path, and over gRPC as
// /acc.Echo/Who, both on one port.
type Backend struct {
	Name, Addr string
	TLS        *tls.Config // nil: plain text
	server     *http.Server
}

// NewBackend starts a backend on a free port.
func NewBackend(name string) (*Backend, error) {
	b := &Backend{Name: name, Addr: "127.0.0.1:0"}
	return b, b.Start()
}

// StartBackend starts a backend that ends with the test.
func StartBackend(t testing.TB, name string) *Backend {
	t.Helper()
	return StartBackendAt(t, name, "127.0.0.1:0")
}

// StartBackendAt starts a backend at an address; it ends with the test.
func StartBackendAt(t testing.TB, name, addr string) *Backend {
	t.Helper()
	b := &Backend{Name: name, Addr: addr}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

// Start starts the backend, after a stop at the address that it had.
func (b *Backend) Start() error {
	l, err := net.Listen("tcp", b.Addr)
	if err != nil {
		return err
	}
	b.Addr = l.Addr().String()
	echo := b.echo()
	b.server = &http.Server{ //nolint:gosec // a test backend
		Protocols: new(http.Protocols),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
				echo.ServeHTTP(w, r)
				return
			}
			_, _ = io.WriteString(w, b.Name)
		}),
	}
	b.server.Protocols.SetHTTP1(true)
	if b.TLS != nil {
		b.server.Protocols.SetHTTP2(true)
		b.server.TLSConfig = b.TLS
		b.server.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail, as tests want them to
		go func() { _ = b.server.ServeTLS(l, "", "") }()
		return nil
	}
	b.server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = b.server.Serve(l) }()
	return nil
}

// echo is the gRPC service, without generated code: messages are bytes.
func (b *Backend) echo() *grpc.Server {
	s := grpc.NewServer(grpc.ForceServerCodecV2(raw{}))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "acc.Echo",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Who",
			Handler: func(_ any, _ context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var in []byte
				if err := dec(&in); err != nil {
					return nil, err
				}
				out := []byte(b.Name)
				return &out, nil
			},
		}},
	}, nil)
	return s
}

// Stop ends the backend at once.
func (b *Backend) Stop() { _ = b.server.Close() }

// Drain ends the backend when it has answered what it was asked.
func (b *Backend) Drain(ctx context.Context) error { return b.server.Shutdown(ctx) }

// HostPort splits an address for a registration.
func HostPort(addr string) (string, uint32) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		panic(err)
	}
	return host, uint32(n)
}

// raw passes bytes through as gRPC messages.
type raw struct{}

var _ encoding.CodecV2 = raw{}

func (raw) Name() string { return "raw" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// CallWho asks a backend for its name over gRPC.
func CallWho(ctx context.Context, cc *grpc.ClientConn) (string, error) {
	in, out := []byte{}, []byte{}
	err := cc.Invoke(ctx, "/acc.Echo/Who", &in, &out, grpc.ForceCodecV2(raw{}))
	return string(out), err
}
