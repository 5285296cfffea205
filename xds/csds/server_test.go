package csds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"polestar/xds/access"
	"polestar/xds/ads"
	"polestar/xds/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is a list of clients; their numbers are their places in it.
type fleet []client

type client struct {
	node  *corev3.Node
	names []ads.NameStatus
}

func (f fleet) Streams() []uint64 {
	var out []uint64
	for i := range len(f) + 1 { // the last one is gone meanwhile
		out = append(out, uint64(i))
	}
	return out
}

func (f fleet) Identity(id uint64) *corev3.Node {
	if id >= uint64(len(f)) {
		return nil
	}
	return f[id].node
}

func (f fleet) Scope(id uint64) (resource.Scope, bool) {
	return resource.Scope{Namespace: "default"}, id < uint64(len(f))
}

func (f fleet) Client(id uint64) (ads.ClientStatus, []ads.NameStatus, bool) {
	if f[id].names == nil {
		return ads.ClientStatus{}, nil, false
	}
	return ads.ClientStatus{ID: id, Service: "ads", Delta: true, Peer: "10.0.0.9:1", View: "envoy in default"}, f[id].names, true
}

// dial serves a fleet.
func dial(t *testing.T, f fleet, limit int) statusv3.ClientStatusDiscoveryServiceClient {
	t.Helper()
	s := New(f, access.Open())
	s.limit = limit
	pipe := bufconn.Listen(1 << 16)
	g := grpc.NewServer()
	s.Register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(pipe) }()
	conn, err := grpc.NewClient("passthrough:///csds", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return statusv3.NewClientStatusDiscoveryServiceClient(conn)
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func form(version string, revision uint64) ads.Form {
	return ads.Form{Version: version, Revision: revision}
}

func delivery(version string, revision uint64) ads.Delivery {
	if version == "" {
		return ads.Delivery{}
	}
	return ads.Delivery{Form: form(version, revision), At: noon}
}

func TestStatesOfResources(t *testing.T) {
	refused := ads.Refusal{Delivery: delivery("v2", 2), Reason: "no such filter"}
	f := fleet{{&corev3.Node{Id: "n1"}, []ads.NameStatus{
		{Type: resource.Cluster, Name: "synced", Current: form("v1", 1), Sent: delivery("v1", 1), Acked: delivery("v1", 1)},
		{Type: resource.Cluster, Name: "sent", Current: form("v2", 2), Sent: delivery("v2", 2), Acked: delivery("v1", 1)},
		{Type: resource.Cluster, Name: "refused", Current: form("v2", 2), Sent: delivery("v1", 1), Acked: delivery("v1", 1), Refused: refused},
		{Type: resource.Cluster, Name: "waiting", Current: form("v1", 1)},
		{Type: resource.Cluster, Name: "missing", Named: true},
		{Type: resource.Cluster, Name: "first", Current: form("v1", 1), Sent: delivery("v1", 1)},
	}}}
	got, err := dial(t, f, 1<<20).FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{ExcludeResourceContents: true})
	if err != nil {
		t.Fatal(err)
	}
	at := timestamppb.New(noon)
	type generic = statusv3.ClientConfig_GenericXdsConfig
	want := &statusv3.ClientStatusResponse{Config: []*statusv3.ClientConfig{{
		Node: &corev3.Node{Id: "n1"}, ClientScope: "stream 0, ads, delta, from 10.0.0.9:1, envoy in default",
		GenericXdsConfigs: []*generic{
			{Name: "synced", VersionInfo: "v1", LastUpdated: at, ConfigStatus: statusv3.ConfigStatus_SYNCED, ClientStatus: adminv3.ClientResourceStatus_ACKED},
			{Name: "sent", VersionInfo: "v1", LastUpdated: at, ConfigStatus: statusv3.ConfigStatus_STALE, ClientStatus: adminv3.ClientResourceStatus_ACKED},
			{
				Name: "refused", VersionInfo: "v1", LastUpdated: at, ConfigStatus: statusv3.ConfigStatus_ERROR, ClientStatus: adminv3.ClientResourceStatus_NACKED,
				ErrorState: &adminv3.UpdateFailureState{LastUpdateAttempt: at, Details: "no such filter", VersionInfo: "v2"},
			},
			{Name: "waiting", ConfigStatus: statusv3.ConfigStatus_NOT_SENT, ClientStatus: adminv3.ClientResourceStatus_REQUESTED},
			{Name: "missing", ConfigStatus: statusv3.ConfigStatus_NOT_SENT, ClientStatus: adminv3.ClientResourceStatus_DOES_NOT_EXIST},
			{Name: "first", ConfigStatus: statusv3.ConfigStatus_STALE, ClientStatus: adminv3.ClientResourceStatus_REQUESTED},
		},
	}}}
	for _, g := range want.Config[0].GenericXdsConfigs {
		g.TypeUrl = resource.Cluster.URL()
	}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Error(d)
	}
}

func TestVersionsSentAndAccepted(t *testing.T) {
	f := fleet{{&corev3.Node{Id: "n1"}, []ads.NameStatus{
		{Type: resource.Cluster, Name: "a", Current: form("v3", 3), Sent: delivery("v2", 2), Acked: delivery("v1", 0)},
		{Type: resource.Cluster, Name: "b"},
	}}}
	got, err := dial(t, f, 1<<20).FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	packed := got.GetConfig()[0].GetGenericXdsConfigs()
	m, err := packed[0].GetXdsConfig().UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"current":  map[string]any{"version": "v3", "revision": 3.0},
		"sent":     map[string]any{"version": "v2", "revision": 2.0, "at": "2026-01-02T12:00:00Z"},
		"accepted": map[string]any{"version": "v1", "at": "2026-01-02T12:00:00Z"},
	}
	if d := cmp.Diff(want, m.(*structpb.Struct).AsMap()); d != "" {
		t.Error(d)
	}
	if packed[1].GetXdsConfig() != nil {
		t.Errorf("of what does not exist: %v", packed[1])
	}
}

// large is a fleet whose status takes about 20 kB.
func large() fleet {
	var f fleet
	for i := range 10 {
		c := client{node: &corev3.Node{Id: fmt.Sprint("n", i)}}
		for k := range 10 {
			c.names = append(c.names, ads.NameStatus{
				Type: resource.Endpoints, Name: fmt.Sprint("name ", k, strings.Repeat(".", 100)), Sent: delivery("v1", 1), Current: form("v1", 1),
			})
		}
		f = append(f, c)
	}
	return f
}

func TestFetchIsBounded(t *testing.T) {
	c := dial(t, large(), 10_000)
	_, err := c.FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{})
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "node_matchers: ") || !strings.Contains(err.Error(), "10000 bytes") {
		t.Errorf("%v", err)
	}
	one := []*matcherv3.NodeMatcher{{NodeId: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "n3"}}}}
	got, err := c.FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{NodeMatchers: one})
	if err != nil || len(got.GetConfig()) != 1 || got.GetConfig()[0].GetNode().GetId() != "n3" || len(got.GetConfig()[0].GetGenericXdsConfigs()) != 10 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestStreamIsCutIntoResponses(t *testing.T) {
	const limit = 1500 // less than one client needs
	s, err := dial(t, large(), limit).StreamClientStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err = s.Send(&statusv3.ClientStatusRequest{}); err != nil {
		t.Fatal(err)
	}
	if err = s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	responses := 0
	for ; ; responses++ {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := proto.Size(r); n > limit {
			t.Errorf("a response of %d bytes", n)
		}
		for _, c := range r.GetConfig() {
			for _, g := range c.GetGenericXdsConfigs() {
				seen[c.GetNode().GetId()+" "+g.GetName()]++
			}
		}
	}
	if len(seen) != 100 || responses < 10 {
		t.Errorf("%d resources in %d responses", len(seen), responses)
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", name, n)
		}
	}
}

func TestStreamAnswersEachRequest(t *testing.T) {
	s, err := dial(t, large()[:2], 1<<20).StreamClientStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0, 2} {
		in := &statusv3.ClientStatusRequest{}
		if want < 2 {
			id := []string{"nobody", "n1"}[want]
			in.NodeMatchers = []*matcherv3.NodeMatcher{{NodeId: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: id}}}}
		}
		if err := s.Send(in); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Recv(); err != nil || len(r.GetConfig()) != want {
			t.Errorf("%v, %v; want %d clients", r, err, want)
		}
	}
	if err := s.Send(&statusv3.ClientStatusRequest{NodeMatchers: make([]*matcherv3.NodeMatcher, maxMatchers+1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("too many matchers: %v", err)
	}
}

func TestRunEndsStreams(t *testing.T) {
	f := New(fleet{}, access.Open())
	ctx, cancel := context.WithCancel(t.Context())
	pipe := bufconn.Listen(1 << 16)
	g := grpc.NewServer()
	f.Register(g)
	go func() { _ = g.Serve(pipe) }()
	defer g.Stop()
	conn, err := grpc.NewClient("passthrough:///csds", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	c := statusv3.NewClientStatusDiscoveryServiceClient(conn)
	s, err := c.StreamClientStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&statusv3.ClientStatusRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Error(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
	if _, err := c.FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after the end: %v", err)
	}
}
