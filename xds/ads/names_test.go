package ads

import (
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"

	"polestar/xds/resource"
)

var zero = time.Unix(1, 0)

// watched is a machine with a clock that ticks once per step.
type watched struct {
	t *testing.T
	*world
	*Machine
	now time.Time
}

func watch(t *testing.T, delta bool) *watched {
	t.Helper()
	w := &watched{t: t, world: newWorld(), now: zero}
	w.Machine = NewSotW(w.world, true)
	if delta {
		w.Machine = NewDelta(w.world, true)
	}
	return w
}

func (w *watched) request(words string) {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	if _, err := w.Request(w.now, parseRequest(w.t, strings.Fields(words))); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) send(want string) {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	w.Changed(w.take())
	if got := describe(w.Next(w.now)); got != want {
		w.t.Fatalf("sent %s, want %s", got, want)
	}
}

func (w *watched) state(name string, want State) NameStatus {
	w.t.Helper()
	for _, n := range w.Names() {
		if n.Name != name {
			continue
		}
		if n.State() != want {
			w.t.Errorf("%s is %s, want %s: %+v", name, n.State(), want, n)
		}
		if one, ok := w.Lookup(n.Type, name); !ok || cmp.Diff(n, one) != "" {
			w.t.Errorf("Lookup says %+v, %v; Names %+v", one, ok, n)
		}
		return n
	}
	w.t.Fatalf("nothing is known of %s: %+v", name, w.Names())
	return NameStatus{}
}

func at(second int) time.Time { return zero.Add(time.Duration(second) * time.Second) }

func TestNameStatusOfFullState(t *testing.T) {
	w := watch(t, false)
	w.put(resource.Cluster, "a", "a1")
	w.put(resource.Cluster, "b", "b1")
	w.request("cds * a c") // 1
	w.state("a", NotSent)
	w.state("b", NotSent)
	w.send("cds #1 @2 a=a1 b=b1 ?c") // 2
	w.state("a", Stale)
	w.state("c", Missing)
	w.request("cds #1 * a c") // 3
	want := NameStatus{
		Type: resource.Cluster, Name: "a", Named: true, Current: Form{"a1", 1},
		Sent: Delivery{Form{"a1", 1}, at(2)}, Acked: Delivery{Form{"a1", 1}, at(3)},
	}
	if d := cmp.Diff(want, w.state("a", Synced)); d != "" {
		t.Error(d)
	}

	w.put(resource.Cluster, "b", "b2")
	w.state("b", Stale)
	w.send("cds #2 @3 a=a1 b=b2") // 4
	if d := cmp.Diff(want.Sent, w.state("a", Synced).Sent); d != "" {
		t.Errorf("a response that repeats a form is not its delivery: %s", d)
	}
	if got := w.state("b", Stale); got.Sent.At != at(4) || got.Acked.At != at(3) || !got.InFlight || got.Has(3) || !got.Has(2) {
		t.Errorf("in flight: %+v", got)
	}
	w.request("cds #2 * a c") // 5
	want = NameStatus{
		Type: resource.Cluster, Name: "b", Current: Form{"b2", 3},
		Sent: Delivery{Form{"b2", 3}, at(4)}, Acked: Delivery{Form{"b2", 3}, at(5)},
	}
	if d := cmp.Diff(want, w.state("b", Synced)); d != "" {
		t.Error(d)
	}

	w.put(resource.Cluster, "b", "")
	w.send("cds #3 @4 a=a1") // 6
	if got := w.state("b", Stale); got.Sent.Version != "" || got.Acked.Version != "b2" || got.Has(4) {
		t.Errorf("its removal is on the way: %+v", got)
	}
	w.request("cds #3 * a c")
	if got, ok := w.Lookup(resource.Cluster, "b"); ok || !got.Has(4) {
		t.Errorf("after its removal: %+v", got)
	}
}

func TestNameStatusOfARefusal(t *testing.T) {
	for _, c := range []struct {
		typ                  resource.Type
		delta                bool
		ask, ack, nack, ask2 string
	}{
		{resource.Cluster, false, "cds * b", "cds #1 * b", "cds #2 refused * b", "cds #3 * b"},
		{resource.Cluster, true, "cds +* +b", "cds #1", "cds #2 refused", "cds #3"},
		{resource.Route, false, "rds a b", "rds #1 a b", "rds #2 refused a b", "rds #3 a b"},
	} {
		w := watch(t, c.delta)
		w.put(c.typ, "a", "a1")
		w.request(c.ask)
		w.now = at(2)
		w.Next(w.now)
		w.request(c.ack) // 3
		w.put(c.typ, "a", "a2")
		w.Changed(w.take())
		w.now = at(4)
		w.Next(w.now)
		w.request(c.nack) // 5
		got := w.state("a", Refused)
		want := Refusal{Delivery{Form{"a2", 2}, at(5)}, "refused by the script", true}
		if d := cmp.Diff(want, got.Refused); d != "" {
			t.Errorf("%s delta=%v: %s", c.typ, c.delta, d)
		}
		if got.Acked.Version != "a1" || got.Has(2) || !got.Has(1) {
			t.Errorf("%s delta=%v: the accepted form stays in force: %+v", c.typ, c.delta, got)
		}
		w.put(c.typ, "a", "a3")
		w.state("a", Stale)
		w.Changed(w.take())
		w.Next(w.now)
		w.request(c.ask2)
		if got := w.state("a", Synced); got.Refused != (Refusal{}) {
			t.Errorf("%s delta=%v: a refusal outlives what cures it: %+v", c.typ, c.delta, got)
		}
		w.state("b", Missing)
	}
}

func TestNameStatusOfDeltaRemoval(t *testing.T) {
	w := watch(t, true)
	w.put(resource.Endpoints, "a", "a1")
	w.request("eds +a")
	w.send("eds #1 @1 a=a1")
	w.request("eds #1")
	w.put(resource.Endpoints, "a", "")
	w.state("a", Stale)
	w.send("eds #2 @2 -a")
	if got := w.state("a", Stale); got.Acked.Version != "a1" || got.Sent.Version != "" || got.Has(2) {
		t.Errorf("its removal is on the way: %+v", got)
	}
	w.request("eds #2")
	if got := w.state("a", Missing); !got.Has(2) {
		t.Errorf("after its removal: %+v", got)
	}
}

func TestNameStatusOfAnEarlierStream(t *testing.T) {
	w := watch(t, true)
	w.put(resource.Endpoints, "a", "a1")
	w.put(resource.Endpoints, "b", "b2")
	w.request("eds +a +b a=a1 b=b1")
	want := NameStatus{
		Type: resource.Endpoints, Name: "a", Named: true, Current: Form{"a1", 1},
		Sent: Delivery{Form: Form{"a1", 1}}, Acked: Delivery{Form: Form{"a1", 1}},
	}
	if d := cmp.Diff(want, w.state("a", Synced)); d != "" {
		t.Error(d)
	}
	if got := w.state("b", Stale); got.Acked.Form != (Form{Version: "b1"}) || got.Has(1) {
		t.Errorf("an unknown version has no revision: %+v", got)
	}
}

func TestRefusalTextsAreBounded(t *testing.T) {
	w := watch(t, true)
	for i := range maxReasons + 10 {
		w.put(resource.Cluster, strings.Repeat("c", i+1), "1")
	}
	w.request("cds +*")
	w.Next(w.now)
	w.request("cds #1 refused")
	if got := len(w.channels[resource.Cluster].base().quarantine.reasons); got != maxReasons {
		t.Errorf("%d texts are kept", got)
	}
}

func TestHolders(t *testing.T) {
	d := open(t)
	d.put(resource.Cluster, "a", "a1")
	d.put(resource.Endpoints, "a", "e1")
	refs := []resource.Ref{{Type: resource.Cluster, Name: "a"}, {Type: resource.Endpoints, Name: "a"}}
	c := d.sotw(t)
	c.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Cluster.URL()})
	r := c.recv()
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Cluster.URL(), ResponseNonce: r.GetNonce()})
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.Endpoints.URL(), ResourceNames: []string{"a"}})
	c.recv()
	other := d.sotw(t)
	other.send(&discoveryv3.DiscoveryRequest{Node: envoy, TypeUrl: resource.Endpoints.URL(), ResourceNames: []string{"b"}})
	other.recv()
	got := d.server.Holders(refs)
	if len(got) != 1 || got[0].Client.NodeID != "n1" || len(got[0].Names) != 2 ||
		got[0].Names[0].State() != Synced || got[0].Names[1].State() != Stale {
		t.Fatalf("holders: %+v", got)
	}
	one, ok := d.server.Holding(got[0].Client.ID, refs)
	if d := cmp.Diff(got[0].Names, one.Names); d != "" || !ok || one.Client.NodeID != "n1" {
		t.Errorf("one holder: %+v, %v", one, ok)
	}
	if one, ok = d.server.Holding(99, refs); ok {
		t.Errorf("a stream that does not exist: %+v", one)
	}
	if got := d.server.Holders([]resource.Ref{{Type: resource.Cluster, Name: "nobody"}}); len(got) != 0 {
		t.Errorf("holders of what nobody has: %+v", got)
	}
}

func TestStatus(t *testing.T) {
	w := newWorld()
	w.put(resource.Cluster, "a", "1")
	m := NewDelta(w, true)
	if got := m.Status(); got != nil {
		t.Errorf("before the first request: %+v", got)
	}
	request := func(r Request) {
		t.Helper()
		if _, err := m.Request(zero, r); err != nil {
			t.Fatal(err)
		}
	}
	request(Request{URL: resource.Cluster.URL(), Subscribe: []string{"*", "b"}})
	m.Next(zero)
	request(Request{URL: resource.Cluster.URL(), Nonce: "1"})
	w.put(resource.Cluster, "a", "2")
	m.Changed(w.take())
	m.Next(zero.Add(1))
	request(Request{URL: resource.Cluster.URL(), Nonce: "2", Refused: true, Reason: strings.Repeat("é", maxReason)})
	got := m.Status()[0]
	if len(got.Refused.Reason) > maxReason+2 || !strings.HasPrefix(got.Refused.Reason, "éé") {
		t.Errorf("reason of %d bytes: %s", len(got.Refused.Reason), got.Refused.Reason)
	}
	got.Refused.Reason = ""
	want := TypeStatus{
		Type: resource.Cluster, Wildcard: true, Names: 1, Parked: 1,
		Sent:    SentStatus{Revision: 2, Nonce: "2", At: zero.Add(1), Resources: 1},
		Acked:   AckStatus{Revision: 1, At: zero},
		Refused: NackStatus{Revision: 2, At: zero, Names: []string{"a"}, Count: 1},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	names := []NameStatus{
		{
			Type: resource.Cluster, Name: "a", Current: Form{"2", 2},
			Sent: Delivery{Form{"2", 2}, zero.Add(1)}, Acked: Delivery{Form{"1", 1}, zero},
			Refused: Refusal{Delivery{Form{"2", 2}, zero}, m.Status()[0].Refused.Reason, true},
		},
		{Type: resource.Cluster, Name: "b", Named: true},
	}
	if d := cmp.Diff(names, m.Names()); d != "" {
		t.Error(d)
	}
}
