package ads

import (
	"fmt"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"

	"polestar/xds/resource"
)

func someNames(prefix string, n int) []string {
	out := make([]string, n)
	for k := range out {
		out[k] = fmt.Sprint(prefix, k)
	}
	return out
}

// TestBoundsAbsentNamesOfAllStreams: streams that together name too much that
// does not exist end, and the one that names a few goes on.
func TestBoundsAbsentNamesOfAllStreams(t *testing.T) {
	d := open(t)
	d.cache.BoundAbsent(2000)
	d.put(resource.Endpoints, "there", "1")
	modest := d.sotw(t)
	modest.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Endpoints.URL(), ResourceNames: append(someNames("nowhere", 10), "there")})
	r := modest.recv()
	for n := range 4 {
		c := d.sotw(t)
		url := resource.Endpoints.URL()
		if n%2 == 1 {
			url = resource.Cluster.URL()
		}
		c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: url, ResourceNames: someNames(fmt.Sprint(n, "-"), 5000)})
		c.ends(codes.ResourceExhausted, "resource_names: this client names more resources of type "+url+" that do not exist")
		if got := d.cache.Absent(); got > 2000+1 {
			t.Errorf("%d names are held", got)
		}
	}
	modest.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Endpoints.URL(), ResponseNonce: r.GetNonce(), ResourceNames: append(someNames("elsewhere", 16), "there")})
	if r := modest.recv(); contents(r) != "" || len(r.GetResourceErrors()) != 16 {
		t.Errorf("the modest one got %v", r)
	}
	if got := d.cache.Absent(); got != 16 {
		t.Errorf("%d names are held in the end", got)
	}
}

// TestBoundsGhosts: what a client says to have of an earlier stream, and does
// not exist, counts until it is known to be gone.
func TestBoundsGhosts(t *testing.T) {
	w := newWorld()
	w.put(resource.Cluster, "a", "1")
	initial := map[string]string{"a": "1"}
	for _, name := range someNames("ghost", 100) {
		initial[name] = "1"
	}
	m := NewDelta(w, true)
	request := func(r Request) {
		t.Helper()
		r.URL = resource.Cluster.URL()
		if _, err := m.Request(time.Unix(1, 0), r); err != nil {
			t.Fatal(err)
		}
	}
	request(Request{Initial: initial})
	if w.ghosts != 100 {
		t.Errorf("%d ghosts, want 100", w.ghosts)
	}
	w.put(resource.Cluster, "ghost7", "2")
	m.Changed(w.take())
	for r := m.Next(time.Unix(2, 0)); r != nil; r = m.Next(time.Unix(2, 0)) {
		request(Request{Nonce: r.Nonce})
	}
	if w.ghosts != 0 {
		t.Errorf("%d ghosts are left", w.ghosts)
	}

	w.attach()
	m = NewDelta(w, true)
	request(Request{Initial: initial})
	request(Request{Unsubscribe: []string{"*"}})
	if w.ghosts != 0 {
		t.Errorf("%d ghosts are left of a wildcard that ended", w.ghosts)
	}

	w.attach()
	w.excess = true
	m = NewDelta(w, true)
	if _, err := m.Request(time.Unix(1, 0), Request{URL: resource.Cluster.URL(), Initial: initial}); err == nil {
		t.Error("ghosts beyond the bound are taken")
	}
}

// TestBoundsCollectionsThatAreEmpty: the name of a collection costs memory,
// whether it can be one or not.
func TestBoundsCollectionsThatAreEmpty(t *testing.T) {
	w := newWorld()
	m := NewDelta(w, true)
	names := append(someNames("xdstp://polestar/no/", 10), someNames("xdstp://polestar/envoy.config.endpoint.v3.LbEndpoint/shop/cart/", 10)...)
	url := resource.LbEndpoint.URL()
	if _, err := m.Request(time.Unix(1, 0), Request{URL: url, Subscribe: names}); err != nil || w.ghosts != 20 {
		t.Errorf("%d ghosts, %v", w.ghosts, err)
	}
	if _, err := m.Request(time.Unix(1, 0), Request{URL: url, Unsubscribe: names}); err != nil || w.ghosts != 0 {
		t.Errorf("%d ghosts are left, %v", w.ghosts, err)
	}
	w.excess = true
	if _, err := m.Request(time.Unix(1, 0), Request{URL: url, Subscribe: names}); err == nil {
		t.Error("collections beyond the bound are taken")
	}
}
