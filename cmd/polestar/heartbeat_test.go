package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/internal/grpcserver"
)

const secretOfTests = "0123456789abcdef"

// secretFile writes a file of the heartbeat door.
func secretFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// beatDoor starts a server with a heartbeat door, and returns a client of it
// and a context with the secret.
func beatDoor(t testing.TB) (*whole, service_manage.PolarisHeartbeatGRPCClient, context.Context) {
	t.Helper()
	w := startWhole(t, t.TempDir(), func(c *Config) {
		c.Heartbeat.Addr, c.HeartbeatTokenFile = "127.0.0.1:0", secretFile(t, secretOfTests+"\n")
	})
	cc, err := grpc.NewClient(w.beatDoor.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return w, service_manage.NewPolarisHeartbeatGRPCClient(cc), metadata.AppendToOutgoingContext(t.Context(), grpcserver.SecretHeader, secretOfTests)
}

// registered registers an instance of cart; ttl 0: without a health check.
func (w *whole) registered(t testing.TB, host string, ttl uint32) (id string) {
	t.Helper()
	in := &service_manage.Instance{
		Namespace: wrapperspb.String("default"), Service: wrapperspb.String("cart"), Host: wrapperspb.String(host), Port: wrapperspb.UInt32(80),
	}
	if ttl > 0 {
		in.HealthCheck = &service_manage.HealthCheck{Heartbeat: &service_manage.HeartbeatHealthCheck{Ttl: wrapperspb.UInt32(ttl)}}
	}
	res, err := w.polaris.RegisterInstance(t.Context(), in)
	if err = answered(res, err); err != nil {
		t.Fatal(err)
	}
	return res.GetInstance().GetId().GetValue()
}

func byID(id string) *service_manage.InstanceHeartbeat {
	return &service_manage.InstanceHeartbeat{InstanceId: id}
}

func TestBeatsInGroups(t *testing.T) {
	w, client, ctx := beatDoor(t)
	a, b := w.registered(t, "10.0.0.1", 3600), w.registered(t, "10.0.0.2", 5)
	none := w.registered(t, "10.0.0.3", 0)
	for _, id := range []string{a, b} {
		w.leases.ForgetBeat(id)
	}
	stream, err := client.BatchHeartbeat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send := func(beats ...*service_manage.InstanceHeartbeat) {
		t.Helper()
		if err = stream.Send(&service_manage.HeartbeatsRequest{Heartbeats: beats}); err != nil {
			t.Fatal(err)
		}
		if _, err = stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	place := &service_manage.InstanceHeartbeat{Namespace: "default", Service: "cart", Host: "10.0.0.2", Port: 80}
	send(byID(a), byID("stranger"), place)
	for _, id := range []string{a, b} {
		if _, heard := w.leases.LastBeat(id); !heard {
			t.Errorf("the beat of %s beside a stranger's was lost", id)
		}
	}
	send(byID("stranger"), byID(none), &service_manage.InstanceHeartbeat{Namespace: "default", Service: "cart", Host: "10.0.0.9", Port: 80})
	send()
	if err = stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	s := status.Convert(err)
	got := map[string]uint32{}
	for _, d := range s.Details() {
		r := d.(*service_manage.Response)
		got[r.GetInstance().GetId().GetValue()+r.GetInstance().GetHost().GetValue()] = r.GetCode().GetValue()
	}
	want := map[string]uint32{"stranger": 400202, none: 400141, "10.0.0.9": 400202}
	if diff := cmp.Diff(want, got); s.Code() != codes.FailedPrecondition || diff != "" || !strings.Contains(s.Message(), "4 beats") {
		t.Errorf("the stream ended with %v %s", err, diff)
	}
	for code, want := range map[string]float64{"200000": 2, "400141": 1, "400202": 3} {
		if n := w.metric(t, "polestar_batch_heartbeats_total", code); n != want {
			t.Errorf("%v beats with %s counted, want %v", n, code, want)
		}
	}
}

// However many beats are refused, the end of the stream fits into a trailer.
func TestManyRefusalsStillEndTheStream(t *testing.T) {
	_, client, ctx := beatDoor(t)
	stream, err := client.BatchHeartbeat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all := &service_manage.HeartbeatsRequest{}
	for n := range 10_000 {
		all.Heartbeats = append(all.Heartbeats, byID(fmt.Sprintf("%0128d", n)))
	}
	if err = stream.Send(all); err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err = stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	if s := status.Convert(err); s.Code() != codes.FailedPrecondition || len(s.Details()) != 20 {
		t.Errorf("%d details with %v", len(s.Details()), err)
	}
	// One more in a message is too much, and said so.
	if stream, err = client.BatchHeartbeat(ctx); err != nil {
		t.Fatal(err)
	}
	all.Heartbeats = append(all.Heartbeats, byID("x"))
	if err = stream.Send(all); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "10000") {
		t.Errorf("10001 beats: %v", err)
	}
}

func TestReadAndForgetBeats(t *testing.T) {
	w, client, ctx := beatDoor(t)
	id := w.registered(t, "10.0.0.1", 60)
	ids := []string{id, "stranger"}
	get := func() []*service_manage.HeartbeatRecord {
		t.Helper()
		res, err := client.BatchGetHeartbeat(ctx, &service_manage.GetHeartbeatsRequest{InstanceIds: ids})
		if err != nil || len(res.GetRecords()) != 2 {
			t.Fatal(res, err)
		}
		return res.GetRecords()
	}
	r := get()
	if !r[0].GetExist() || r[0].GetInstanceId() != id || time.Since(time.Unix(r[0].GetLastHeartbeatSec(), 0)) > time.Minute || r[1].GetExist() {
		t.Errorf("%v", r)
	}
	res, err := client.BatchDelHeartbeat(ctx, &service_manage.DelHeartbeatsRequest{InstanceIds: ids})
	if err != nil || res.GetCode() != 200000 {
		t.Fatal(res, err)
	}
	if r = get(); r[0].GetExist() {
		t.Errorf("forgotten, and still there: %v", r)
	}
	if i := w.registry.World().Instance(id); i == nil || !i.Healthy {
		t.Error("forgetting beats changed the instance")
	}
	if st, ok := w.leases.State(id); !ok || st.Left < 170*time.Second {
		t.Errorf("forgetting beats moved the deadline: %+v", st)
	}
	beat, err := w.polaris.Heartbeat(t.Context(), &service_manage.Instance{Id: wrapperspb.String(id)})
	if err = answered(beat, err); err != nil {
		t.Error(err)
	}
	if r = get(); !r[0].GetExist() {
		t.Error("a beat after that does not count")
	}
}

// Without the secret nobody gets in, and without an address there is no door:
// the public one does not have the service.
func TestTheHeartbeatDoorIsNotPublic(t *testing.T) {
	w, client, ctx := beatDoor(t)
	get := &service_manage.GetHeartbeatsRequest{InstanceIds: []string{"x"}}
	del := &service_manage.DelHeartbeatsRequest{InstanceIds: []string{"x"}}
	wrong := metadata.AppendToOutgoingContext(t.Context(), grpcserver.SecretHeader, "another secret than that")
	for _, bad := range []context.Context{t.Context(), wrong} {
		_, e1 := client.BatchGetHeartbeat(bad, get)
		_, e2 := client.BatchDelHeartbeat(bad, del)
		stream, e3 := client.BatchHeartbeat(bad)
		if e3 == nil {
			_, e3 = stream.Recv()
		}
		for _, err := range []error{e1, e2, e3} {
			if status.Code(err) != codes.Unauthenticated {
				t.Errorf("without the secret: %v", err)
			}
		}
	}
	cc, err := grpc.NewClient(w.app.polaris.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	if _, err := service_manage.NewPolarisHeartbeatGRPCClient(cc).BatchGetHeartbeat(ctx, get); status.Code(err) != codes.Unimplemented {
		t.Errorf("at the public door: %v, want Unimplemented", err)
	}
	if startWhole(t, t.TempDir()).beatDoor != nil {
		t.Error("there is a heartbeat door by default")
	}
}

func TestTheSecretOfTheHeartbeatDoor(t *testing.T) {
	for name, c := range map[string]struct{ path, want string }{
		"no file":   {"", "must not be empty"},
		"not there": {filepath.Join(t.TempDir(), "none"), "no such file"},
		"short":     {secretFile(t, "short\n"), "between 16 and 4096"},
		"long":      {secretFile(t, strings.Repeat("x", 4097)), "between 16 and 4096"},
		"binary":    {secretFile(t, "0123456789abcdef\x00"), "visible ASCII"},
		"sentence":  {secretFile(t, "0123456789 abcdef"), "visible ASCII"},
	} {
		cfg := defaultConfig()
		cfg.DataDir, cfg.Heartbeat.Addr, cfg.HeartbeatTokenFile = t.TempDir(), net.JoinHostPort("127.0.0.1", "0"), c.path
		err := cfg.Validate()
		if err == nil {
			_, err = newApp(cfg, zap.NewNop())
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "heartbeat-token-file") {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

// Beats in groups of 100 on one stream; one operation is one beat.
func BenchmarkBeatsInGroups(b *testing.B) {
	w, client, ctx := beatDoor(b)
	in := &service_manage.HeartbeatsRequest{}
	for n := range 100 {
		in.Heartbeats = append(in.Heartbeats, byID(w.registered(b, fmt.Sprintf("10.0.0.%d", n), 60)))
	}
	stream, err := client.BatchHeartbeat(ctx)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	sent := 0
	for b.Loop() {
		if sent++; sent%len(in.GetHeartbeats()) != 0 {
			continue
		}
		if err := stream.Send(in); err != nil {
			b.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			b.Fatal(err)
		}
	}
}
