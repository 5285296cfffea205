package ads

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"polestar/xds/resource"
)

func TestP04UnservedTypes(t *testing.T) {
	play(t, deltaEnvoy, `
		> nobody.Knows +x +y +*
		< nobody.Knows #1 @0 -x -y
		> nobody.Knows #1
		> nobody.Knows +*
		< nothing
	`)
	play(t, sotwEnvoy, `
		> nobody.Knows x y
		< nothing
	`)
	m := NewSotW(newWorld(), true)
	for i := range 100 {
		if _, err := m.Request(zero, Request{URL: strings.Repeat("x", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(m.Unserved()); got != maxUnknownTypes {
		t.Errorf("%d unserved types are remembered", got)
	}
}

func TestP07Split(t *testing.T) {
	for _, delta := range []bool{false, true} {
		w := newWorld()
		names := []string{"a", "b", "c", "d", "missing"}
		for _, name := range names[:4] {
			w.put(resource.Endpoints, name, name)
			r := w.resources[resource.Ref{Type: resource.Endpoints, Name: name}]
			r.Any, r.Delta = make([]byte, MaxMessage*2/5), make([]byte, MaxMessage*2/5)
		}
		w.resources[resource.Ref{Type: resource.Endpoints, Name: "c"}].Any = make([]byte, 2*MaxMessage)
		w.resources[resource.Ref{Type: resource.Endpoints, Name: "c"}].Delta = make([]byte, 2*MaxMessage)
		m := NewSotW(w, false)
		if delta {
			m = NewDelta(w, false)
		}
		var got []string
		r := Request{URL: resource.Endpoints.URL(), Subscribe: names}
		for range 10 {
			if _, err := m.Request(zero, r); err != nil {
				t.Fatal(err)
			}
			next := m.Next(zero)
			if next == nil {
				break
			}
			got = append(got, strings.Join(forms(next.Resources), " "))
			r.Nonce = next.Nonce
			if delta {
				r.Subscribe = nil
			}
		}
		if want := "a=a b=b|c=c|d=d"; strings.Join(got, "|") != want {
			t.Errorf("delta %v: %v, want %s", delta, got, want)
		}
	}
}

func TestP07SplitOfMissingNames(t *testing.T) {
	w := newWorld()
	m := NewDelta(w, true)
	long := strings.Repeat("n", MaxNameLength-5)
	var names []string
	for i := range 5000 {
		names = append(names, long+string(rune('a'+i/676))+string(rune('a'+i/26%26))+string(rune('a'+i%26)))
	}
	for _, url := range []string{resource.Cluster.URL(), "nobody.Knows"} {
		r := Request{URL: url, Subscribe: names}
		removed := 0
		for removed < len(names) {
			if _, err := m.Request(zero, r); err != nil {
				t.Fatal(err)
			}
			for next := m.Next(zero); next != nil; next = m.Next(zero) {
				data, err := Codec().Marshal(&packet{Response: next})
				if err != nil || data.Len() > 4<<20 {
					t.Fatalf("a response of %d bytes, %v", data.Len(), err)
				}
				removed += len(next.Removed)
				r = Request{URL: url, Nonce: next.Nonce}
			}
		}
		if removed != len(names) {
			t.Errorf("%s: %d names removed, want %d", url, removed, len(names))
		}
	}
}

func TestBoundsOfNames(t *testing.T) {
	long := strings.Repeat("n", MaxNameLength+1)
	many := make([]string, MaxNames+1)
	initial := map[string]string{}
	for i := range many {
		many[i] = string(rune('a'+i%26)) + strings.Repeat("x", i/26%97) + string(rune(0x4e00+i/26))
		initial[many[i]] = "1"
	}
	eds, cds := resource.Endpoints.URL(), resource.Cluster.URL()
	for name, c := range map[string]struct {
		delta bool
		r     Request
		code  codes.Code
		text  string
	}{
		"longest name":           {false, Request{URL: eds, Subscribe: []string{long[1:]}}, codes.OK, ""},
		"name too long":          {false, Request{URL: eds, Subscribe: []string{long}}, codes.InvalidArgument, "resource_names: a name has 1025 bytes, at most 1024"},
		"of an unserved type":    {true, Request{URL: "x", Subscribe: []string{long}}, codes.InvalidArgument, "resource_names: a name has 1025 bytes"},
		"unsubscribed too long":  {true, Request{URL: eds, Unsubscribe: []string{long}}, codes.InvalidArgument, "resource_names: a name has 1025 bytes"},
		"initial too long":       {true, Request{URL: eds, Initial: map[string]string{long: "1"}}, codes.InvalidArgument, "a name has 1025 bytes"},
		"version too long":       {true, Request{URL: eds, Initial: map[string]string{"a": long}}, codes.InvalidArgument, "initial_resource_versions: a version has 1025 bytes"},
		"too many initial":       {true, Request{URL: cds, Initial: initial}, codes.ResourceExhausted, "initial_resource_versions: 100001 entries, at most 100000"},
		"most names":             {false, Request{URL: eds, Subscribe: many[1:]}, codes.OK, ""},
		"too many, partial":      {false, Request{URL: eds, Subscribe: many}, codes.ResourceExhausted, "resource_names: more than 100000 names"},
		"too many, full state":   {false, Request{URL: cds, Subscribe: many}, codes.ResourceExhausted, "resource_names: more than 100000 names"},
		"too many, delta":        {true, Request{URL: cds, Subscribe: many}, codes.ResourceExhausted, "resource_names: more than 100000 names"},
		"repeated names are one": {false, Request{URL: eds, Subscribe: append(many[1:], many[1:]...)}, codes.OK, ""},
	} {
		m := NewSotW(newWorld(), true)
		if c.delta {
			m = NewDelta(newWorld(), true)
		}
		_, err := m.Request(zero, c.r)
		if status.Code(err) != c.code || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v %q", name, err, c.code, c.text)
		}
	}
}

func TestBoundsOfBytes(t *testing.T) {
	var names []string
	for i := range MaxNameBytes/MaxNameLength + 1 {
		n := []rune(strings.Repeat("n", MaxNameLength-3))
		names = append(names, string(append(n, rune(0x4e00+i))))
	}
	for _, typ := range []resource.Type{resource.Cluster, resource.Endpoints} {
		for _, delta := range []bool{false, true} {
			m := NewSotW(newWorld(), true)
			if delta {
				m = NewDelta(newWorld(), true)
			}
			if _, err := m.Request(zero, Request{URL: typ.URL(), Subscribe: names[1:]}); err != nil {
				t.Errorf("%s delta=%v: %v", typ, delta, err)
			}
			_, err := m.Request(zero, Request{URL: typ.URL(), Subscribe: names})
			if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "more than 8388608 bytes of names") {
				t.Errorf("%s delta=%v: %v", typ, delta, err)
			}
		}
	}
}
