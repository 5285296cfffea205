package csds

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// Bounds of one request.
const (
	maxMatchers = 64   // node_matchers, and the parts of each list within them
	maxPattern  = 1024 // bytes of a text or regular expression
	maxDepth    = 8    // of matchers within matchers
)

// Predicates of a matcher's parts.
type (
	ofNode  func(*corev3.Node) bool
	ofText  func(string) bool
	ofValue func(*structpb.Value) bool
)

func invalid(field, format string, args ...any) error {
	return status.Error(codes.InvalidArgument, field+": "+fmt.Sprintf(format, args...))
}

// bounded checks the length of a repeated field.
func bounded(field string, n int) error {
	if n > maxMatchers {
		return invalid(field, "%d entries, at most %d are allowed", n, maxMatchers)
	}
	return nil
}

// compile makes a predicate of node_matchers, any of which may match; without
// any, all nodes do.
func compile(matchers []*matcherv3.NodeMatcher) (ofNode, error) {
	if err := bounded("node_matchers", len(matchers)); err != nil {
		return nil, err
	}
	var some []ofNode
	for i, m := range matchers {
		p, err := nodeMatcher(fmt.Sprintf("node_matchers[%d]", i), m)
		if err != nil {
			return nil, err
		}
		some = append(some, p)
	}
	return func(n *corev3.Node) bool {
		return len(some) == 0 || slices.ContainsFunc(some, func(p ofNode) bool { return p(n) })
	}, nil
}

// nodeMatcher matches when the id and all metadata do.
func nodeMatcher(field string, m *matcherv3.NodeMatcher) (ofNode, error) {
	id := func(string) bool { return true }
	if m.GetNodeId() != nil {
		var err error
		if id, err = stringMatcher(field+".node_id", m.GetNodeId()); err != nil {
			return nil, err
		}
	}
	if err := bounded(field+".node_metadatas", len(m.GetNodeMetadatas())); err != nil {
		return nil, err
	}
	var all []ofNode
	for i, s := range m.GetNodeMetadatas() {
		p, err := structMatcher(fmt.Sprintf("%s.node_metadatas[%d]", field, i), s)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return func(n *corev3.Node) bool {
		return id(n.GetId()) && !slices.ContainsFunc(all, func(p ofNode) bool { return !p(n) })
	}, nil
}

// structMatcher matches a value at a path of keys in the metadata.
func structMatcher(field string, m *matcherv3.StructMatcher) (ofNode, error) {
	if err := bounded(field+".path", len(m.GetPath())); err != nil {
		return nil, err
	}
	if len(m.GetPath()) == 0 {
		return nil, invalid(field+".path", "must not be empty")
	}
	value, err := valueMatcher(field+".value", m.GetValue(), maxDepth)
	if err != nil {
		return nil, err
	}
	return func(n *corev3.Node) bool {
		at := structpb.NewStructValue(n.GetMetadata())
		for _, step := range m.GetPath() {
			if at = at.GetStructValue().GetFields()[step.GetKey()]; at == nil {
				return false
			}
		}
		return value(at)
	}, nil
}

func valueMatcher(field string, m *matcherv3.ValueMatcher, depth int) (ofValue, error) {
	if depth == 0 {
		return nil, invalid(field, "is nested more than %d levels deep", maxDepth)
	}
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.ValueMatcher_NullMatch_:
		return func(v *structpb.Value) bool { _, null := v.GetKind().(*structpb.Value_NullValue); return null }, nil
	case *matcherv3.ValueMatcher_DoubleMatch:
		return doubleMatcher(p.DoubleMatch), nil
	case *matcherv3.ValueMatcher_StringMatch:
		text, err := stringMatcher(field+".string_match", p.StringMatch)
		if err != nil {
			return nil, err
		}
		return func(v *structpb.Value) bool {
			s, is := v.GetKind().(*structpb.Value_StringValue)
			return is && text(s.StringValue)
		}, nil
	case *matcherv3.ValueMatcher_BoolMatch:
		return func(v *structpb.Value) bool {
			b, is := v.GetKind().(*structpb.Value_BoolValue)
			return is && b.BoolValue == p.BoolMatch
		}, nil
	case *matcherv3.ValueMatcher_PresentMatch:
		return func(*structpb.Value) bool { return p.PresentMatch }, nil // a missing one does not come here
	case *matcherv3.ValueMatcher_ListMatch:
		one, err := valueMatcher(field+".list_match.one_of", p.ListMatch.GetOneOf(), depth-1)
		if err != nil {
			return nil, err
		}
		return func(v *structpb.Value) bool { return slices.ContainsFunc(v.GetListValue().GetValues(), one) }, nil
	case *matcherv3.ValueMatcher_OrMatch:
		return orMatcher(field+".or_match", p.OrMatch, depth)
	default:
		return nil, invalid(field, "must say what to match")
	}
}

func orMatcher(field string, m *matcherv3.OrMatcher, depth int) (ofValue, error) {
	if err := bounded(field+".value_matchers", len(m.GetValueMatchers())); err != nil {
		return nil, err
	}
	var some []ofValue
	for i, v := range m.GetValueMatchers() {
		p, err := valueMatcher(fmt.Sprintf("%s.value_matchers[%d]", field, i), v, depth-1)
		if err != nil {
			return nil, err
		}
		some = append(some, p)
	}
	return func(v *structpb.Value) bool { return slices.ContainsFunc(some, func(p ofValue) bool { return p(v) }) }, nil
}

// doubleMatcher matches a number, exactly or in a half-open range.
func doubleMatcher(m *matcherv3.DoubleMatcher) ofValue {
	return func(v *structpb.Value) bool {
		n, is := v.GetKind().(*structpb.Value_NumberValue)
		if r := m.GetRange(); r != nil {
			return is && r.GetStart() <= n.NumberValue && n.NumberValue < r.GetEnd()
		}
		return is && n.NumberValue == m.GetExact()
	}
}

func stringMatcher(field string, m *matcherv3.StringMatcher) (ofText, error) {
	var want string
	var match func(s, want string) bool
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		want, match = p.Exact, func(s, want string) bool { return s == want }
	case *matcherv3.StringMatcher_Prefix:
		want, match = p.Prefix, strings.HasPrefix
	case *matcherv3.StringMatcher_Suffix:
		want, match = p.Suffix, strings.HasSuffix
	case *matcherv3.StringMatcher_Contains:
		want, match = p.Contains, strings.Contains
	case *matcherv3.StringMatcher_SafeRegex:
		return regexMatcher(field+".safe_regex.regex", p.SafeRegex.GetRegex())
	default:
		return nil, invalid(field, "exact, prefix, suffix, contains and safe_regex are served")
	}
	if len(want) > maxPattern {
		return nil, invalid(field, "%d bytes, at most %d are allowed", len(want), maxPattern)
	}
	if m.GetIgnoreCase() {
		want = strings.ToLower(want)
		return func(s string) bool { return match(strings.ToLower(s), want) }, nil
	}
	return func(s string) bool { return match(s, want) }, nil
}

// regexMatcher matches whole texts.
func regexMatcher(field, pattern string) (ofText, error) {
	if len(pattern) > maxPattern {
		return nil, invalid(field, "%d bytes, at most %d are allowed", len(pattern), maxPattern)
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, invalid(field, "%v", err)
	}
	return re.MatchString, nil
}
