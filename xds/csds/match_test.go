package csds

import (
	"fmt"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

func metadata(t *testing.T) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(map[string]any{
		"team": "Shop", "size": 7.5, "canary": true, "none": nil, "tags": []any{"a", 2.0}, "in": map[string]any{"zone": "z1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parse reads a NodeMatcher as it looks in JSON.
func parse(t *testing.T, text string) *matcherv3.NodeMatcher {
	t.Helper()
	m := &matcherv3.NodeMatcher{}
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return m
}

// at matches the value of a key of the metadata.
func at(key, value string) string {
	return fmt.Sprintf(`{"nodeMetadatas":[{"path":[{"key":%q}],"value":%s}]}`, key, value)
}

func TestNodeMatchers(t *testing.T) {
	node := &corev3.Node{Id: "sidecar-7", Metadata: metadata(t)}
	for want, texts := range map[bool][]string{
		true: {
			`{}`,
			`{"nodeId":{"exact":"sidecar-7"}}`,
			`{"nodeId":{"prefix":"sidecar-"}}`,
			`{"nodeId":{"contains":"car"}}`,
			`{"nodeId":{"exact":"SIDECAR-7","ignoreCase":true}}`,
			`{"nodeId":{"safeRegex":{"regex":"sidecar-[0-9]"}}}`,
			at("team", `{"stringMatch":{"prefix":"Sh"}}`),
			at("size", `{"doubleMatch":{"exact":7.5}}`),
			at("size", `{"doubleMatch":{"range":{"start":7.5,"end":8}}}`),
			at("canary", `{"boolMatch":true}`),
			at("none", `{"nullMatch":{}}`),
			at("team", `{"presentMatch":true}`),
			at("tags", `{"listMatch":{"oneOf":{"doubleMatch":{"exact":2}}}}`),
			at("team", `{"orMatch":{"valueMatchers":[{"nullMatch":{}},{"stringMatch":{"suffix":"op"}}]}}`),
			`{"nodeMetadatas":[{"path":[{"key":"in"},{"key":"zone"}],"value":{"stringMatch":{"exact":"z1"}}}]}`,
		},
		false: {
			`{"nodeId":{"exact":"Sidecar-7"}}`,
			`{"nodeId":{"suffix":"-8"}}`,
			`{"nodeId":{"safeRegex":{"regex":"sidecar|7"}}}`, // whole texts only
			at("team", `{"stringMatch":{"exact":"shop"}}`),
			at("size", `{"stringMatch":{"exact":"7.5"}}`),
			at("size", `{"doubleMatch":{"range":{"start":7,"end":7.5}}}`), // half-open
			at("team", `{"doubleMatch":{"exact":0}}`),
			at("canary", `{"boolMatch":false}`),
			at("team", `{"boolMatch":false}`),
			at("team", `{"nullMatch":{}}`),
			at("team", `{"presentMatch":false}`),
			at("nobody", `{"presentMatch":true}`),
			at("tags", `{"listMatch":{"oneOf":{"doubleMatch":{"exact":3}}}}`),
			at("team", `{"orMatch":{"valueMatchers":[{"nullMatch":{}},{"boolMatch":true}]}}`),
			`{"nodeMetadatas":[{"path":[{"key":"team"},{"key":"zone"}],"value":{"presentMatch":true}}]}`,
			`{"nodeId":{"prefix":"side"},"nodeMetadatas":[{"path":[{"key":"team"}],"value":{"stringMatch":{"exact":"ops"}}}]}`, // all parts
			`{"nodeId":{"prefix":"other"},"nodeMetadatas":[{"path":[{"key":"team"}],"value":{"presentMatch":true}}]}`,
		},
	} {
		for _, text := range texts {
			match, err := compile([]*matcherv3.NodeMatcher{parse(t, text)})
			if err != nil {
				t.Errorf("%s: %v", text, err)
			} else if got := match(node); got != want {
				t.Errorf("%s: %v, want %v", text, got, want)
			}
		}
	}
	match, err := compile([]*matcherv3.NodeMatcher{parse(t, `{"nodeId":{"exact":"no"}}`), parse(t, `{"nodeId":{"exact":"sidecar-7"}}`)})
	if err != nil || !match(node) || match(&corev3.Node{Id: "other"}) {
		t.Errorf("any of several: %v", err)
	}
	if match, err = compile(nil); err != nil || !match(node) {
		t.Errorf("none: %v", err)
	}
}

func TestNodeMatchersAreBounded(t *testing.T) {
	deep := `{"nullMatch":{}}`
	for range maxDepth {
		deep = `{"listMatch":{"oneOf":` + deep + `}}`
	}
	long := strings.Repeat("x", maxPattern+1)
	wide := `{"orMatch":{"valueMatchers":[` + strings.Repeat(`{"nullMatch":{}},`, maxMatchers) + `{"nullMatch":{}}]}}`
	steps := strings.TrimSuffix(strings.Repeat(`{"key":"a"},`, maxMatchers+1), ",")
	for text, want := range map[string]string{
		`{"nodeId":{}}`:                                                         "node_matchers[0].node_id: exact, prefix",
		`{"nodeId":{"exact":"` + long + `"}}`:                                   "node_matchers[0].node_id: 1025 bytes, at most 1024",
		`{"nodeId":{"safeRegex":{"regex":"` + long + `"}}}`:                     "node_matchers[0].node_id.safe_regex.regex: 1025 bytes",
		`{"nodeId":{"safeRegex":{"regex":"("}}}`:                                "node_matchers[0].node_id.safe_regex.regex: error parsing",
		`{"nodeMetadatas":[{"value":{"nullMatch":{}}}]}`:                        "node_matchers[0].node_metadatas[0].path: must not be empty",
		`{"nodeMetadatas":[{"path":[` + steps + `],"value":{"nullMatch":{}}}]}`: "node_metadatas[0].path: 65 entries, at most 64",
		at("a", `{}`):               "node_matchers[0].node_metadatas[0].value: must say what to match",
		at("a", deep):               "is nested more than 8 levels deep",
		at("a", wide):               "or_match.value_matchers: 65 entries",
		at("a", `{"listMatch":{}}`): "value.list_match.one_of: must say what to match",
	} {
		_, err := compile([]*matcherv3.NodeMatcher{parse(t, text)})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}
