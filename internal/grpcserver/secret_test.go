package grpcserver

import (
	"testing"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

func TestSecret(t *testing.T) {
	const secret = "a secret of a good length"
	_, cc, stop := start(t, Default("d", "127.0.0.1:0"), Secret(secret)...)
	for name, c := range map[string]struct {
		sent []string
		want codes.Code
	}{
		"none":          {nil, codes.Unauthenticated},
		"empty":         {[]string{""}, codes.Unauthenticated},
		"wrong":         {[]string{secret + "!"}, codes.Unauthenticated},
		"the start":     {[]string{secret[:5]}, codes.Unauthenticated},
		"several":       {[]string{"x", secret}, codes.Unauthenticated},
		"the right one": {[]string{secret}, codes.OK},
	} {
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{SecretHeader: c.sent})
		stream, err := reflectionv1.NewServerReflectionClient(cc).ServerReflectionInfo(ctx)
		if err != nil {
			t.Fatal(err)
		}
		ask := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
		_ = stream.Send(ask) // Recv tells why when the server has ended it
		_, err = stream.Recv()
		if status.Code(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if c.want == codes.OK {
			_ = stream.CloseSend()
		}
		if _, err := healthv1.NewHealthClient(cc).Check(ctx, &healthv1.HealthCheckRequest{}); err != nil {
			t.Errorf("%s: a health check was refused: %v", name, err)
		}
		if _, err := healthv1.NewHealthClient(cc).List(ctx, &healthv1.HealthListRequest{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
