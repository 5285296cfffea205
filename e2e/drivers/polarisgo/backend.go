package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"google.golang.org/grpc"
)

// backend is a small application that answers its name, and registers itself
// with beats by the SDK: backend SERVICE NAME TTL WEIGHT, then any of
//
//	grpc          answers gRPC as /acc.Echo/Who, not HTTP at any path
//	tls=CERT,KEY  answers HTTPS with these files
//	version=V     is of this version
//	zone=Z        is in this zone
func (d driver) backend(w []string) (any, error) {
	if len(w) < 5 {
		return nil, errors.New("backend needs SERVICE NAME TTL WEIGHT")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := request(w[1], "127.0.0.1", l.Addr().(*net.TCPAddr).Port, w[3], w[4])
	r.AutoHeartbeat = true
	name := http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(out, w[2]) })
	serve := func() error { return http.Serve(l, name) }
	for _, option := range w[5:] {
		switch key, value, _ := strings.Cut(option, "="); key {
		case "grpc":
			serve = func() error { return echo(w[2]).Serve(l) }
		case "tls":
			cert, private, _ := strings.Cut(value, ",")
			serve = func() error { return http.ServeTLS(l, name, cert, private) }
		case "version":
			r.Version = &value
		case "zone":
			r.Location.Zone = value
		default:
			return nil, fmt.Errorf("unknown option %q", option)
		}
	}
	go func() { fmt.Fprintln(os.Stderr, serve()) }()
	if _, err := d.provider.RegisterInstance(r); err != nil {
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
