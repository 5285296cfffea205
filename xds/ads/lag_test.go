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
	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	r := c.recv()
	watch := d.server.Watch()
	defer watch.Close()
	<-watch.Wake()
	ids := watch.Take()
	if len(ids) != 1 {
		t.Fatalf("what is open counts as moved: %v", ids)
	}
	id := ids[0]
	l, ok := d.server.Lag(id, 2, nil)
	if !ok || l.Client.NodeID != "n1" || l.Concerned != 1 || len(l.Lacking) != 1 || l.Lacking[0].State() != Stale {
		t.Fatalf("not answered yet: %+v", l)
	}
	other, ok := d.server.Lag(id, 2, []resource.Ref{{Type: resource.Cluster, Name: "b"}, {Type: resource.Endpoints, Name: "a"}})
	if !ok || other.Concerned != 0 || len(other.Lacking) != 0 {
		t.Errorf("what it does not subscribe to: %+v", other)
	}
	// until waits for movements of the stream, and for nothing else.
	until := func(f func(Lag, bool) bool) {
		t.Helper()
		for l, ok := d.server.Lag(id, 3, nil); !f(l, ok); l, ok = d.server.Lag(id, 3, nil) {
			<-watch.Wake()
			for _, moved := range watch.Take() {
				if moved != id {
					t.Errorf("stream %d moved", moved)
				}
			}
		}
	}
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce()})
	until(func(l Lag, _ bool) bool { return len(l.Lacking) == 0 })
	d.change(resource.Cluster, "a", "a3")
	until(func(l Lag, _ bool) bool { return len(l.Lacking) == 1 && l.Lacking[0].Sent.Version == "a3" })
	c.send(&discoveryv3.DiscoveryRequest{
		TypeUrl: resource.Cluster.URL(), ResponseNonce: c.recv().GetNonce(), ErrorDetail: &rpcstatus.Status{Message: "no"},
	})
	until(func(l Lag, _ bool) bool { return l.Lacking[0].Refused.Final })
	if err := c.CloseSend(); err != nil {
		t.Fatal(err)
	}
	until(func(_ Lag, ok bool) bool { return !ok })
	if _, ok := d.server.Lag(99, 1, nil); ok {
		t.Error("a stream that does not exist was found")
	}
}

func TestAClosedWatchCollectsNothing(t *testing.T) {
	d := open(t)
	gone, watch := d.server.Watch(), d.server.Watch()
	gone.Close()
	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	c.recv()
	if len(gone.Take()) != 0 {
		t.Error("a closed watch collects")
	}
	if got := watch.Take(); len(got) != 1 || len(watch.Take()) != 0 {
		t.Errorf("the open one collected %v, or tells it twice", got)
	}
	watch.Close()
	if d.server.watches.any.Load() {
		t.Error("streams look for watches that are gone")
	}
}
