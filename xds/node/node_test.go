package node

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"polestar/xds/resource"
)

func metadata(t testing.TB, m map[string]any) *structpb.Struct {
	s, err := structpb.NewStruct(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	v, err := Parse(&corev3.Node{
		Id: "n", UserAgentName: "envoy", Locality: &corev3.Locality{Region: "r", Zone: "z", SubZone: "c"},
		Metadata: metadata(t, map[string]any{"namespace": "shop", "service": "cart", "egress_address": "[::1]:15001", "other": 1}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if v.Client != resource.Envoy || v.Namespace != "shop" || v.Service != "cart" || !v.LegacyWildcard() || v.Location.Campus != "c" {
		t.Errorf("%+v", v)
	}
	want := resource.Scope{EgressAddress: "::1", EgressPort: 15001}
	if got := v.Scope(resource.Listener); got != want {
		t.Errorf("listener scope %+v", got)
	}
	if got := v.Scope(resource.Cluster); got != (resource.Scope{}) {
		t.Errorf("clusters are the same for all Envoys, but the scope is %+v", got)
	}
	if got := v.Scope(resource.Route); got != (resource.Scope{Namespace: "shop"}) {
		t.Errorf("route scope %+v", got)
	}
}

func TestGRPCNeverHasTheLegacyWildcard(t *testing.T) {
	for _, agent := range []string{"gRPC Go", "gRPC C-core", "gRPC Java"} {
		v, err := Parse(&corev3.Node{Id: "n", UserAgentName: agent})
		if err != nil || v.Client != resource.GRPC || v.LegacyWildcard() || v.Namespace != "default" {
			t.Errorf("%s: %+v, %v", agent, v, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for want, n := range map[string]*corev3.Node{
		"node.id":                      {},
		"node.metadata.egress_address": {Id: "n", Metadata: metadata(t, map[string]any{"egress_address": "localhost:1"})},
		"node.metadata.namespace":      {Id: "n", Metadata: metadata(t, map[string]any{"namespace": strings.Repeat("x", 300)})},
		"node.metadata.service":        {Id: "n", Metadata: metadata(t, map[string]any{"service": "a\x00b"})},
	} {
		if _, err := Parse(n); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one that names %s", n, err, want)
		}
	}
}
