package polaris_test

import (
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/naming"
	"polestar/naming/polaris"
)

// Each revision of a service is encoded once: whoever asks, and under whatever
// name, is sent the same bytes in memory.
func TestDataIsSharedByAllWhoAsk(t *testing.T) {
	s, b := handler(t)
	put := func(in *service_manage.Instance) {
		t.Helper()
		res, err := s.RegisterInstance(t.Context(), in)
		wantCode(t, res, err, 200000)
	}
	put(message("n", "a", 1))
	put(message("n", "b", 1))
	if _, err := b.Do(t.Context(), &naming.PutAlias{Key: key("n", "alias"), For: key("n", "a")}); err != nil {
		t.Fatal(err)
	}
	healthy := query(typeInstance, "n", "a", "")
	healthy.Filter = &service_manage.DiscoverFilter{OnlyHealthyInstance: true}
	first := map[string]*byte{}
	for _, c := range []struct {
		name, like string
		req        *service_manage.DiscoverRequest
		change     func()
	}{
		{"a service", "", query(typeInstance, "n", "a", ""), nil},
		{"again", "a service", query(typeInstance, "n", "a", ""), nil},
		{"with an old revision", "a service", query(typeInstance, "n", "a", "old"), nil},
		{"by its alias", "a service", query(typeInstance, "n", "alias", ""), nil},
		{"only healthy ones", "", healthy, nil},
		{"only healthy ones again", "only healthy ones", healthy, nil},
		{"after another service changed", "a service", query(typeInstance, "n", "a", ""), func() { put(message("n", "b", 2)) }},
		{"a list", "", query(typeServices, "n", "", ""), nil},
		{"the list by other words", "a list", query(typeServices, "n", "unused", "old"), nil},
		{"after it changed", "", query(typeInstance, "n", "a", ""), func() { put(message("n", "a", 2)) }},
		{"the list after an instance", "a list", query(typeServices, "n", "", ""), nil},
		{"the list after a service", "", query(typeServices, "n", "", ""), func() { put(message("m", "c", 2)) }},
	} {
		if c.change != nil {
			c.change()
		}
		got := polaris.Data(t.Context(), s, c.req)
		if want := first[c.like]; want != nil && got != want {
			t.Errorf("%s: encoded again", c.name)
		}
		for name, other := range first {
			if c.like == "" && got == other {
				t.Errorf("%s: the bytes of %q", c.name, name)
			}
		}
		first[c.name] = got
	}
}

// TestReferenceDefectAmbiguousCacheKeys: the reference joins namespace, name
// and revision with dashes, which names may contain.
func TestReferenceDefectAmbiguousCacheKeys(t *testing.T) {
	d := open(t)
	pairs := [][2]string{{"a-b", "c"}, {"a", "b-c"}, {"a-", "b"}, {"a", "-b"}, {"a/b", "c"}, {"a", "b/c"}}
	for n, p := range pairs {
		d.register(t, message(p[0], p[1], uint32(n+1)))
	}
	stream := d.discover(t)
	for range 2 {
		for n, p := range pairs {
			res := stream.instances(t, p[0], p[1], "")
			if got := res.GetInstances(); len(got) != 1 || got[0].GetPort().GetValue() != uint32(n+1) {
				t.Errorf("%s | %s is answered with %v", p[0], p[1], places(res))
			}
			if got := listed(stream.ask(t, query(typeServices, p[0], "", ""))); len(got) == 0 || got[0][:len(p[0])+1] != p[0]+"/" {
				t.Errorf("services of %s: %v", p[0], got)
			}
		}
	}
}
