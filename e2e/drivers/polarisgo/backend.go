package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"

	"google.golang.org/grpc"
)

// backend is a small application that answers its name: over HTTP at any path,
// or over gRPC as /acc.Echo/Who. It registers itself, with beats by the SDK.
func (d driver) backend(w []string) (any, error) {
	if len(w) != 5 && (len(w) != 6 || w[5] != "grpc") {
		return nil, errors.New("backend needs SERVICE NAME TTL WEIGHT [grpc]")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if len(w) == 6 {
		go func() { _ = echo(w[2]).Serve(l) }()
	} else {
		go func() {
			_ = http.Serve(l, http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(out, w[2]) }))
		}()
	}
	port := l.Addr().(*net.TCPAddr).Port
	if _, err := d.register([]string{"register", w[1], "127.0.0.1", strconv.Itoa(port), w[3], w[4], "auto"}, port); err != nil {
		return nil, err
	}
	return map[string]string{"addr": l.Addr().String()}, nil
}

// echo is a gRPC server without generated code: messages are bytes.
func echo(name string) *grpc.Server {
	s := grpc.NewServer(grpc.ForceServerCodec(raw{}))
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
				out := []byte(name)
				return &out, nil
			},
		}},
	}, nil)
	return s
}

// raw passes bytes through as gRPC messages.
type raw struct{}

func (raw) Name() string { return "raw" }

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}
