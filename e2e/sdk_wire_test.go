package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc/metadata"

	"polestar/e2e/harness"
)

// about chooses requests for the instances of a service.
func about(service string) func(*service_manage.DiscoverRequest) bool {
	return func(r *service_manage.DiscoverRequest) bool {
		return r.GetType() == service_manage.DiscoverRequest_INSTANCE && r.GetService().GetName().GetValue() == service
	}
}

// wire holds what the SDK and the server said to each other so far to the rules
// that SDKs depend on.
func wire(t *testing.T, s *sdk) {
	service := s.name + "-unchanged"
	if err := s.registry.Put(harness.Instance(service, "10.1.1.5:80")); err != nil {
		t.Fatal(err)
	}
	s.sees(t, service, func(all []seen) bool { return len(all) == 1 })
	// A poll with the revision of the last answer is told that nothing changed.
	harness.Wait(t, soon, func() error {
		for _, a := range s.recorder.Asked(about(service)) {
			if a.Answer.GetCode().GetValue() != 200001 {
				continue
			}
			if len(a.Answer.GetInstances()) != 0 || a.Answer.GetService().GetRevision().GetValue() != a.Request.GetService().GetRevision().GetValue() {
				t.Fatalf("unchanged, asked with %v, answered with %v", a.Request, a.Answer)
			}
			return nil
		}
		return fmt.Errorf("no poll was answered with 200001: %v", s.recorder.Asked(about(service)))
	})
	types := map[int32]uint32{}
	for _, a := range s.recorder.Asked(func(*service_manage.DiscoverRequest) bool { return true }) {
		q, r := a.Request, a.Answer
		if int32(q.GetType()) != int32(r.GetType()) || q.GetDirection() != r.GetDirection() ||
			q.GetService().GetNamespace().GetValue() != r.GetService().GetNamespace().GetValue() ||
			q.GetService().GetName().GetValue() != r.GetService().GetName().GetValue() || r.GetService() == nil {
			t.Errorf("asked\n%v\nanswered\n%v", q, r)
		}
		if q.GetService() == nil {
			types[-int32(q.GetType())-1] = r.GetCode().GetValue() // a probe
		} else {
			types[int32(q.GetType())] = r.GetCode().GetValue()
		}
	}
	// What each SDK waits for before it returns a first instance.
	want := map[string][]int32{
		"polaris-go": {1, 3, 102},
		// Instances and rules, and probes for lanes and for a type without a name.
		"polaris-java": {1, 3, -101, -1},
	}[s.name]
	for _, typ := range want {
		if code, asked := types[typ]; !asked || code >= 500000 {
			t.Errorf("type %d: asked %v, answered %d; all: %v", typ, asked, code, types)
		}
	}
	early := slices.ContainsFunc(s.recorder.Registrations(), func(h metadata.MD) bool { return len(h.Get("async-regis")) > 0 })
	if early != (s.name == "polaris-java") {
		t.Errorf("registrations with async-regis: %v", early)
	}
}
