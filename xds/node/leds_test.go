package node

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

func TestLEDS(t *testing.T) {
	version := func(minor uint32) *corev3.Node_UserAgentBuildVersion {
		return &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{
			Version: &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: minor},
		}}
	}
	for _, c := range []struct {
		says  any
		node  *corev3.Node
		want  uint32
		error string
	}{
		{nil, &corev3.Node{}, 0, ""},
		{"", &corev3.Node{}, 0, ""},
		{"false", &corev3.Node{}, 0, ""},
		{"true", &corev3.Node{}, 500, ""},
		{true, &corev3.Node{UserAgentVersionType: version(38)}, 500, ""},
		{"1000000", &corev3.Node{UserAgentVersionType: version(40)}, 1_000_000, ""},
		{100, &corev3.Node{Id: "sidecar~default/1~10.0.0.1"}, 100, ""},
		{"true", &corev3.Node{UserAgentName: "gRPC Go"}, 0, ""},
		{"0", &corev3.Node{}, 0, "node.metadata.leds"},
		{"1000001", &corev3.Node{}, 0, "from 1 to 1000000"},
		{-1, &corev3.Node{}, 0, "node.metadata.leds"},
		{1.5, &corev3.Node{}, 0, "node.metadata.leds"},
		{"yes", &corev3.Node{}, 0, `"yes" is neither`},
		{[]any{}, &corev3.Node{}, 0, "must be a string"},
		{"true", &corev3.Node{UserAgentVersionType: version(37)}, 0, "needs Envoy 1.38, and this is 1.37"},
	} {
		if c.node.GetId() == "" {
			c.node.Id = "n"
		}
		c.node.Metadata = metadata(t, map[string]any{KeyLEDS: c.says})
		v, err := Parse(c.node)
		switch {
		case c.error == "" && (err != nil || v.Scope().Collected != c.want):
			t.Errorf("%v: %+v, %v; want %d", c.says, v, err, c.want)
		case c.error != "" && (err == nil || !strings.Contains(err.Error(), c.error)):
			t.Errorf("%v: error %v, want one with %q", c.says, err, c.error)
		}
	}
}
