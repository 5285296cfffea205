package polaris_test

import (
	"slices"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris"
)

// handler is the door without a network, on an empty store.
func handler(t testing.TB) (*polaris.Server, *backend) {
	b := newBackend(t, nil)
	return serve(b), b
}

func serve(b *backend) *polaris.Server {
	return polaris.New(polaris.Deps{
		Registry: naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: b, World: b, Beats: b, Locator: b}),
		World:    b, Auth: auth.Open{}, Log: zap.NewNop(), Ready: func() bool { return true },
	})
}

func seed(f *testing.F, messages ...proto.Message) {
	f.Helper()
	for _, m := range messages {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte{0xff})
}

// fitting fails unless an answer can be encoded and has a known code with a
// text that is no fault of ours.
func fitting(t *testing.T, what string, res proto.Message, c coded) {
	t.Helper()
	code := c.GetCode().GetValue()
	if model.Code_name[int32(code)] == "" || code >= 500000 || c.GetInfo().GetValue() == "" {
		t.Errorf("%s: code %d (%s)", what, code, c.GetInfo().GetValue())
	}
	if _, err := proto.Marshal(res); err != nil {
		t.Errorf("%s: the answer cannot be encoded: %v", what, err)
	}
}

func FuzzRegister(f *testing.F) {
	seed(f, full(), message("n", "a", 1), &service_manage.Instance{}, &service_manage.Instance{Id: str("")}, checked(message("", "", 0), 4000))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var in service_manage.Instance
		if proto.Unmarshal(raw, &in) != nil {
			return // gRPC answers these before the handler
		}
		s, b := handler(t)
		for _, step := range []string{"first", "again"} {
			res, err := s.RegisterInstance(t.Context(), &in)
			if err != nil {
				t.Fatal(err)
			}
			fitting(t, step, res, res)
			if res.GetInstance() == nil || (res.GetCode().GetValue() == 200000) != (b.World().Revision() == 1) {
				t.Errorf("%s: answer %v at revision %d", step, res, b.World().Revision())
			}
		}
		accepted := b.World().Revision() == 1
		shown := polaris.Answer(t.Context(), s, query(typeInstance, in.GetNamespace().GetValue(), in.GetService().GetValue(), ""))
		fitting(t, "discover", shown, shown)
		if (len(shown.GetInstances()) == 1) != accepted {
			t.Errorf("accepted = %v, but Discover shows %v", accepted, shown)
		}
		beat, err := s.Heartbeat(t.Context(), &in)
		if err != nil {
			t.Fatal(err)
		}
		fitting(t, "heartbeat", beat, beat)
		gone, err := s.DeregisterInstance(t.Context(), &in)
		if err != nil {
			t.Fatal(err)
		}
		fitting(t, "deregister", gone, gone)
		if _, _, left, _ := b.Snapshot().Counts(); left != 0 {
			t.Errorf("the same message does not remove what it registered: %v", gone)
		}
	})
}

func FuzzDiscover(f *testing.F) {
	for _, typ := range []reqType{typeInstance, typeServices, typeNamespaces, 3, 102, 0, 4711} {
		seed(f, query(typ, "n", "a", ""), query(typ, "", "a", "x"), &service_manage.DiscoverRequest{Type: typ})
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var req service_manage.DiscoverRequest
		if proto.Unmarshal(raw, &req) != nil {
			return
		}
		s, _ := handler(t)
		for _, ns := range []string{"n", "default"} {
			if res, err := s.RegisterInstance(t.Context(), message(ns, "a", 1)); err != nil || res.GetCode().GetValue() != 200000 {
				t.Fatal(res, err)
			}
		}
		first := polaris.Answer(t.Context(), s, &req)
		checkEcho(t, &req, first)
		fitting(t, "discover", first, first)
		if slices.Contains(ruleTypes, req.GetType()) && first.GetCode().GetValue() >= 400000 {
			t.Errorf("SDKs wait for %v: %v", req.GetType(), first)
		}
		revision := first.GetService().GetRevision().GetValue()
		if revision == "" || first.GetCode().GetValue() == 200001 {
			return
		}
		if req.Service == nil {
			req.Service = &service_manage.Service{}
		}
		req.Service.Revision = str(revision)
		if again := polaris.Answer(t.Context(), s, &req); again.GetCode().GetValue() != 200001 {
			t.Errorf("the revision of the last answer is not the current one: %v", again)
		}
	})
}
