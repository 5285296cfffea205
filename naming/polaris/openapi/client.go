package openapi

import (
	"context"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// clientRoutes are what SDKs ask for: the methods of v1.PolarisGRPC.
func clientRoutes() []route {
	post := func(path string, answer func(context.Context, *call) reply) route {
		return route{method: http.MethodPost, path: "/v1/" + path, client: true, answer: answer}
	}
	return []route{
		post("RegisterInstance", unary(Client.RegisterInstance)),
		post("DeregisterInstance", unary(Client.DeregisterInstance)),
		post("Heartbeat", unary(Client.Heartbeat)),
		post("ReportClient", unary(Client.ReportClient)),
		post("Discover", unary(Client.DiscoverOnce)),
	}
}

// unary passes a message on to a method of the Polaris door, which cannot tell
// it from one that came over gRPC.
func unary[T any, P message[T], R reply](method func(Client, context.Context, P) (R, error)) func(context.Context, *call) reply {
	return func(ctx context.Context, c *call) reply {
		in, err := object[T, P](c.r)
		if err != nil {
			return answer(err)
		}
		out, err := method(c.Client, ctx, in)
		if err != nil {
			return c.done(0, err)
		}
		return out
	}
}

// incoming is the context that gRPC would give the method: metadata, peer and
// a place for headers of the answer.
func incoming(ctx context.Context, w http.ResponseWriter, r *http.Request) context.Context {
	md := metadata.MD{}
	for name, value := range map[string]string{
		"x-polaris-token": token(r), "request-id": r.Header.Get("Request-Id"), "user-agent": r.UserAgent(),
	} {
		if value != "" {
			md.Set(name, value)
		}
	}
	p := &peer.Peer{Addr: address(r.RemoteAddr)}
	if r.TLS != nil {
		p.AuthInfo = credentials.TLSInfo{State: *r.TLS}
	}
	ctx = metadata.NewIncomingContext(ctx, md)
	return grpc.NewContextWithServerTransportStream(peer.NewContext(ctx, p), headers{w.Header()})
}

// address is that of a peer, host:port.
type address string

// Network implements net.Addr.
func (address) Network() string { return "tcp" }

// String implements net.Addr.
func (a address) String() string { return string(a) }

// headers takes those of a gRPC answer.
type headers struct{ http.Header }

var _ grpc.ServerTransportStream = headers{}

// Method implements grpc.ServerTransportStream.
func (headers) Method() string { return "" }

// SetHeader implements grpc.ServerTransportStream.
func (h headers) SetHeader(md metadata.MD) error {
	for name, values := range md {
		for _, v := range values {
			h.Add(name, v)
		}
	}
	return nil
}

// SendHeader implements grpc.ServerTransportStream.
func (h headers) SendHeader(md metadata.MD) error { return h.SetHeader(md) }

// SetTrailer implements grpc.ServerTransportStream; the Polaris door sets none.
func (headers) SetTrailer(metadata.MD) error { return nil }
