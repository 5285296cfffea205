package node

import (
	"strconv"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
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
		Metadata: metadata(t, map[string]any{"namespace": "shop", "service": "cart", "egress_address": "[::1]:15001", "draining": true, "other": 1}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if v.Client != resource.Envoy || v.Namespace != "shop" || v.Service != "cart" || !v.LegacyWildcard() || v.Location.Campus != "c" {
		t.Errorf("%+v", v)
	}
	want := resource.Scope{EgressAddress: "::1", EgressPort: 15001}
	if got := v.Scope().For(resource.Listener); got != want {
		t.Errorf("listener scope %+v", got)
	}
	if got := v.Scope().For(resource.Cluster); got != (resource.Scope{Namespace: "shop"}) {
		t.Errorf("cluster scope %+v", got)
	}
	want = resource.Scope{Namespace: "shop", Location: v.Location, Draining: true}
	if got := v.Scope().For(resource.Endpoints); got != want {
		t.Errorf("endpoints scope %+v", got)
	}
	if got := v.Scope().For(resource.Route); got != (resource.Scope{Namespace: "shop"}) {
		t.Errorf("route scope %+v", got)
	}
}

func TestOnlyJavaIsJava(t *testing.T) {
	for agent, want := range map[string]bool{"gRPC Java": true, "gRPC Go": false, "gRPC C-core": false, "envoy": false} {
		v, err := Parse(&corev3.Node{Id: "n", UserAgentName: agent})
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Scope().For(resource.Cluster).Java; got != want {
			t.Errorf("%s: %v", agent, got)
		}
	}
}

func TestClientKind(t *testing.T) {
	for _, c := range []struct {
		agent, says string
		want        resource.Client
	}{
		{"gRPC Go", "", resource.GRPC},
		{"gRPC C-core", "", resource.GRPC},
		{"gRPC Java", "", resource.GRPC},
		{"envoy", "", resource.Envoy},
		{"", "", resource.Envoy},
		{"my client", "grpc", resource.GRPC},
		{"gRPC Go", "envoy", resource.Envoy},
	} {
		v, err := Parse(&corev3.Node{Id: "n", UserAgentName: c.agent, Metadata: metadata(t, map[string]any{"client": c.says})})
		if err != nil {
			t.Fatal(err)
		}
		if v.Client != c.want || v.Namespace != "default" {
			t.Errorf("%q with client %q: %+v", c.agent, c.says, v)
		}
		// An empty list of names from gRPC is an unsubscription.
		if v.LegacyWildcard() != (c.want == resource.Envoy) {
			t.Errorf("%q with client %q: legacy wildcard %t", c.agent, c.says, v.LegacyWildcard())
		}
	}
}

func TestUserAgent(t *testing.T) {
	build := &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{
		Version: &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: 40},
	}}
	for want, n := range map[string]*corev3.Node{
		"":               {Id: "n"},
		"envoy":          {Id: "n", UserAgentName: "envoy"},
		"envoy/1.40.0":   {Id: "n", UserAgentName: "envoy", UserAgentVersionType: build},
		"gRPC Go/1.85.0": {Id: "n", UserAgentName: "gRPC Go", UserAgentVersionType: &corev3.Node_UserAgentVersion{UserAgentVersion: "1.85.0"}},
	} {
		if v, err := Parse(n); err != nil || v.UserAgent != want {
			t.Errorf("user agent %+v, %v; want %s", v, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	with := func(key string, value any) *corev3.Node {
		return &corev3.Node{Id: "n", Metadata: metadata(t, map[string]any{key: value})}
	}
	polarisWith := func(key string, value any) *corev3.Node {
		return &corev3.Node{Id: "sidecar~default/1~10.0.0.1", Metadata: metadata(t, map[string]any{key: value})}
	}
	long := strings.Repeat("x", MaxText+1)
	var manyPorts strings.Builder
	for port := range 65 {
		manyPorts.WriteString(strconv.Itoa(port+1) + ",")
	}
	for name, c := range map[string]struct {
		node *corev3.Node
		want string // what the error must name
	}{
		"nothing":              {nil, "node.id"},
		"no id":                {&corev3.Node{Cluster: "c"}, "node.id"},
		"long id":              {&corev3.Node{Id: long}, "node.id: 257 bytes, at most 256"},
		"control character":    {&corev3.Node{Id: "a\nb"}, "node.id"},
		"not UTF-8":            {&corev3.Node{Id: "n", Cluster: "\xff"}, "node.cluster"},
		"long zone":            {&corev3.Node{Id: "n", Locality: &corev3.Locality{Zone: long}}, "node.locality.zone"},
		"long namespace":       {with("namespace", long), "node.metadata.namespace"},
		"namespace, a number":  {with("namespace", 7), "node.metadata.namespace: must be a string"},
		"service, a NUL":       {with("service", "a\x00b"), "node.metadata.service"},
		"egress, a name":       {with("egress_address", "localhost:1"), "node.metadata.egress_address"},
		"egress, no port":      {with("egress_address", "127.0.0.1"), "ip:port"},
		"egress, port 0":       {with("egress_address", "127.0.0.1:0"), "ip:port"},
		"egress, bare IPv6":    {with("egress_address", "::1:15001"), "[::1]:15001"},
		"egress, zone":         {with("egress_address", "[fe80::1%lo]:1"), "ip:port"},
		"egress, just a port":  {with("egress_address", 15001), "node.metadata.egress_address: must be a string"},
		"client, something":    {with("client", "nginx"), "node.metadata.client"},
		"long Polaris service": {with(KeyPolarisService, long), KeyPolarisService},
		"half a Polaris port":  {polarisWith(KeyPolarisPorts, "80,http"), KeyPolarisPorts + `: "http" is not a port`},
		"draining, something":  {with("draining", "yes"), `node.metadata.draining: "yes" is neither true nor false`},
		"draining, a number":   {with("draining", 1), "node.metadata.draining"},
		"Polaris port 0":       {polarisWith(KeyPolarisPorts, 0), KeyPolarisPorts},
		"Polaris port 65536":   {polarisWith(KeyPolarisPorts, "65536"), KeyPolarisPorts},
		"65 Polaris ports":     {polarisWith(KeyPolarisPorts, manyPorts.String()), "65 ports, at most 64"},
		"Polaris port list":    {polarisWith(KeyPolarisPorts, []any{80}), KeyPolarisPorts + ": must be a string"},
		"Polaris TLS":          {polarisWith(KeyPolarisTLS, "on"), KeyPolarisTLS + `: "on" is neither`},
		"Polaris on demand":    {polarisWith(KeyPolarisOnDemand, "yes"), KeyPolarisOnDemand + `: "yes" is neither`},
		"Polaris egress":       {polarisWith(KeyEgress, "localhost:1"), KeyEgress},
		"Polaris ingress":      {polarisWith(KeyIngress, 15006), KeyIngress},
	} {
		v, err := Parse(c.node)
		if err == nil || !strings.Contains(err.Error(), c.want) || v != nil {
			t.Errorf("%s: %+v, error %v, want one with %q", name, v, err, c.want)
		}
	}
	if _, err := Parse(with("namespace", nil)); err != nil {
		t.Errorf("null is as good as nothing: %v", err)
	}
}

func TestString(t *testing.T) {
	for want, v := range map[string]*View{
		"envoy in shop":       {Namespace: "shop"},
		"grpc of shop/basket": {Client: resource.GRPC, Namespace: "shop", Service: "basket"},
		"sidecar of shop/b":   {Kind: resource.Sidecar, Namespace: "shop", Service: "b"},
		"gateway in shop":     {Kind: resource.Gateway, Namespace: "shop"},
	} {
		if got := v.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// FuzzParse: any node is refused with an error or gives a view whose texts are
// bounded.
func FuzzParse(f *testing.F) {
	f.Add("n", "envoy", "shop", "[::1]:15001", "")
	f.Add("", "gRPC Go", "\x00", "127.0.0.1:99999", "grpc")
	f.Add("sidecar~shop/1~10.0.0.1", "envoy", "shop", "", "")
	f.Add("a/b/1~::1", "envoy", "shop", "1.1.1.1:1", "grpc")
	f.Fuzz(func(t *testing.T, id, agent, namespace, egress, client string) {
		md := &structpb.Struct{Fields: map[string]*structpb.Value{
			KeyNamespace: structpb.NewStringValue(namespace), KeyEgress: structpb.NewStringValue(egress), KeyClient: structpb.NewStringValue(client),
		}}
		v, err := Parse(&corev3.Node{Id: id, UserAgentName: agent, Metadata: md})
		switch {
		case (v == nil) == (err == nil):
			t.Fatalf("%+v, %v", v, err)
		case err != nil && (len(err.Error()) > 512 || !strings.HasPrefix(err.Error(), "node.")):
			t.Fatalf("error %q", err)
		case v != nil && (len(v.ID) > MaxText || v.Namespace == "" || len(v.Namespace) > MaxText):
			t.Fatalf("%+v", v)
		}
		if v == nil || v.Client == resource.GRPC {
			return
		}
		if listener := v.Scope().For(resource.Listener); v.Egress.IsValid() != (listener.EgressAddress != "") {
			t.Fatalf("%+v has the scope %+v", v, listener)
		}
		if v.Kind != resource.Plain && !v.Egress.IsValid() {
			t.Fatalf("%+v has no listener", v)
		}
	})
}
