package main

import (
	"context"
	"slices"
	"testing"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/xds/resource"
)

// The world is in before anybody can ask for it.
func TestW08NoDoorBeforeTheWorldIsLoaded(t *testing.T) {
	cfg := defaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.Polaris.Addr, cfg.XDS.Addr, cfg.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	a, err := newApp(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range a.parts() {
		if p.Start == nil {
			continue
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if a.loaded.Load() != (a.store.at.Load() != nil) {
			t.Errorf("after %s: loaded is %v", p.Name, a.loaded.Load())
		}
		if (a.xds.Addr() != nil || a.polaris.Addr() != nil) && !a.loaded.Load() {
			t.Errorf("after %s a door listens and nothing is loaded", p.Name)
		}
		if p.Name == "polaris door" {
			break
		}
	}
	for _, c := range []interface{ Close() error }{a.polaris, a.xds, &a.store} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.web.Serve(ctx); err != nil {
		t.Error(err)
	}
}

// reader is a state-of-the-world client of one type at a time.
type reader struct {
	t      *testing.T
	stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node   *corev3.Node
	nonces map[resource.Type]string
}

func (w *whole) reader(t *testing.T) *reader {
	t.Helper()
	stream, err := w.xds.StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.CloseSend() })
	return &reader{t: t, stream: stream, nonces: map[resource.Type]string{}, node: &corev3.Node{
		Id: "reader", UserAgentName: "envoy", Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			"egress_address": structpb.NewStringValue("127.0.0.1:15001"),
		}},
	}}
}

func (r *reader) ask(typ resource.Type, names ...string) {
	r.t.Helper()
	err := r.stream.Send(&discoveryv3.DiscoveryRequest{Node: r.node, TypeUrl: typ.URL(), ResponseNonce: r.nonces[typ], ResourceNames: names})
	if err != nil {
		r.t.Fatal(err)
	}
	r.node = nil
}

// read waits for a response of the type and accepts it.
func read[M proto.Message](r *reader, typ resource.Type, names ...string) []M {
	r.t.Helper()
	res, err := r.stream.Recv()
	if err != nil {
		r.t.Fatal(err)
	}
	if res.GetTypeUrl() != typ.URL() {
		r.t.Fatalf("a response of %s, want %s", res.GetTypeUrl(), typ)
	}
	r.nonces[typ] = res.GetNonce()
	r.ask(typ, names...)
	var out []M
	for _, packed := range res.GetResources() {
		m, err := packed.UnmarshalNew()
		if err != nil {
			r.t.Fatal(err)
		}
		if v, ok := m.(interface{ ValidateAll() error }); !ok || v.ValidateAll() != nil {
			r.t.Errorf("a client would refuse %v", m)
		}
		out = append(out, m.(M))
	}
	return out
}

func TestReferenceDefect04DeregistrationIsNoticed(t *testing.T) {
	w := startWhole(t, t.TempDir())
	r := w.reader(t)
	r.ask(resource.Endpoints, "default/cart")
	read[*endpointv3.ClusterLoadAssignment](r, resource.Endpoints, "default/cart")
	for range 10 {
		w.register(t, 1)
		if got := read[*endpointv3.ClusterLoadAssignment](r, resource.Endpoints, "default/cart"); len(got) != 1 || weightIn(t, got[0]) != 1 {
			t.Fatalf("after the registration: %v", got)
		}
		res, err := w.polaris.DeregisterInstance(t.Context(), &service_manage.Instance{
			Namespace: wrapperspb.String("default"), Service: wrapperspb.String("cart"),
			Host: wrapperspb.String("10.0.0.1"), Port: wrapperspb.UInt32(80),
		})
		if err != nil || res.GetCode().GetValue() != 200000 {
			t.Fatalf("deregister: %v, %v", res, err)
		}
		if got := w.discovered(t); len(got) != 0 {
			t.Fatalf("after the deregistration Discover shows %v", got)
		}
		if got := read[*endpointv3.ClusterLoadAssignment](r, resource.Endpoints, "default/cart"); len(got) != 1 || len(got[0].GetEndpoints()) != 0 {
			t.Fatalf("after the deregistration: %v", got)
		}
	}
}

// What poisons a namespace of the reference is registered at the door, and an
// Envoy reads everything.
func TestReferenceDefect07BadRegistrationsAtTheDoor(t *testing.T) {
	w := startWhole(t, t.TempDir())
	for _, i := range []struct{ service, host string }{
		{"good", "10.0.0.1"},
		{"named", "db.internal"},
		{"named", "10.0.0.2"},
		{"Foo", "10.0.0.3"},
		{"foo", "10.0.0.4"},
		{"a.default", "10.0.0.5"},
		{"a", "10.0.0.6"},
		{"twice", "10.0.0.7"},
		{"twice", "::ffff:10.0.0.7"},
	} {
		res, err := w.polaris.RegisterInstance(t.Context(), &service_manage.Instance{
			Namespace: wrapperspb.String("default"), Service: wrapperspb.String(i.service), Host: wrapperspb.String(i.host), Port: wrapperspb.UInt32(80),
		})
		if err != nil || res.GetCode().GetValue() != 200000 {
			t.Fatalf("register %v: %v, %v", i, res, err)
		}
	}
	r := w.reader(t)
	var names, routed []string
	r.ask(resource.Cluster)
	for _, c := range read[*clusterv3.Cluster](r, resource.Cluster) {
		names = append(names, c.GetName())
	}
	want := []string{"default/Foo", "default/a", "default/a.default", "default/foo", "default/good", "default/named", "default/twice"}
	if !slices.Equal(names, want) {
		t.Errorf("clusters: %v, want %v", names, want)
	}
	r.ask(resource.Endpoints, names...)
	for _, cla := range read[*endpointv3.ClusterLoadAssignment](r, resource.Endpoints, names...) {
		if len(cla.GetEndpoints()) != 1 || len(cla.GetEndpoints()[0].GetLbEndpoints()) != 1 {
			t.Errorf("%s: %v", cla.GetClusterName(), cla)
		}
	}
	r.ask(resource.Route, resource.EgressRoutes)
	for _, rc := range read[*routev3.RouteConfiguration](r, resource.Route, resource.EgressRoutes) {
		for _, host := range rc.GetVirtualHosts() {
			routed = append(routed, host.GetName())
		}
	}
	if want = slices.DeleteFunc(want, func(s string) bool { return s == "default/foo" }); !slices.Equal(routed, want) {
		t.Errorf("routes: %v, want %v: Foo was there before foo", routed, want)
	}
}

func TestClientStatusOfAWholeServer(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.register(t, 1)
	r := w.reader(t)
	r.ask(resource.Endpoints, "default/cart", "default/none")
	read[*endpointv3.ClusterLoadAssignment](r, resource.Endpoints, "default/cart", "default/none")
	who := &matcherv3.NodeMatcher{NodeId: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "reader"}}}
	for {
		got, err := w.status.FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{NodeMatchers: []*matcherv3.NodeMatcher{who}})
		if err != nil {
			t.Fatal(err)
		}
		all := got.GetConfig()[0].GetGenericXdsConfigs()
		if len(all) != 2 || all[0].GetName() != "default/cart" || all[1].GetName() != "default/none" {
			t.Fatalf("resources: %v", all)
		}
		if all[0].GetConfigStatus() == statusv3.ConfigStatus_STALE {
			continue // its acceptance is on the way, and no event announces it
		}
		if all[0].GetConfigStatus() != statusv3.ConfigStatus_SYNCED || all[1].GetClientStatus() != adminv3.ClientResourceStatus_DOES_NOT_EXIST {
			t.Errorf("resources: %v", all)
		}
		return
	}
}
