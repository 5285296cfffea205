package main

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/xds/resource"
)

// follower is a delta client that answers when a test says so.
type follower struct {
	t      *testing.T
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	node   *corev3.Node // until it is said
}

// follow opens a stream as a node of the default namespace.
func (w *whole) follow(t *testing.T, id string) *follower {
	t.Helper()
	stream, err := w.xds.DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.CloseSend() })
	return &follower{t, stream, &corev3.Node{Id: id, UserAgentName: "envoy"}}
}

func (f *follower) say(r *discoveryv3.DeltaDiscoveryRequest) {
	f.t.Helper()
	r.Node, f.node = f.node, nil
	if err := f.stream.Send(r); err != nil {
		f.t.Fatal(err)
	}
}

// subscribe asks for resources and returns the answer.
func (f *follower) subscribe(typ resource.Type, names ...string) *discoveryv3.DeltaDiscoveryResponse {
	f.t.Helper()
	f.say(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typ.URL(), ResourceNamesSubscribe: names})
	return f.hear()
}

func (f *follower) hear() *discoveryv3.DeltaDiscoveryResponse {
	f.t.Helper()
	r, err := f.stream.Recv()
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *follower) accept(r *discoveryv3.DeltaDiscoveryResponse) {
	f.t.Helper()
	f.say(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()})
}

func (f *follower) refuse(r *discoveryv3.DeltaDiscoveryResponse, why string) {
	f.t.Helper()
	f.say(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce(), ErrorDetail: &rpcstatus.Status{Message: why}})
}

// put registers an instance of a service in the default namespace, on port 80
// and changed as the functions say, and returns its id.
func (w *whole) put(t *testing.T, service, host string, change ...func(*service_manage.Instance)) string {
	t.Helper()
	i := &service_manage.Instance{
		Namespace: wrapperspb.String("default"), Service: wrapperspb.String(service),
		Host: wrapperspb.String(host), Port: wrapperspb.UInt32(80),
	}
	for _, f := range change {
		f(i)
	}
	res, err := w.polaris.RegisterInstance(t.Context(), i)
	if err != nil || res.GetCode().GetValue() != 200000 {
		t.Fatalf("register %s: %v, %v", host, res, err)
	}
	return res.GetInstance().GetId().GetValue()
}

// command runs a command line against the HTTP door.
func (w *whole) command(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t, append(args, "--server", w.http())...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

func (w *whole) http() string { return w.web.Addr().String() }
