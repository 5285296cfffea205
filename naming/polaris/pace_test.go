package polaris_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"polestar/auth"
	"polestar/internal/ratelimit"
	"polestar/naming"
	"polestar/naming/polaris"
)

// paced is a door with these rates a second, without a network.
func paced(t *testing.T, peers, instances int) (*polaris.Server, *guard) {
	t.Helper()
	b, g := newBackend(t, nil), &guard{}
	return polaris.New(polaris.Deps{
		Registry: naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: b, World: b, Beats: b}),
		World:    b, Auth: g, Log: zap.NewNop(), Ready: func() bool { return true },
		Peers:     ratelimit.New(ratelimit.Config{PerSecond: peers}, func() {}),
		Instances: ratelimit.New(ratelimit.Config{PerSecond: instances}, func() {}),
	}), g
}

func from(t *testing.T, ip string) context.Context {
	return peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}})
}

// An address over its rate is refused, and told so with Polaris' code; nobody
// else notices. Guessing tokens counts too.
func TestRatePerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := paced(t, 3, 0)
		register := func(ip string, want uint32) {
			t.Helper()
			res, err := s.RegisterInstance(from(t, ip), message("n", "a", 1))
			wantCode(t, res, err, want)
			if res.GetInstance().GetPort().GetValue() != 1 {
				t.Errorf("the request is not repeated: %v", res)
			}
		}
		for range 3 {
			register("10.0.0.1", 200000)
		}
		register("10.0.0.1", 429002)
		register("::ffff:10.0.0.1", 429002)
		register("10.0.0.2", 200000)
		register("2001:db8::1", 200000)
		time.Sleep(time.Second)
		register("10.0.0.1", 200000)
		g.admit([]person{})
		for range 2 {
			register("10.0.0.1", 401000)
		}
		register("10.0.0.1", 429002)
	})
}

// A stream over the rate of its address waits for its answers and loses none;
// only what would wait for too long is told to come again, with a code on which
// SDKs keep what they have.
func TestDiscoverWaitsForItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := paced(t, 10, 0)
		began := time.Now()
		for range 40 {
			wantCode(t, polaris.Answer(from(t, "10.0.0.1"), s, query(service_manage.DiscoverRequest_ROUTING, "n", "a", "")), nil, 200000)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("40 answers took %s, want 3 s", took)
		}
		codes := make(chan uint32)
		for range 100 {
			go func() {
				res := polaris.Answer(from(t, "10.0.0.1"), s, query(service_manage.DiscoverRequest_ROUTING, "n", "a", ""))
				codes <- res.GetCode().GetValue()
			}()
		}
		got := map[uint32]int{}
		for range 100 {
			got[<-codes]++
		}
		if got[200000] != 30 || got[500000] != 70 {
			t.Errorf("of 100 at once: %v", got)
		}
	})
}

// One instance that is registered in a loop, or beats in one, is held back, by
// whatever names; the others are not.
func TestRatePerInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := paced(t, 0, 3)
		in := checked(message("n", "a", 1), 5)
		res, err := s.RegisterInstance(t.Context(), in)
		wantCode(t, res, err, 200000)
		byID := &service_manage.Instance{Id: res.GetInstance().GetId()}
		for _, ref := range []*service_manage.Instance{in, byID} {
			res, err = s.Heartbeat(t.Context(), ref)
			wantCode(t, res, err, 200000)
		}
		for _, call := range []func(context.Context, *service_manage.Instance) (*service_manage.Response, error){s.Heartbeat, s.RegisterInstance, s.DeregisterInstance} {
			res, err = call(t.Context(), in)
			wantCode(t, res, err, 429001)
		}
		res, err = s.RegisterInstance(t.Context(), checked(message("n", "a", 2), 5))
		wantCode(t, res, err, 200000)
		time.Sleep(time.Second)
		res, err = s.DeregisterInstance(t.Context(), byID)
		wantCode(t, res, err, 200000)
	})
}

// In groups each beat counts for its own instance.
func TestRatePerInstanceInGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, heard := newBackend(t, nil), &beatsHeard{ids: map[string]bool{}}
		h, err := polaris.NewHeartbeats(polaris.HeartbeatDeps{
			Beat: heard.beat, Leases: heard, World: b, Auth: auth.Open{}, Trusted: func(context.Context) bool { return true },
			Instances: ratelimit.New(ratelimit.Config{PerSecond: 2}, func() {}), Ready: func() bool { return true }, Metrics: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		srv := grpc.NewServer()
		h.Register(srv)
		stream, err := service_manage.NewPolarisHeartbeatGRPCClient(dial(t, srv, setup{})).BatchHeartbeat(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all := &service_manage.HeartbeatsRequest{}
		for _, id := range []string{"a", "a", "a", "b", "a"} {
			all.Heartbeats = append(all.Heartbeats, &service_manage.InstanceHeartbeat{InstanceId: id})
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
		details := status.Convert(err).Details()
		if len(details) != 1 || len(heard.ids) != 2 {
			t.Fatalf("heard %v, ended with %v", heard.ids, err)
		}
		if r := details[0].(*service_manage.Response); r.GetCode().GetValue() != 429001 || r.GetInstance().GetId().GetValue() != "a" {
			t.Errorf("refused: %v", r)
		}
	})
}
