package harness

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// Backend answers its own name: over HTTP at any path, and over gRPC as
// /acc.Echo/Who.
type Backend struct {
	Name     string
	HTTPAddr string
	GRPCAddr string
	http     *http.Server
	grpc     *grpc.Server
}

// NewBackend starts a backend.
func NewBackend(name string) (*Backend, error) {
	b := &Backend{Name: name}
	h, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b.HTTPAddr, b.GRPCAddr = h.Addr().String(), g.Addr().String()
	b.http = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, name) })} //nolint:gosec // a test backend
	b.grpc = grpc.NewServer(grpc.ForceServerCodecV2(raw{}))
	b.grpc.RegisterService(&grpc.ServiceDesc{
		ServiceName: "acc.Echo",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Who",
			Handler: func(_ any, _ context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var in []byte
				if err := dec(&in); err != nil {
					return nil, err
				}
				out := []byte(name)
				return &out, nil
			},
		}},
	}, nil)
	go func() { _ = b.http.Serve(h) }()
	go func() { _ = b.grpc.Serve(g) }()
	return b, nil
}

// StartBackend starts a backend that ends with the test.
func StartBackend(t testing.TB, name string) *Backend {
	t.Helper()
	b, err := NewBackend(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

// Stop ends the backend at once.
func (b *Backend) Stop() {
	_ = b.http.Close()
	b.grpc.Stop()
}

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
