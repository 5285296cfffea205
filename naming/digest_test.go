package naming_test

import (
	"bytes"
	"cmp"
	"reflect"
	"slices"
	"testing"

	"polestar/naming"
)

func TestInstanceID(t *testing.T) {
	checker := naming.ServiceKey{Namespace: "Polaris", Name: "polaris.checker"}
	for _, c := range []struct {
		name, vpc, host string
		port            uint32
		want            string
	}{
		// The check value of the reference implementation.
		{"without a VPC", "", "127.0.0.1", 8091, "c34d52e1474f4e8463ebcc3cec1a57bb9f9eac2a"},
		// printf 'Polaris##polaris.checker##vpc-1##127.0.0.1##8091' | sha1sum
		{"with a VPC", "vpc-1", "127.0.0.1", 8091, "17c8f511585f6d323f66cc2457edfc264b1829c5"},
		{"IPv6 hosts are hashed as given", "", "::1", 8091, "3ceb85469846691418da1310831acaeaba454328"},
	} {
		if got := naming.InstanceID(checker, c.vpc, c.host, c.port); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestRegistrationGetsTheComputedID(t *testing.T) {
	r, s, _ := registrar(t)
	in := registration()
	in.Service = naming.ServiceKey{Namespace: "Polaris", Name: "polaris.checker"}
	in.Host, in.Port = "127.0.0.1", new(uint32(8091))
	res, err := r.Register(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if want := "c34d52e1474f4e8463ebcc3cec1a57bb9f9eac2a"; res.Instance.ID != want || s.instances[want] == nil {
		t.Errorf("id %s, want %s", res.Instance.ID, want)
	}
	in.ID, in.Port = "mine", new(uint32(8092))
	if res, err = r.Register(t.Context(), in); err != nil || res.Instance.ID != "mine" {
		t.Errorf("a given id is used unchanged: %+v, %v", res.Instance, err)
	}
}

// notContent are the fields that no digest may depend on: they differ from
// server to server, or say only when something changed.
var notContent = []string{
	"Created", "Modified", "Revision",
	"Operator", // what it sets is in the fields that it overrides
	"Auto",
	"Creator", // no client is told
}

// eachField calls f with a copy of base for each leaf field, changed in this
// leaf only. It walks the type, so a new field is met without being listed.
func eachField[T any](t *testing.T, base T, f func(path string, changed T)) {
	t.Helper()
	var walk func(typ reflect.Type, index []int, path string)
	walk = func(typ reflect.Type, index []int, path string) {
		for n := range typ.NumField() {
			field := typ.Field(n)
			at := append(slices.Clone(index), n)
			if field.Type.Kind() == reflect.Struct {
				walk(field.Type, at, path+field.Name+".")
				continue
			}
			changed := base
			v := reflect.ValueOf(&changed).Elem().FieldByIndex(at)
			switch {
			case field.Type == reflect.TypeFor[naming.Metadata]():
				v.Set(reflect.ValueOf(naming.Metadata{{Key: "x", Value: "y"}}))
			case field.Type == reflect.TypeFor[*naming.Operator]():
				v.Set(reflect.ValueOf(&naming.Operator{By: "x"}))
			case field.Type == reflect.TypeFor[[]string]():
				v.Set(reflect.ValueOf([]string{"x"}))
			case v.Kind() == reflect.Slice:
				v.Set(reflect.MakeSlice(v.Type(), v.Len()+1, v.Len()+1))
			case v.Kind() == reflect.Array:
				v.Index(1).SetString("x")
			case v.Kind() == reflect.String:
				v.SetString(v.String() + "x")
			case v.CanUint():
				v.SetUint(v.Uint() + 1)
			case v.CanInt():
				v.SetInt(v.Int() + 1)
			case v.Kind() == reflect.Bool:
				v.SetBool(!v.Bool())
			default:
				t.Fatalf("%s%s: teach this test about %s", path, field.Name, field.Type)
			}
			f(path+field.Name, changed)
		}
	}
	walk(reflect.TypeFor[T](), nil, "")
}

func TestEveryFieldOfAnInstanceIsInItsDigest(t *testing.T) {
	for _, base := range []naming.Instance{{}, {ID: "i", Weight: 127, Port: 128, Healthy: true}} {
		eachField(t, base, func(path string, changed naming.Instance) {
			content := !slices.Contains(notContent, path)
			if moved := changed.Digest() != base.Digest(); moved != content {
				t.Errorf("%s: digest moved = %v, want %v", path, moved, content)
			}
			if same := changed.SameContent(&base); same == content {
				t.Errorf("%s: SameContent = %v, want %v", path, same, !content)
			}
		})
	}
}

func TestEveryFieldOfAServiceIsInItsDigest(t *testing.T) {
	var base naming.Service
	eachField(t, base, func(path string, changed naming.Service) {
		content := !slices.Contains(notContent, path)
		if moved := changed.Digest() != base.Digest(); moved != content {
			t.Errorf("%s: digest moved = %v, want %v", path, moved, content)
		}
		if before, after := (&naming.ServiceState{Service: &base}), (&naming.ServiceState{Service: &changed}); (before.Digest() != after.Digest()) != content {
			t.Errorf("%s: the state's digest does not follow the service's", path)
		}
	})
}

// Equal texts in other places must not hash alike.
func TestDigestKeepsFieldsApart(t *testing.T) {
	seen := map[naming.Digest]int{}
	for n, i := range []naming.Instance{
		{Host: "ab"},
		{Host: "a", VpcID: "b"},
		{VpcID: "ab"},
		{Service: naming.ServiceKey{Namespace: "a", Name: "b"}},
		{Service: naming.ServiceKey{Namespace: "ab"}},
		{Port: 1},
		{Priority: 1},
		{Port: 300},
		{Port: 44, Priority: 2},
		{Healthy: true},
		{Isolated: true},
		{Metadata: naming.Metadata{{Key: "a", Value: "b"}}},
		{Metadata: naming.Metadata{{Key: "ab"}}},
		{Metadata: naming.Metadata{{Key: "a", Value: "b"}, {Key: "c", Value: "d"}}},
		{Metadata: naming.Metadata{{Key: "a", Value: "b\x01c\x01d"}}},
	} {
		if other, twice := seen[i.Digest()]; twice {
			t.Errorf("cases %d and %d have one digest", other, n)
		}
		seen[i.Digest()] = n
	}
}

func TestDigestsAddUp(t *testing.T) {
	var all []naming.Digest
	var sum naming.Digest
	for n := range 200 {
		i := naming.Instance{Port: uint32(n), Host: "h"}
		all = append(all, i.Digest())
		sum = sum.Add(all[n])
	}
	if sum == (naming.Digest{}) || sum == all[0] {
		t.Fatal("nothing was added")
	}
	for _, order := range []func(a, b naming.Digest) int{
		func(a, b naming.Digest) int { return bytes.Compare(a[:], b[:]) },
		func(a, b naming.Digest) int { return bytes.Compare(b[8:], a[8:]) },
		func(a, b naming.Digest) int { return bytes.Compare(a[16:], b[16:]) },
	} {
		slices.SortFunc(all, order)
		var again naming.Digest
		for _, d := range all {
			again = again.Add(d)
		}
		if again != sum {
			t.Fatal("the sum depends on the order")
		}
	}
	for _, d := range all {
		if sum.Add(d).Sub(d) != sum || sum.Sub(d).Add(d) != sum {
			t.Fatal("Sub does not undo Add")
		}
	}
	for _, d := range all {
		sum = sum.Sub(d)
	}
	if sum != (naming.Digest{}) {
		t.Errorf("nothing is left, but the sum is %s", sum)
	}
	// XOR would not tell these two sets apart.
	if twice := all[0].Add(all[0]); twice == (naming.Digest{}) {
		t.Error("two equal digests cancel each other")
	}
	if got := len(all[0].String()); got != 40 {
		t.Errorf("String has %d digits, want 40", got)
	}
}

func TestMetadata(t *testing.T) {
	if naming.NewMetadata(nil) != nil || naming.NewMetadata(map[string]string{}) != nil {
		t.Error("no pairs must be nil")
	}
	in := map[string]string{"b": "2", "": "0", "a": "1", "ab": "3"}
	m := naming.NewMetadata(in)
	if !slices.IsSortedFunc(m, func(a, b naming.Pair) int { return cmp.Compare(a.Key, b.Key) }) || len(m) != len(in) {
		t.Errorf("not sorted or incomplete: %v", m)
	}
	for k, v := range in {
		if got, ok := m.Get(k); !ok || got != v {
			t.Errorf("Get(%q) = %q, %v", k, got, ok)
		}
	}
	if got, ok := m.Get("aa"); ok || got != "" {
		t.Errorf("Get of an absent key = %q, %v", got, ok)
	}
	out := m.Map()
	out["a"] = "changed"
	if v, _ := m.Get("a"); v != "1" || len(out) != len(in) {
		t.Error("Map shares its content")
	}
}
