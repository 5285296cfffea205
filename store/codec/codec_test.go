package codec

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"polestar/naming"
	"polestar/proto/storepb"
)

// filled sets every field of a struct to something of its own, so that a field
// that the codec forgets is noticed.
func filled(t testing.TB, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n) % 256)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		for _, f := range v.Fields() {
			filled(t, f, n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(t, v.Elem(), n)
	case reflect.Array:
		for k := range v.Len() {
			filled(t, v.Index(k), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		filled(t, v.Index(0), n)
		filled(t, v.Index(1), n)
	default:
		t.Fatalf("no rule for a field of type %s", v.Type())
	}
}

func objects(t testing.TB) []naming.Object {
	n := 0
	out := []naming.Object{
		&naming.Namespace{}, &naming.Service{}, &naming.Instance{}, &naming.Client{}, &naming.Contract{}, &naming.Override{},
		&naming.User{}, &naming.Group{}, &naming.Token{}, &naming.Policy{}, &naming.Refusal{},
	}
	for _, o := range out {
		filled(t, reflect.ValueOf(o).Elem(), &n)
	}
	return out
}

func TestEveryFieldComesBack(t *testing.T) {
	for _, o := range objects(t) {
		record, err := Encode(o)
		if err != nil {
			t.Fatal(err)
		}
		for name, in := range map[string]Interner{"shared": {}, "not shared": nil} {
			got, err := Decode(o.ObjectKind(), record, in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(o, got); diff != "" {
				t.Errorf("%s, %s: %s", o.ObjectKind(), name, diff)
			}
		}
	}
}

func TestCommitComesBack(t *testing.T) {
	all := objects(t)
	want := naming.Commit{Revision: 7, Time: 8}
	for n, o := range all {
		want.Changes = append(
			want.Changes,
			naming.Change{After: o, Actor: naming.Actor{Principal: "p", ID: "id", Address: "a", Agent: fmt.Sprint(n)}, Cause: "c", Reason: "r"},
			naming.Change{Before: o}, naming.Change{Before: o, After: o},
		)
	}
	record, err := EncodeCommit(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeCommit(7, record)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDamageIsAnError(t *testing.T) {
	for _, k := range []naming.Kind{naming.KindNamespace, naming.KindService, naming.KindInstance, naming.KindClient, naming.KindUser, naming.KindGroup, naming.KindToken, naming.KindPolicy, naming.KindRefusal, 99} {
		if o, err := Decode(k, []byte{0xff, 0xff}, nil); err == nil || o != nil {
			t.Errorf("kind %d: %v, %v", k, o, err)
		}
	}
	if _, err := Encode(nil); err == nil {
		t.Error("nothing was encoded")
	}
	// A change without any object says nothing.
	if _, err := DecodeCommit(1, []byte{0x12, 0x02, 0x08, 0x03}); err == nil {
		t.Error("a change of nothing was accepted")
	}
}

// generated reads an instance by the generated code.
func generated(record []byte) (*naming.Instance, error) {
	var m storepb.Instance
	if err := proto.Unmarshal(record, &m); err != nil {
		return nil, err
	}
	i := &naming.Instance{
		ID: m.Id, Service: naming.ServiceKey{Namespace: m.Namespace, Name: m.Service}, Host: m.Host, Port: m.Port,
		VpcID: m.VpcId, Protocol: m.Protocol, Version: m.Version, LogicSet: m.LogicSet,
		Priority: m.Priority, Weight: m.Weight, Healthy: m.Healthy, Isolated: m.Isolated, TTL: m.TtlS,
		Location: Interner{}.location(m.Location), Metadata: Interner{}.metadata(m.Metadata),
		Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
	}
	if m.Operator != nil {
		i.Operator = operatorOf(m.Operator)
	}
	return i, nil
}

// Our reader of instances and the generated one agree on any bytes: on the
// result, and on what is damaged.
func FuzzInstanceLikeGenerated(f *testing.F) {
	i := &naming.Instance{}
	n := 0
	filled(f, reflect.ValueOf(i).Elem(), &n)
	whole, err := Encode(i)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(whole, whole...))                    // the last of a field wins, lists and messages grow
	f.Add([]byte{0x0a, 0x01, 0xff})                   // not UTF-8
	f.Add([]byte{0x28, 0xff, 0xff, 0xff, 0xff, 0x7f}) // a port beyond 32 bits
	f.Add([]byte{0x0d, 1, 2, 3, 4, 0x2a, 0x00})       // the wrong wire types
	f.Add([]byte{0xa3, 0x01, 0xa4, 0x01, 0x60, 2})    // a group, then a flag that is neither 0 nor 1
	f.Fuzz(func(t *testing.T, record []byte) {
		want, wantErr := generated(record)
		for name, in := range map[string]Interner{"shared": {}, "not shared": nil} {
			got, err := decodeInstance(record, in)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%s: %v, the generated code says %v", name, err, wantErr)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s: %s", name, diff)
			}
		}
	})
}

// Any bytes are decoded or refused, and what is decoded can be stored again.
func FuzzDecode(f *testing.F) {
	f.Add(uint8(3), []byte{0x0a, 0x01, 'a'})
	for _, o := range objects(f) {
		record, err := Encode(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(o.ObjectKind()), record)
		commit, err := EncodeCommit(naming.Commit{Time: 1, Changes: []naming.Change{{Before: o, After: o, Actor: naming.Actor{ID: "id"}}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(0), commit)
	}
	f.Fuzz(func(t *testing.T, kind uint8, record []byte) {
		if o, err := Decode(naming.Kind(kind%13), record, Interner{}); err == nil {
			again, err := Encode(o)
			if err != nil {
				t.Fatalf("%+v cannot be stored again: %v", o, err)
			}
			got, err := Decode(o.ObjectKind(), again, nil)
			if err != nil || cmp.Diff(o, got) != "" {
				t.Fatalf("%+v came back as %+v, %v", o, got, err)
			}
		}
		if c, err := DecodeCommit(1, record); err == nil {
			if _, err := EncodeCommit(c); err != nil {
				t.Fatalf("%+v cannot be stored again: %v", c, err)
			}
		}
	})
}

func BenchmarkInstance(b *testing.B) {
	i := &naming.Instance{
		ID: "c34d52e1474f4e8463ebcc3cec1a57bb9f9eac2a", Service: naming.ServiceKey{Namespace: "default", Name: "service"},
		Host: "10.0.0.1", Port: 80, Protocol: "grpc", Version: "1.0", Weight: 100, Healthy: true, TTL: 5,
		Metadata: naming.NewMetadata(map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}),
	}
	record, err := Encode(i)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Encode(i); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode by generated code", func(b *testing.B) { // for comparison
		b.ReportAllocs()
		for b.Loop() {
			if _, err := generated(record); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		in := Interner{}
		for b.Loop() {
			if _, err := Decode(naming.KindInstance, record, in); err != nil {
				b.Fatal(err)
			}
		}
	})
}
