package ads

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"

	"polestar/xds/resource"
)

// A form that is replaced and comes back is not what the client has as long as
// it may hold the one in between.
func TestHasOfAFormThatCameBack(t *testing.T) {
	for _, delta := range []bool{false, true} {
		w := watch(t, delta)
		ask, ack := "eds a", "eds #1 a"
		if delta {
			ask, ack = "eds +a", "eds #1"
		}
		w.put(resource.Endpoints, "a", "a1")
		w.request(ask)
		w.send("eds #1 @1 a=a1")
		w.request(ack)
		w.put(resource.Endpoints, "a", "a2")
		w.send("eds #2 @2 a=a2")
		w.put(resource.Endpoints, "a", "a1")
		if got := w.state("a", Stale); got.Has(3) || !got.Has(1) {
			t.Errorf("delta=%v: a2 is on the way to it: %+v", delta, got)
		}
		w.request(ack[:5] + "2" + ack[6:])
		w.send("eds #3 @3 a=a1")
		w.request(ack[:5] + "3" + ack[6:])
		if got := w.state("a", Synced); !got.Has(3) {
			t.Errorf("delta=%v: %+v", delta, got)
		}
	}
}

// What exists no more is lacked until the client was sent nothing of it, or
// accepted its removal.
func TestHasOfWhatIsGoneBeforeItWasAccepted(t *testing.T) {
	w := watch(t, true)
	w.put(resource.Endpoints, "a", "a1")
	w.request("eds +a")
	w.send("eds #1 @1 a=a1")
	w.put(resource.Endpoints, "a", "")
	if got, _ := w.Lookup(resource.Endpoints, "a"); got.Has(2) {
		t.Errorf("a1 is on the way to it: %+v", got)
	}
	w.request("eds #1")
	w.send("eds #2 @2 -a")
	w.request("eds #2")
	if got, _ := w.Lookup(resource.Endpoints, "a"); !got.Has(2) {
		t.Errorf("after its removal: %+v", got)
	}
}

// Refused together means tried again alone; only refused alone is final.
func TestARefusalIsFinalWhenItWasAlone(t *testing.T) {
	w := watch(t, true)
	w.put(resource.Endpoints, "a", "a1")
	w.put(resource.Endpoints, "b", "b2")
	w.request("eds +a +b")
	w.send("eds #1 @2 a=a1 b=b2")
	w.request("eds #1 refused")
	if w.state("a", Refused).Refused.Final || w.state("b", Refused).Refused.Final {
		t.Error("what was refused together is said to be refused for good")
	}
	w.send("eds #2 @2 a=a1")
	w.request("eds #2 refused")
	w.send("eds #3 @2 b=b2")
	w.request("eds #3")
	w.state("b", Synced)
	if !w.state("a", Refused).Refused.Final {
		t.Error("what was refused alone is not said to be refused for good")
	}
	w.put(resource.Endpoints, "a", "a3")
	w.state("a", Stale)
}

func TestLag(t *testing.T) {
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	d.change(resource.Endpoints, "a", "e2")
	silent := d.sotw(t)
	if got := d.server.Streams(); len(got) != 0 {
		t.Errorf("streams of clients that said nothing: %v", got)
	}
	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	r := c.recv()
	ids := d.server.Streams()
	if len(ids) != 1 {
		t.Fatalf("streams: %v", ids)
	}
	l, ok := d.server.Lag(ids[0], 2, nil)
	if !ok || l.Client.NodeID != "n1" || l.Concerned != 1 || len(l.Lacking) != 1 || l.Lacking[0].State() != Stale {
		t.Fatalf("not answered yet: %+v", l)
	}
	other, ok := d.server.Lag(ids[0], 2, []resource.Ref{{Type: resource.Cluster, Name: "b"}, {Type: resource.Endpoints, Name: "a"}})
	if !ok || other.Concerned != 0 || len(other.Lacking) != 0 {
		t.Errorf("what it does not subscribe to: %+v", other)
	}
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce()})
	for len(l.Lacking) > 0 { // the sending itself may have closed the first
		<-l.Moved
		l, _ = d.server.Lag(ids[0], 2, nil)
	}

	// A refusal and the end move it too.
	d.change(resource.Cluster, "a", "a3")
	r = c.recv()
	l, _ = d.server.Lag(ids[0], 3, nil)
	c.send(&discoveryv3.DiscoveryRequest{
		TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce(), ErrorDetail: &rpcstatus.Status{Message: "no"},
	})
	for !l.Lacking[0].Refused.Final {
		<-l.Moved
		l, _ = d.server.Lag(ids[0], 3, nil)
	}
	if err := c.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for ok {
		<-l.Moved
		l, ok = d.server.Lag(ids[0], 3, nil)
	}
	if _, ok := d.server.Lag(99, 1, nil); ok {
		t.Error("a stream that does not exist was found")
	}
	if err := silent.CloseSend(); err != nil {
		t.Fatal(err)
	}
}
