package naming_test

import (
	"testing"

	"polestar/naming"
)

// No field of any object may be left out when memory and store are compared.
func TestSameMindsEveryField(t *testing.T) {
	differs(t, naming.Namespace{}, func(x *naming.Namespace) naming.Object { return x })
	differs(t, naming.Service{Metadata: naming.Metadata{{Key: "a", Value: "b"}}}, func(x *naming.Service) naming.Object { return x })
	differs(t, naming.Instance{Operator: &naming.Operator{Weight: new(uint32(7))}}, func(x *naming.Instance) naming.Object { return x })
	differs(t, naming.Client{Stats: []naming.ClientStat{{Port: 1}}}, func(x *naming.Client) naming.Object { return x })
	differs(t, naming.Contract{Body: []byte{1}}, func(x *naming.Contract) naming.Object { return x })
	if a, b := (&naming.Service{ExportTo: []string{}, Metadata: naming.Metadata{}}), (&naming.Service{}); !naming.Same(a, b) || naming.Same(a, &naming.Client{}) {
		t.Error("an empty list must equal none, and a service no client")
	}
	a, b := &naming.Override{Operator: naming.Operator{Healthy: new(true)}}, &naming.Override{Operator: naming.Operator{Healthy: new(true)}}
	if !naming.Same(a, b) {
		t.Error("equal settings at two places differ")
	}
	b.Operator.Healthy = new(false)
	if naming.Same(a, b) {
		t.Error("settings that differ are the same")
	}
}

func differs[T any](t *testing.T, base T, object func(*T) naming.Object) {
	t.Helper()
	if again := base; !naming.Same(object(&base), object(&again)) {
		t.Errorf("%T differs from itself", base)
	}
	eachField(t, base, func(path string, changed T) {
		if naming.Same(object(&base), object(&changed)) {
			t.Errorf("%T: a change of %s is not seen", base, path)
		}
	})
}
