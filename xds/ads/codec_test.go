package ads

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"polestar/xds/resource"
)

// packed makes resources a and b with their bytes.
func packed(t *testing.T) []*resource.Resource {
	t.Helper()
	reg := &registry{resources: map[resource.Ref]*resource.Resource{}}
	var out []*resource.Resource
	for _, name := range []string{"a", "b"} {
		out = append(out, reg.resources[reg.put(resource.Cluster, name, "of "+name)])
	}
	return out
}

func TestCodecSotW(t *testing.T) {
	data, err := Codec().Marshal(&packet{identifier: "me", Response: &Response{
		URL: "u", Nonce: "7", Version: "42", Resources: packed(t), Missing: []string{"c"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := &discoveryv3.DiscoveryResponse{
		VersionInfo: "42", TypeUrl: "u", Nonce: "7", ControlPlane: &corev3.ControlPlane{Identifier: "me"},
		Resources: []*anypb.Any{
			{TypeUrl: resource.Cluster.URL(), Value: []byte("of a")},
			{TypeUrl: resource.Cluster.URL(), Value: []byte("of b")},
		},
		ResourceErrors: []*discoveryv3.ResourceError{{
			ResourceName: &discoveryv3.ResourceName{Name: "c"},
			ErrorDetail:  &rpcstatus.Status{Code: 5, Message: "no such resource is registered"},
		}},
	}
	got := &discoveryv3.DiscoveryResponse{}
	if err := proto.Unmarshal(data.Materialize(), got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Error(d)
	}
}

func TestCodecDelta(t *testing.T) {
	data, err := Codec().Marshal(&packet{identifier: "me", Response: &Response{
		Delta: true, URL: "u", Nonce: "7", Version: "42", Resources: packed(t), Removed: []string{"c"}, Missing: []string{"c"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := &discoveryv3.DeltaDiscoveryResponse{
		SystemVersionInfo: "42", TypeUrl: "u", Nonce: "7", ControlPlane: &corev3.ControlPlane{Identifier: "me"},
		Resources: []*discoveryv3.Resource{
			{Name: "a", Version: "of a", Resource: &anypb.Any{TypeUrl: resource.Cluster.URL(), Value: []byte("of a")}},
			{Name: "b", Version: "of b", Resource: &anypb.Any{TypeUrl: resource.Cluster.URL(), Value: []byte("of b")}},
		},
		RemovedResources: []string{"c"},
		ResourceErrors: []*discoveryv3.ResourceError{{
			ResourceName: &discoveryv3.ResourceName{Name: "c"},
			ErrorDetail:  &rpcstatus.Status{Code: 5, Message: "no such resource is registered"},
		}},
	}
	got := &discoveryv3.DeltaDiscoveryResponse{}
	if err := proto.Unmarshal(data.Materialize(), got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Error(d)
	}
}

func TestCodecSharesFragments(t *testing.T) {
	list := packed(t)
	data, err := Codec().Marshal(&packet{Response: &Response{Resources: list}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		shared := false
		for _, part := range data {
			b := part.ReadOnlyData()
			shared = shared || len(b) > 0 && &b[0] == &r.Any[0]
		}
		if !shared {
			t.Errorf("the bytes of %s were copied", r.Name)
		}
	}
}

func TestCodecOfOtherMessages(t *testing.T) {
	want := &discoveryv3.DiscoveryRequest{TypeUrl: "u", ResourceNames: []string{"a"}}
	data, err := Codec().Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := &discoveryv3.DiscoveryRequest{}
	if err := Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(data.Materialize())}, got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Error(d)
	}
	if name := Codec().Name(); name != "proto" {
		t.Errorf("name %q", name)
	}
}
