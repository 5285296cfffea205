package ads

import (
	"context"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/service/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/service/route/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"polestar/xds/resource"
)

// deltaClient is one end of an incremental stream.
type deltaClient struct {
	t *testing.T
	grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
}

func (d *door) delta(t *testing.T) deltaClient {
	t.Helper()
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(d.conn).DeltaAggregatedResources(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	return deltaClient{t, s}
}

// patient bounds a test that waits for an answer in vain.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (c deltaClient) send(r *discoveryv3.DeltaDiscoveryRequest) {
	c.t.Helper()
	if err := c.Send(r); err != nil {
		c.t.Fatal(err)
	}
}

func (c deltaClient) recv() *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	r, err := c.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func TestP01EveryServiceOfOneType(t *testing.T) {
	d := open(t)
	for _, typ := range namedTypes() {
		d.put(typ, "a", "of "+typ.String())
	}
	type sotwStream = grpc.BidiStreamingClient[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
	type deltaStream = grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
	cds, eds := clusterv3.NewClusterDiscoveryServiceClient(d.conn), endpointv3.NewEndpointDiscoveryServiceClient(d.conn)
	lds, rds := listenerv3.NewListenerDiscoveryServiceClient(d.conn), routev3.NewRouteDiscoveryServiceClient(d.conn)
	for typ, open := range map[resource.Type]func(context.Context, ...grpc.CallOption) (sotwStream, error){
		resource.Cluster: cds.StreamClusters, resource.Endpoints: eds.StreamEndpoints,
		resource.Listener: lds.StreamListeners, resource.Route: rds.StreamRoutes,
	} {
		s, err := open(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		c := sotwClient{t, s}
		c.send(&discoveryv3.DiscoveryRequest{Node: envoy, ResourceNames: []string{"a"}}) // the type goes without saying
		if r := c.recv(); contents(r) != "of "+typ.String() || r.GetTypeUrl() != typ.URL() {
			t.Errorf("%s: %v", typ, r)
		}
		c.send(&discoveryv3.DiscoveryRequest{TypeUrl: "type.googleapis.com/nobody.Knows"})
		c.ends(codes.InvalidArgument, "type_url: this service serves "+typ.URL()+" only")
	}
	for typ, open := range map[resource.Type]func(context.Context, ...grpc.CallOption) (deltaStream, error){
		resource.Cluster: cds.DeltaClusters, resource.Endpoints: eds.DeltaEndpoints,
		resource.Listener: lds.DeltaListeners, resource.Route: rds.DeltaRoutes,
	} {
		s, err := open(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		c := deltaClient{t, s}
		c.send(&discoveryv3.DeltaDiscoveryRequest{Node: envoy, ResourceNamesSubscribe: []string{"a"}})
		if r := c.recv(); len(r.GetResources()) != 1 || string(r.GetResources()[0].GetResource().GetValue()) != "of "+typ.String() ||
			r.GetTypeUrl() != typ.URL() {
			t.Errorf("%s: %v", typ, r)
		}
		c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: "type.googleapis.com/nobody.Knows"})
		ends(t, func() error { _, err := c.Recv(); return err }, codes.InvalidArgument, "type_url: this service serves")
	}
}

func TestP01FetchIsUnimplemented(t *testing.T) {
	d := open(t)
	_, err := clusterv3.NewClusterDiscoveryServiceClient(d.conn).FetchClusters(t.Context(), &discoveryv3.DiscoveryRequest{})
	if status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}

func TestP02NodeIsOfTheFirstMessage(t *testing.T) {
	d := open(t)
	for _, typ := range namedTypes() {
		d.put(typ, "a", "a1")
	}
	// Any type can come first; so it is when an Envoy reconnects while it warms.
	for _, first := range namedTypes() {
		c, dc := d.sotw(t), d.delta(t)
		c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: first.URL(), ResourceNames: []string{"a"}})
		dc.send(&discoveryv3.DeltaDiscoveryRequest{Node: envoy, TypeUrl: first.URL(), ResourceNamesSubscribe: []string{"a"}})
		for _, typ := range namedTypes() {
			if typ != first {
				c.send(&discoveryv3.DiscoveryRequest{TypeUrl: typ.URL(), ResourceNames: []string{"a"}})
				dc.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typ.URL(), ResourceNamesSubscribe: []string{"a"}})
			}
			if r := c.recv(); len(r.GetResources()) != 1 {
				t.Errorf("first %s, then %s: %v", first, typ, r)
			}
			if r := dc.recv(); len(r.GetResources()) != 1 {
				t.Errorf("first %s, then %s: %v", first, typ, r)
			}
		}
	}
}

func TestP02LaterNodesAreIgnored(t *testing.T) {
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	r := c.recv()
	c.send(&discoveryv3.DiscoveryRequest{Node: &corev3.Node{}, TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce()})
	c.send(&discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: "other"}, TypeUrl: resource.Endpoints.URL(), ResourceNames: []string{"x"}})
	c.recv()
	if got := d.server.Clients(); len(got) != 1 || got[0].NodeID != "n1" {
		t.Errorf("clients: %+v", got)
	}
}

func TestP03NoncesAreOfOneTypeAndStream(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put eds a 1
		> cds
		< cds #1 @1 a=1
		> eds a
		< eds #2 @2 a=1
		put eds a 2
		> eds #1 a         // a nonce of another type
		< nothing
		> eds #2 a
		< eds #3 @3 a=2
	`)
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	one, other := d.sotw(t), d.sotw(t)
	one.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	r := one.recv()
	// What an earlier stream knew, nonce included, says nothing here.
	other.send(&discoveryv3.DiscoveryRequest{
		Node: envoy, TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce(), VersionInfo: r.GetVersionInfo(),
	})
	if r := other.recv(); contents(r) != "a1" {
		t.Errorf("on another stream: %v", r)
	}
}

func TestP05EveryResponseNamesTheServer(t *testing.T) {
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	c, dc := d.sotw(t), d.delta(t)
	for i, url := range []string{resource.Cluster.URL(), resource.Endpoints.URL()} {
		node := envoy
		if i > 0 {
			node = nil
		}
		c.send(&discoveryv3.DiscoveryRequest{Node: node, TypeUrl: url, ResourceNames: []string{"a"}})
		if r := c.recv(); r.GetControlPlane().GetIdentifier() != "polestar-1" {
			t.Errorf("%s: %v", url, r)
		}
	}
	for i, url := range []string{resource.Cluster.URL(), resource.Endpoints.URL(), "type.googleapis.com/nobody.Knows"} {
		node := envoy
		if i > 0 {
			node = nil
		}
		dc.send(&discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: url, ResourceNamesSubscribe: []string{"a"}})
		if r := dc.recv(); r.GetControlPlane().GetIdentifier() != "polestar-1" {
			t.Errorf("%s: %v", url, r)
		}
	}
}

func TestS01OnlyErrorDetailMakesANack(t *testing.T) {
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	r := c.recv()
	// An ACK, although its version is not the one that was sent.
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce(), VersionInfo: "older"})
	d.change(resource.Cluster, "a", "a2")
	r = c.recv()
	if got := d.server.Clients()[0].Types[0]; got.Acked.Revision != 1 || got.Refused.Count != 0 {
		t.Errorf("after an ACK with a strange version: %+v", got)
	}
	// A NACK, although it says that the version is accepted and nothing is wrong.
	c.send(&discoveryv3.DiscoveryRequest{
		TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce(), VersionInfo: r.GetVersionInfo(), ErrorDetail: &rpcstatus.Status{},
	})
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Endpoints.URL(), ResourceNames: []string{"none"}})
	c.recv()
	if got := d.server.Clients()[0].Types[0]; got.Refused.Count != 1 || got.Acked.Revision != 1 {
		t.Errorf("after an empty error_detail: %+v", got)
	}
}

func TestS12ResourcesAreNeverWrapped(t *testing.T) {
	d := open(t)
	d.put(resource.Endpoints, "a", "a1")
	for _, features := range [][]string{nil, {"xds.config.resource-in-sotw"}} {
		c := d.sotw(t)
		c.send(&discoveryv3.DiscoveryRequest{
			Node:    &corev3.Node{Id: "n1", UserAgentName: "gRPC Go", ClientFeatures: features},
			TypeUrl: resource.Endpoints.URL(), ResourceNames: []string{"a"},
		})
		r := c.recv()
		if len(r.GetResources()) != 1 || r.GetResources()[0].GetTypeUrl() != resource.Endpoints.URL() {
			t.Errorf("features %v: %v", features, r)
		}
	}
}

// TestN01MissingNamesAreToldInStateOfTheWorld: a client would wait 15 s else.
func TestN01MissingNamesAreToldInStateOfTheWorld(t *testing.T) {
	d := open(t)
	c := d.sotw(t)
	for i, typ := range namedTypes() {
		r := &discoveryv3.DiscoveryRequest{TypeUrl: typ.URL(), ResourceNames: []string{"none"}}
		if i == 0 {
			r.Node = envoy
		}
		c.send(r)
		got := c.recv()
		if len(got.GetResourceErrors()) != 1 || got.GetResourceErrors()[0].GetResourceName().GetName() != "none" ||
			codes.Code(got.GetResourceErrors()[0].GetErrorDetail().GetCode()) != codes.NotFound {
			t.Errorf("%s: %v", typ, got)
		}
	}
}

func TestN02AbsenceTellsAClientByName(t *testing.T) {
	play(t, sotwGRPC, `
		put lds a 1
		put lds b 1
		put cds a 1
		> lds a b
		< lds #1 @2 a=1 b=1
		> lds #1 a b
		> cds a
		< cds #2 @3 a=1
		> cds #2 a
		del lds a
		< lds #3 @4 b=1
		> lds #3 a b
		del cds a
		< cds #4 @5
		> cds #4 a
		put lds a 2        // still subscribed
		< lds #5 @6 a=2 b=1
	`)
}

// TestReferenceDefect01NoClientEndsTheServer plays what ended the reference,
// and after each asks whether others are still served.
func TestReferenceDefect01NoClientEndsTheServer(t *testing.T) {
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	served := func() {
		t.Helper()
		c := d.sotw(t)
		c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
		if r := c.recv(); contents(r) != "a1" {
			t.Errorf("others are sent %v", r)
		}
	}
	dc := d.delta(t)
	dc.send(&discoveryv3.DeltaDiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	r := dc.recv()
	dc.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce()})
	served()

	for range 20 { // clients that vanish, before and after they said something
		ctx, cancel := context.WithCancel(t.Context())
		s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(d.conn).StreamAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()}); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	served()

	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy})
	c.ends(codes.InvalidArgument, "type_url")
	served()

	err := d.conn.Invoke(t.Context(), "/envoy.service.health.v3.HealthDiscoveryService/FetchHealthCheck",
		&discoveryv3.DiscoveryRequest{}, &discoveryv3.DiscoveryResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("a registration for health discovery: %v", err)
	}
	served()
}

// TestReferenceDefect03OneNameIsEnough: the reference answers only who names
// all that there is.
func TestReferenceDefect03OneNameIsEnough(t *testing.T) {
	d := open(t)
	for _, typ := range namedTypes() {
		for _, name := range []string{"a", "b", "c"} {
			d.put(typ, name, name+"1")
		}
	}
	for _, typ := range namedTypes() {
		c := d.sotw(t)
		c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: typ.URL(), ResourceNames: []string{"b"}})
		if r := c.recv(); contents(r) != "b1" {
			t.Errorf("%s: %v", typ, r)
		}
	}
}

// TestReferenceDefect08DeltaAnswersEveryName on the wire; the scripts of the
// D-rules say more.
func TestReferenceDefect08DeltaAnswersEveryName(t *testing.T) {
	d := open(t)
	d.put(resource.Endpoints, "a", "a1")
	c := d.delta(t)
	ask := &discoveryv3.DeltaDiscoveryRequest{Node: envoy, TypeUrl: resource.Endpoints.URL(), ResourceNamesSubscribe: []string{"a", "b"}}
	for range 3 {
		c.send(ask)
		r := c.recv()
		if len(r.GetResources()) != 1 || r.GetResources()[0].GetName() != "a" || !slices.Equal(r.GetRemovedResources(), []string{"b"}) {
			t.Fatalf("answer: %v", r)
		}
		c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.Endpoints.URL(), ResponseNonce: r.GetNonce()})
		ask.Node = nil
	}
	d.change(resource.Endpoints, "b", "b1") // its subscription stayed
	if r := c.recv(); len(r.GetResources()) != 1 || r.GetResources()[0].GetName() != "b" {
		t.Errorf("after b appeared: %v", r)
	}
}
