package ads

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	clusterservice "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"polestar/xds/resource"
)

func TestStreamOfClusters(t *testing.T) {
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	r := c.recv()
	if contents(r) != "a1" || r.GetVersionInfo() != "1" || r.GetControlPlane().GetIdentifier() != "polestar-1" || r.GetTypeUrl() != resource.Cluster.URL() {
		t.Errorf("first response: %v", r)
	}
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce(), VersionInfo: r.GetVersionInfo()})
	d.change(resource.Cluster, "b", "b1")
	if r := c.recv(); contents(r) != "a1 b1" {
		t.Errorf("after a new cluster: %v", r)
	}
}

func TestW08NotReadyIsUnavailable(t *testing.T) {
	d := open(t)
	d.ready.Store(false)
	c := d.sotw(t)
	c.ends(codes.Unavailable, "not ready: the registry is not loaded yet")
}

func TestP02NodeMissing(t *testing.T) {
	c := open(t).sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Cluster.URL()})
	c.ends(codes.InvalidArgument, "node: must be in the first message")
}

func TestP02NodeRefused(t *testing.T) {
	c := open(t).sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: &corev3.Node{}, TypeUrl: resource.Cluster.URL()})
	c.ends(codes.InvalidArgument, "node.id: must not be empty")
}

func TestP03TypeMissing(t *testing.T) {
	c := open(t).sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy})
	c.ends(codes.InvalidArgument, "type_url: must not be empty")
}

func TestP01TypeMayBeEmptyOnServiceOfOneType(t *testing.T) {
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := clusterservice.NewClusterDiscoveryServiceClient(d.conn).DeltaClusters(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err = s.Send(&discoveryv3.DeltaDiscoveryRequest{Node: envoy}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Recv()
	if err != nil || len(r.GetResources()) != 1 || r.GetResources()[0].GetName() != "a" || r.GetResources()[0].GetVersion() != "a1" {
		t.Fatal(r, err)
	}
	if err = s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.Route.URL()}); err != nil {
		t.Fatal(err)
	}
	ends(t, func() error { _, err := s.Recv(); return err }, codes.InvalidArgument, "type_url: this service serves")
}

func TestP04UnknownType(t *testing.T) {
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: "type.googleapis.com/nobody.Knows", ResourceNames: []string{"x"}})
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Cluster.URL()})
	if r := c.recv(); contents(r) != "a1" {
		t.Errorf("after an unknown type: %v", r)
	}
	if got := d.server.Clients()[0].Unserved; !slices.Equal(got, []string{"type.googleapis.com/nobody.Knows"}) {
		t.Errorf("unserved types: %v", got)
	}
}

func TestS03NackGivesSilence(t *testing.T) {
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	r := c.recv()
	c.send(&discoveryv3.DiscoveryRequest{
		TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce(), ErrorDetail: &rpcstatus.Status{Code: 3, Message: "bad a"},
	})
	// The next message answers this, so nothing answered the refusal.
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Endpoints.URL(), ResourceNames: []string{"nothing"}})
	if r := c.recv(); r.GetTypeUrl() != resource.Endpoints.URL() {
		t.Errorf("a refusal was answered with %v", r)
	}
	d.change(resource.Cluster, "a", "a2")
	if r := c.recv(); contents(r) != "a2" {
		t.Errorf("after a newer version: %v", r)
	}
	got := d.server.Clients()[0].Types[0].Refused
	if got.Reason != "bad a" || !slices.Equal(got.Names, []string{"a"}) || got.Count != 1 || got.Revision != 1 {
		t.Errorf("status of the refusal: %+v", got)
	}
}

func TestP08DrainEndsStreams(t *testing.T) {
	d := open(t)
	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	c.recv()
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- d.server.Run(ctx) }()
	stop()
	c.ends(codes.Unavailable, "server is shutting down")
	if err := <-ran; err != nil {
		t.Error(err)
	}
	d.sotw(t).ends(codes.Unavailable, "server is shutting down")
	if got := d.server.Clients(); len(got) != 0 {
		t.Errorf("clients after the end: %v", got)
	}
}

// TestG25ClientThatNeverReads runs with fake time: the client opens a stream
// and reads nothing, while everything changes all the time.
func TestG25ClientThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t)
		var names []string
		for i := range 40 {
			names = append(names, fmt.Sprint(i))
			d.put(resource.Endpoints, names[i], strings.Repeat("x", 100_000))
		}
		c := d.sotw(t)
		start := time.Now()
		c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Endpoints.URL(), ResourceNames: names})
		c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Cluster.URL()})
		synctest.Wait()
		for i := range 100 {
			for _, name := range names {
				d.put(resource.Endpoints, name, fmt.Sprint(strings.Repeat("y", 100_000), i))
			}
			for _, name := range names {
				d.cache.Refresh([]resource.Ref{{Type: resource.Endpoints, Name: name}})
			}
		}
		if got := d.server.Clients(); len(got) != 1 || got[0].Types[0].Sent.Nonce == "" {
			t.Fatalf("clients: %+v", got)
		}
		if at := metric(t, d.metrics, "polestar_xds_responses_total"); at > 2 {
			t.Errorf("%v responses were made for a client that reads none", at)
		}
		time.Sleep(DefaultSendTimeout)
		synctest.Wait()
		if got := d.server.Clients(); len(got) != 0 {
			t.Errorf("still connected: %+v", got)
		}
		c.ends(codes.DeadlineExceeded, "the client did not read for 1m0s")
		if got := time.Since(start); got != DefaultSendTimeout {
			t.Errorf("ended after %v", got)
		}
	})
}

// metric adds up all series of a counter.
func metric(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func TestMetricsAndClient(t *testing.T) {
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	r := c.recv()
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce()})
	d.change(resource.Cluster, "a", "a2")
	r = c.recv()
	c.send(&discoveryv3.DiscoveryRequest{
		TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce(), ErrorDetail: &rpcstatus.Status{Message: "no"},
	})
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Endpoints.URL(), ResourceNames: []string{"none"}})
	c.recv()
	for name, want := range map[string]float64{
		"polestar_xds_streams":              1,
		"polestar_xds_resources_sent_total": 2,
		"polestar_xds_acks_total":           1,
		"polestar_xds_nacks_total":          1,
		"polestar_xds_ack_seconds":          1,
	} {
		if got := metric(t, d.metrics, name); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	all := d.server.Clients()
	if len(all) != 1 {
		t.Fatalf("clients: %+v", all)
	}
	got := all[0]
	if got.NodeID != "n1" || got.UserAgent != "envoy" || got.View != "everybody" || got.Service != "ads" || got.Delta ||
		got.Peer == "" || got.Since.IsZero() || len(got.Types) != 2 || !got.Types[0].Wildcard || got.Types[1].Names != 1 {
		t.Errorf("client: %+v", got)
	}
	one, names, ok := d.server.Client(got.ID)
	if !ok || one.NodeID != "n1" || len(names) != 2 || names[0].Name != "a" || names[0].Acked.Version != "a1" || names[1].Name != "none" {
		t.Errorf("client %d: %+v %+v %v", got.ID, one, names, ok)
	}
	if _, _, ok := d.server.Client(got.ID + 1); ok {
		t.Error("a stream that does not exist was found")
	}
}

func TestIdentityOfAClientIsBounded(t *testing.T) {
	d := open(t)
	text := strings.Repeat("x", 1000)
	fields := map[string]*structpb.Value{}
	for i := range 5 {
		fields[fmt.Sprint(i)] = structpb.NewStringValue(text)
	}
	small := &structpb.Struct{Fields: map[string]*structpb.Value{"a": structpb.NewStringValue("b")}}
	where := &corev3.Locality{Zone: "z"}
	for _, c := range []struct{ sent, kept *corev3.Node }{
		{
			&corev3.Node{Id: "n", Cluster: "c", Locality: where, Metadata: small, ClientFeatures: []string{"f"}},
			&corev3.Node{Id: "n", Cluster: "c", Locality: where, Metadata: small},
		},
		{
			&corev3.Node{Id: "n", Cluster: "c", Locality: where, Metadata: &structpb.Struct{Fields: fields}},
			&corev3.Node{Id: "n", Cluster: "c", Locality: where},
		},
		{&corev3.Node{Id: "n", Cluster: strings.Repeat("c", maxSelf), Metadata: small}, &corev3.Node{Id: "n"}},
	} {
		s := d.sotw(t)
		s.send(&discoveryv3.DiscoveryRequest{Node: c.sent, TypeUrl: resource.Endpoints.URL(), ResourceNames: []string{"none"}})
		s.recv()
		ids := d.server.Streams()
		if diff := cmp.Diff(c.kept, d.server.Identity(ids[len(ids)-1]), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	if n := d.server.Identity(99); n != nil {
		t.Errorf("of no stream: %v", n)
	}
}
