package resource

import (
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// tester is what *testing.T and *rapid.T have in common.
type tester interface{ Fatalf(string, ...any) }

// checkShared holds the encoded forms of a resource to the message that a
// client makes of it: nothing lost, nothing unknown, not a byte too many.
func checkShared(t tester, key Key, r *Resource, m proto.Message) {
	var packed anypb.Any
	if err := proto.Unmarshal(r.Any, &packed); err != nil {
		t.Fatalf("%v", err)
	}
	if packed.GetTypeUrl() != key.Type.URL() || proto.Size(m) != len(packed.GetValue()) || proto.Size(&packed) != len(r.Any) {
		t.Fatalf("%s %q: %d bytes of %s, protobuf needs %d", key.Type, key.Name, len(packed.GetValue()), packed.GetTypeUrl(), proto.Size(m))
	}
	var whole discoveryv3.Resource
	if err := proto.Unmarshal(r.Delta, &whole); err != nil {
		t.Fatalf("%v", err)
	}
	want := &discoveryv3.Resource{Name: key.Name, Version: fmt.Sprintf("%016x", xxhash.Sum64(packed.GetValue())), Resource: &packed}
	if !proto.Equal(want, &whole) || proto.Size(want) != len(r.Delta) || r.Version != want.GetVersion() || r.Name != key.Name {
		t.Fatalf("%s %q: the delta form is %v, want %v", key.Type, key.Name, &whole, want)
	}
	if hasUnknown(m.ProtoReflect()) {
		t.Fatalf("%s %q: unknown fields in %v", key.Type, key.Name, m)
	}
	if err := m.(message).ValidateAll(); err != nil {
		t.Fatalf("%s %q: %v", key.Type, key.Name, err)
	}
	if cap(r.Any) != len(r.Any) || cap(r.Delta) != len(r.Delta) {
		t.Fatalf("%s %q: appending to a shared fragment would write into it", key.Type, key.Name)
	}
}

func TestEncodeRefusesAWrongLength(t *testing.T) {
	for _, size := range []int{0, 1, 4} {
		c := content{size, func(b []byte) []byte { return append(b, 1, 2, 3) }}
		if r, err := encode(Form{Type: Endpoints, Name: "n"}, c, 1); err == nil || r != nil {
			t.Errorf("3 bytes announced as %d were published", size)
		}
	}
}

func hasUnknown(m protoreflect.Message) bool {
	found := len(m.GetUnknown()) > 0
	visit := func(v protoreflect.Value) { found = found || hasUnknown(v.Message()) }
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				visit(v)
				return true
			})
		case f.IsList() && f.Message() != nil:
			for n := range v.List().Len() {
				visit(v.List().Get(n))
			}
		case !f.IsMap() && !f.IsList() && f.Message() != nil:
			visit(v)
		}
		return true
	})
	return found
}
