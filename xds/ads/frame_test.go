package ads

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/xds/resource"
)

// TestLargeRequestsTakeTurns: a few large requests at one time are decoded,
// others wait; small ones do not.
func TestLargeRequestsTakeTurns(t *testing.T) {
	d := open(t)
	d.put(resource.Endpoints, "there", "1")
	for range largeAtOnce {
		d.server.large <- struct{}{}
	}
	ask := func(names ...string) sotwClient {
		c := d.sotw(t)
		c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Endpoints.URL(), ResourceNames: append(names, "there")})
		return c
	}
	large := ask(someNames("a-name-that-does-not-exist-", 5000)...)
	if r := ask("nowhere").recv(); contents(r) != "1" {
		t.Errorf("a small request was answered with %v", r)
	}
	if n := len(d.server.Clients()); n != 1 {
		t.Errorf("%d clients were heard", n)
	}
	<-d.server.large
	if r := large.recv(); contents(r) != "1" {
		t.Errorf("a large request was answered with %v", r)
	}
	waits := ask(someNames("another-name-that-does-not-exist-", 5000)...)
	d.server.large <- struct{}{}
	if err := d.server.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	waits.ends(codes.Unavailable, "server is shutting down")
}

// What is no request at all ends the stream.
func TestBoundsWhatIsNoRequest(t *testing.T) {
	c := open(t).sotw(t)
	if err := c.SendMsg(wrapperspb.Bytes([]byte{0xff, 0xff})); err != nil {
		t.Fatal(err)
	}
	c.ends(codes.Internal, "the request is not the message that it should be")
}
