package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/e2e/harness"
)

// registersAgain: an instance that somebody else removed is brought back by the
// SDK that beats for it, with all its attributes, after two or three refused
// beats.
func registersAgain(t *testing.T, s *sdk) {
	service := s.name + "-again"
	s.do(t, "register %s 10.1.1.1 8080 1 77 auto", service)
	before, err := s.registry.Instances(service)
	if err != nil || len(before) != 1 {
		t.Fatal(before, err)
	}
	if err := s.registry.Remove(harness.Instance(service, "10.1.1.1:8080")); err != nil {
		t.Fatal(err)
	}
	if all, err := s.registry.Instances(service); err != nil || len(all) != 0 {
		t.Fatalf("removed, but shown: %v, %v", all, err)
	}
	harness.Wait(t, soon, func() error {
		after, err := s.registry.Instances(service)
		if err != nil {
			return err
		}
		if len(after) != 1 {
			return errors.New("not registered again")
		}
		a, b := before[0], after[0]
		if a.GetId().GetValue() != b.GetId().GetValue() || b.GetWeight().GetValue() != 77 ||
			fmt.Sprint(a.GetMetadata()) != fmt.Sprint(b.GetMetadata()) || a.GetLocation().String() != b.GetLocation().String() ||
			a.GetHealthCheck().String() != b.GetHealthCheck().String() || !b.GetHealthy().GetValue() {
			return fmt.Errorf("registered again as %v, was %v", b, a)
		}
		return nil
	})
}

// keepsWhatItHas: while a server is not ready, the SDK goes on with the
// instances that it knows, and follows again afterwards.
func keepsWhatItHas(t *testing.T, s *sdk) {
	service := s.name + "-kept"
	in := func(weight uint32) *service_manage.Instance {
		return harness.Instance(service, "10.1.1.4:80", harness.Weight(weight))
	}
	if err := s.registry.Put(in(1)); err != nil {
		t.Fatal(err)
	}
	s.sees(t, service, func(all []seen) bool { return len(all) == 1 })
	s.recorder.NotReady(true)
	refused := func() (n int) {
		for _, a := range s.recorder.Asked(about(service)) {
			if a.Answer.GetCode().GetValue() == 500000 {
				n++
			}
		}
		return n
	}
	// A refused SDK asks at intervals of its own, up to some ten seconds apart.
	const patience = 3 * soon
	defer s.recorder.NotReady(false) // or all that comes later fails, too
	harness.Wait(t, patience, func() error {
		if all := s.instances(t, "all "+service); len(all) != 1 || all[0].Weight != 1 {
			t.Fatalf("dropped while the server is not ready: %+v", all)
		}
		if n := refused(); n < 3 {
			return fmt.Errorf("asked %d times while the server is not ready", n)
		}
		return nil
	})
	s.recorder.NotReady(false)
	if err := s.registry.Put(in(2)); err != nil {
		t.Fatal(err)
	}
	harness.Wait(t, patience, func() error {
		if all := s.instances(t, "all "+service); len(all) != 1 || all[0].Weight != 2 {
			return fmt.Errorf("the SDK shows %+v", all)
		}
		return nil
	})
}

// watches changes a service until the SDK tells its application of a change.
func watches(t *testing.T, s *sdk) {
	service := s.name + "-watched"
	if err := s.registry.Put(harness.Instance(service, "10.1.1.1:80")); err != nil {
		t.Fatal(err)
	}
	s.instances(t, "all "+service)
	answer := make(chan error, 1)
	go func() { answer <- s.Do("watch "+service, nil) }()
	// The watch may begin before or after one change, so changes go on.
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for n := uint32(1); ; n++ {
		select {
		case err := <-answer:
			if err != nil {
				t.Errorf("watch: %v", err)
			}
			return
		case <-tick.C:
			if err := s.registry.Put(harness.Instance(service, "10.1.1.1:80", harness.Weight(n))); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// seeEachOther: what one SDK registers, the others discover, with the same
// attributes.
func seeEachOther(t *testing.T, all []*sdk) {
	for n, by := range all {
		service := "by-" + by.name
		by.do(t, "register %s 10.1.1.%d 8080 0 77", service, n+1)
		var views []string
		for _, s := range all {
			s.sees(t, service, func(all []seen) bool { return len(all) == 1 })
			got := s.instances(t, "all "+service)[0]
			for _, k := range []string{"env", "owner", "version", "protocol", "region", "zone", "campus"} {
				if got.Metadata[k] == "" {
					t.Errorf("%s, registered by %s: no metadata %s", s.name, by.name, k)
				}
			}
			views = append(views, fmt.Sprintf("%+v", got))
		}
		if views[0] != views[1] {
			t.Errorf("registered by %s, the SDKs see it differently:\n%s\n%s", by.name, views[0], views[1])
		}
	}
}
