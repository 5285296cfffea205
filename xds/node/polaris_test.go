package node

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/google/go-cmp/cmp"

	"polestar/xds/resource"
)

func TestPolarisID(t *testing.T) {
	for id, want := range map[string]struct {
		kind      resource.Kind
		namespace string
	}{
		"sidecar~bookinfo/productpage-v1-7bc8c4cb99-c69gh~10.0.0.208": {resource.Sidecar, "bookinfo"},
		"gateway~default/c962adc3-673e-4637-9ba8-969d755ef66a~::1":    {resource.Gateway, "default"},
		"default/12345~127.0.0.1":                                     {resource.Sidecar, "default"},
		"team/a/12345~127.0.0.1":                                      {resource.Sidecar, "team/a"},
		"sidecar~default/1~some-host":                                 {resource.Sidecar, "default"},
		"default/12345~some-host":                                     {resource.Plain, ""},
		"router~default/12345~127.0.0.1":                              {resource.Plain, ""},
		"12345~127.0.0.1":                                             {resource.Plain, ""},
		"default/127.0.0.1":                                           {resource.Plain, ""},
		"sidecar~/1~10.0.0.1":                                         {resource.Plain, ""},
		"sidecar~default/~10.0.0.1":                                   {resource.Plain, ""},
		"sidecar~default/1~":                                          {resource.Plain, ""},
		"sidecar~default/1~2~10.0.0.1":                                {resource.Plain, ""},
		"sidecar~":                                                    {resource.Plain, ""},
		"host-7-cart":                                                 {resource.Plain, ""},
	} {
		if kind, namespace := polarisID(id); kind != want.kind || namespace != want.namespace {
			t.Errorf("%q: kind %d in %q, want %d in %q", id, kind, namespace, want.kind, want.namespace)
		}
	}
}

// TestPolarisNode reads nodes as bootstraps of Polaris write them.
func TestPolarisNode(t *testing.T) {
	for name, c := range map[string]struct {
		id, agent string
		metadata  map[string]any
		want      resource.Scope
		text      string
	}{
		"an injected sidecar; labels of its pod mean nothing": {
			"sidecar~prod/cart-1~10.0.0.9", "envoy",
			map[string]any{
				"polarismesh.cn/tls-mode": "none", KeyPolarisNamespace: "prod", KeyPolarisService: "cart",
				"app": "cart", "namespace": "other", "service": "other", "client": "web", "gateway_service": "other",
			},
			resource.Scope{
				Kind: resource.Sidecar, Namespace: "prod", Service: "cart",
				EgressAddress: "0.0.0.0", EgressPort: 15001, IngressAddress: "0.0.0.0", IngressPort: 15006,
			},
			"sidecar of prod/cart",
		},
		"the id says the namespace when the metadata does not; a number is a port": {
			"prod/1~10.0.0.9", "envoy",
			map[string]any{KeyPolarisPorts: 8080, "sidecar.polarismesh.cn/openOnDemand": false},
			resource.Scope{
				Kind: resource.Sidecar, Namespace: "prod", BindPorts: "8080",
				EgressAddress: "0.0.0.0", EgressPort: 15001, IngressAddress: "0.0.0.0", IngressPort: 15006,
			},
			"sidecar in prod",
		},
		"metadata wins over the id; ports are sorted; listeners may be moved": {
			"sidecar~k8s/1~10.0.0.9", "envoy",
			map[string]any{
				KeyPolarisNamespace: "prod", KeyPolarisPorts: "9090, 80,80,", KeyEgress: "127.0.0.1:1", KeyIngress: "[::1]:2",
				KeyPolarisTLS: "strict", KeyPolarisOnDemand: true,
			},
			resource.Scope{
				Kind: resource.Sidecar, Namespace: "prod", BindPorts: "80,9090", Mutual: resource.MutualStrict, OnDemand: true,
				EgressAddress: "127.0.0.1", EgressPort: 1, IngressAddress: "::1", IngressPort: 2,
			},
			"sidecar in prod",
		},
		"a gateway has no inbound side": {
			"gateway~k8s/1~10.0.0.9", "envoy",
			map[string]any{KeyGatewayNamespace: "edge", KeyGatewayService: "gw", KeyPolarisService: "other", KeyPolarisPorts: "80"},
			resource.Scope{Kind: resource.Gateway, Namespace: "edge", Service: "gw", EgressAddress: "0.0.0.0", EgressPort: 15001},
			"gateway of edge/gw",
		},
		"a gateway with the old keys": {
			"gateway~k8s/1~10.0.0.9", "envoy",
			map[string]any{KeyOldGatewayNamespace: "edge", KeyOldGatewayService: "gw", KeyPolarisTLS: "Permissive"},
			resource.Scope{
				Kind: resource.Gateway, Namespace: "edge", Service: "gw", Mutual: resource.MutualPermissive,
				EgressAddress: "0.0.0.0", EgressPort: 15001,
			},
			"gateway of edge/gw",
		},
		"gRPC is gRPC, whatever its id": {
			"sidecar~prod/1~10.0.0.9", "gRPC Go",
			map[string]any{"namespace": "shop"},
			resource.Scope{Client: resource.GRPC, Namespace: "shop"},
			"grpc in shop",
		},
		"another id may use the keys of sidecars": {
			"n", "envoy",
			map[string]any{KeyPolarisNamespace: "prod", KeyPolarisService: "cart"},
			resource.Scope{Namespace: "prod", Service: "cart"},
			"envoy of prod/cart",
		},
		"and ours win there": {
			"n", "envoy",
			map[string]any{KeyPolarisNamespace: "prod", KeyPolarisService: "cart", "namespace": "mine", "service": "shop"},
			resource.Scope{Namespace: "mine", Service: "shop"},
			"envoy of mine/shop",
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := Parse(&corev3.Node{Id: c.id, UserAgentName: c.agent, Metadata: metadata(t, c.metadata)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, v.Scope()); diff != "" || v.String() != c.text {
				t.Errorf("%s: %s", v, diff)
			}
			if v.LegacyWildcard() != (c.want.Client == resource.Envoy) {
				t.Errorf("legacy wildcard: %t", v.LegacyWildcard())
			}
		})
	}
}
