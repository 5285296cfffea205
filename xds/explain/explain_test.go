package explain

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
	"polestar/naming/health"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
	"polestar/xds/ads"
	"polestar/xds/node"
	"polestar/xds/resource"
)

var now = time.Unix(1000, 0)

// world is a registry whose clients a test makes up.
type world struct {
	t        *testing.T
	store    *memory.Store
	registry *registry.Registry
	fleet
}

func newWorld(t *testing.T) *world {
	return &world{t: t, store: memory.New(store.DefaultLogBounds()), registry: registry.New()}
}

func (w *world) do(wr naming.Write) {
	w.t.Helper()
	commit, results, err := w.store.Apply(w.t.Context(), []naming.Write{wr})
	if err == nil && results[0].Err != nil {
		err = results[0].Err
	}
	if err == nil {
		err = w.registry.Apply(commit)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(id string, port uint32) {
	w.t.Helper()
	w.do(&naming.Register{AutoCreate: true, Instance: naming.Instance{
		ID: id, Service: naming.ServiceKey{Namespace: "n", Name: "s"}, Host: "10.0.0.1", Port: port, Weight: 7,
	}})
}

func (w *world) explainer() *Explainer {
	return New(Deps{
		World: w.registry.World, Clients: w.fleet, Touched: func(k naming.ServiceKey) []resource.Ref { return resource.Affected(k, true) },
		Lease: func(string) (health.State, bool) { return health.State{}, false }, Settle: func(context.Context) error { return nil },
		Now: func() time.Time { return now },
	})
}

// eds is the status of the assignment of n/s as it is now, of which the client
// has what f says.
func (w *world) eds(f func(n *ads.NameStatus)) ads.NameStatus {
	w.t.Helper()
	key := resource.Key{Type: resource.Endpoints, Name: "n/s", Scope: (&node.View{Namespace: "n"}).Scope().For(resource.Endpoints)}
	r, _, err := resource.Build(w.registry.World(), key.Form(w.registry.World()))
	if err != nil {
		w.t.Fatal(err)
	}
	n := ads.NameStatus{Type: resource.Endpoints, Name: "n/s", Named: true}
	if r != nil {
		n.Current = ads.Form{Version: r.Version, Revision: uint64(r.Revision)}
	}
	f(&n)
	return n
}

// fleet is a set of clients with their resources.
type fleet []ads.Holding

func (f fleet) Clients() (out []ads.ClientStatus) {
	for _, h := range f {
		out = append(out, h.Client)
	}
	return out
}

func (f fleet) Holding(id uint64, refs []resource.Ref) (ads.Holding, bool) {
	for _, h := range f {
		if h.Client.ID != id {
			continue
		}
		var out []ads.NameStatus
		for _, n := range h.Names {
			for _, r := range refs {
				if r.Type == n.Type && r.Name == n.Name {
					out = append(out, n)
				}
			}
		}
		return ads.Holding{Client: h.Client, Names: out}, true
	}
	return ads.Holding{}, false
}

func (f fleet) Client(id uint64) (ads.ClientStatus, []ads.NameStatus, bool) {
	for _, h := range f {
		if h.Client.ID == id {
			return h.Client, h.Names, true
		}
	}
	return ads.ClientStatus{}, nil, false
}

func client(stream uint64, id string, names ...ads.NameStatus) ads.Holding {
	return ads.Holding{Client: ads.ClientStatus{
		ID: stream, NodeID: id, View: "v", Service: aggregated, Sees: &node.View{Namespace: "n"}, Since: now,
	}, Names: names}
}

func (w *world) explain(q Question) Report {
	w.t.Helper()
	q.Service = naming.ServiceKey{Namespace: "n", Name: "s"}
	a, err := w.explainer().Explain(w.t.Context(), q)
	if err != nil || len(a.Reports) != 1 {
		w.t.Fatalf("%+v, %v", a, err)
	}
	return a.Reports[0]
}

func codes(causes []Cause) string {
	var out []string
	for _, c := range causes {
		out = append(out, c.Code)
	}
	return strings.Join(out, " ")
}

func delivered(version string, revision uint64) ads.Delivery {
	return ads.Delivery{Form: ads.Form{Version: version, Revision: revision}, At: now.Add(-90 * time.Second)}
}

// Endpoints that a client gets one by one are at it when it has them, whatever it
// has of the assignment that names their collections.
func TestAtClientOneByOne(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	view := &node.View{Namespace: "n", LEDS: 1}
	status := func(typ resource.Type, f func(n *ads.NameStatus)) ads.NameStatus {
		t.Helper()
		key := resource.Key{Type: typ, Name: "n/s", Scope: view.Scope().For(typ)}
		r, _, err := resource.Build(w.registry.World(), key.Form(w.registry.World()))
		if err != nil {
			t.Fatal(err)
		}
		n := ads.NameStatus{Type: typ, Name: "n/s", Named: true, Current: ads.Form{Version: r.Version, Revision: uint64(r.Revision)}}
		f(&n)
		return n
	}
	synced := func(n *ads.NameStatus) {
		n.Sent = delivered(n.Current.Version, n.Current.Revision)
		n.Acked = n.Sent
	}
	before := status(resource.LbEndpoint, synced)
	ask := func(leds ads.NameStatus) string {
		t.Helper()
		h := client(1, "c", status(resource.Endpoints, synced), leds)
		h.Client.Sees = view
		w.fleet = fleet{h}
		var out []string
		for _, i := range w.explain(Question{Client: "c"}).Instances {
			if i.Served == nil || i.Served.Weight != 7 {
				t.Errorf("%s is served as %+v", i.ID, i.Served)
			}
			out = append(out, i.ID+" "+i.AtClient)
		}
		return strings.Join(out, ", ")
	}
	if got := ask(before); got != "a yes" {
		t.Errorf("all is there: %s", got)
	}
	w.put("b", 2)
	if got := ask(status(resource.LbEndpoint, func(n *ads.NameStatus) { n.Sent, n.Acked = before.Sent, before.Acked })); got != "a yes, b not yet" {
		t.Errorf("b is on its way: %s", got)
	}
	if got := ask(status(resource.LbEndpoint, synced)); got != "a yes, b yes" {
		t.Errorf("b is there: %s", got)
	}
}

// Whether an instance is at the client depends on what the client accepted
// last, and on what changed since.
func TestAtClient(t *testing.T) {
	w := newWorld(t)
	w.put("old", 1)   // revision 1
	w.put("gone", 2)  // revision 2
	w.put("fresh", 3) // revision 3
	isolated := true
	w.do(&naming.Modify{ID: "gone", Set: naming.Setting{Isolated: &isolated}}) // revision 4
	w.do(&naming.Register{Isolated: &isolated, Instance: naming.Instance{
		ID: "never", Service: naming.ServiceKey{Namespace: "n", Name: "s"}, Host: "10.0.0.1", Port: 4, Weight: 7,
	}}) // revision 5: born isolated
	for name, c := range map[string]struct {
		has    func(n *ads.NameStatus)
		want   string // fresh gone never old
		causes string
	}{
		"everything": {func(n *ads.NameStatus) { n.Sent.Form, n.Acked.Form = n.Current, n.Current }, "yes no no yes", ""},
		"an older form": {
			func(n *ads.NameStatus) { n.Sent, n.Acked, n.InFlight = delivered("b", 3), delivered("a", 2), true },
			"not yet still no yes", "not_sent",
		},
		"that of an earlier stream": {
			func(n *ads.NameStatus) { n.Sent, n.Acked = delivered("a", 0), delivered("a", 0) },
			"not yet still no not yet", "not_sent",
		},
		"nothing": {func(*ads.NameStatus) {}, "not yet no no not yet", "not_sent"},
		"sent only": {
			func(n *ads.NameStatus) { n.Sent.Form, n.Sent.At = n.Current, now },
			"not yet no no not yet", "not_acked",
		},
		"refused": {
			func(n *ads.NameStatus) {
				n.Refused.Form, n.Refused.Reason, n.Acked, n.Sent = n.Current, "bad", delivered("a", 3), delivered("a", 3)
			},
			"yes still no yes", "refused",
		},
		"a newer one on the way from what is now": {
			func(n *ads.NameStatus) { n.Acked.Form, n.Sent = n.Current, delivered("x", 9) },
			"yes no no yes", "not_sent",
		},
		"no subscription": {func(n *ads.NameStatus) { n.Named = false }, "no no no no", "not_subscribed not_sent"},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.fleet = fleet{client(1, "e", w.eds(c.has))}
			r := w.explain(Question{Client: "e"})
			var at []string
			for _, i := range r.Instances {
				at = append(at, i.AtClient)
			}
			if got := strings.Join(at, " "); got != c.want || codes(r.Causes) != c.causes {
				t.Errorf("%q because of %q, want %q and %q: %+v", got, codes(r.Causes), c.want, c.causes, r)
			}
		})
	}
}

func TestWhatTheClientSaysIsRepeated(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	w.fleet = fleet{client(1, "e", w.eds(func(n *ads.NameStatus) {
		n.Sent.Form, n.Sent.At, n.Acked = n.Current, now.Add(-1500*time.Millisecond), delivered("a", 0)
		n.Refused = ads.Refusal{Delivery: delivered("r", 7), Reason: "too heavy"}
	}))}
	want := []Cause{{NotAcked, "eds n/s: revision 1 was sent 2s ago and is not answered; it has revision 0, and refused revision 7: too heavy"}}
	if d := cmp.Diff(want, w.explain(Question{Client: "e"}).Causes); d != "" {
		t.Error(d)
	}
}

// A client may still use what was deregistered, or the whole service when it
// may not see it any more.
func TestWhatIsGoneMayStillBeUsed(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	w.put("b", 2)
	old := w.eds(func(n *ads.NameStatus) { n.Sent.Form, n.Acked.Form = n.Current, n.Current })
	w.do(&naming.Deregister{ID: "b"})
	w.fleet = fleet{client(1, "e", w.eds(func(n *ads.NameStatus) { n.Sent, n.Acked = old.Sent, old.Acked }))}
	i := w.explain(Question{Client: "e", Instance: "b"}).Instances[0]
	if codes(i.Causes) != NotRegistered || !strings.Contains(i.Causes[0].Text, "has accepted revision 2 and nothing newer") {
		t.Errorf("%+v", i)
	}
	w.do(&naming.PutService{
		Key: naming.ServiceKey{Namespace: "n", Name: "s"}, ExportTo: &[]string{"m"}, Mode: naming.Update,
	})
	h := client(1, "e", w.eds(func(n *ads.NameStatus) { n.Current, n.Sent, n.Acked = ads.Form{}, old.Sent, old.Acked }))
	h.Client.Sees = &node.View{Namespace: "elsewhere"}
	w.fleet = fleet{h}
	r := w.explain(Question{Client: "e"})
	if r.Instances[0].AtClient != Still || !strings.Contains(codes(r.Causes), NotVisible) {
		t.Errorf("%+v", r)
	}
}

func TestNamesAreCaseSensitive(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	w.fleet = fleet{client(1, "e")}
	a, err := w.explainer().Explain(t.Context(), Question{Client: "e", Service: naming.ServiceKey{Namespace: "n", Name: "S"}})
	if err != nil || codes(a.Reports[0].Causes) != UnknownService || !strings.Contains(a.Reports[0].Causes[0].Text, "there is n/s") {
		t.Errorf("%+v, %v", a, err)
	}
}

// A client with several streams has a report for each; an id of a node goes
// before a number.
func TestFind(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	w.fleet = fleet{client(1, "e"), client(2, "e"), client(3, "2")}
	for name, want := range map[string]string{"e": "1 2", "2": "3", "1": "1"} {
		found, err := w.explainer().Find(name)
		var ids []string
		for _, c := range found {
			ids = append(ids, strconv.FormatUint(c.ID, 10))
		}
		if got := strings.Join(ids, " "); got != want || err != nil {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	a, err := w.explainer().Explain(t.Context(), Question{Client: "e", Service: naming.ServiceKey{Namespace: "n", Name: "s"}})
	if err != nil || len(a.Reports) != 2 || a.Reports[1].Client.Stream != 2 {
		t.Errorf("%+v, %v", a, err)
	}
	for n := range 10 {
		w.fleet = append(w.fleet, client(uint64(10+n), strconv.Itoa(100+n)))
	}
	if _, err = w.explainer().Find("x"); naming.KindOf(err) != naming.NotFound || !strings.Contains(err.Error(), "e, 2, 100, 101, 102 and others (13 streams)") {
		t.Errorf("%v", err)
	}
}

func TestDiff(t *testing.T) {
	w := newWorld(t)
	for n, name := range []string{"a", "b"} {
		w.do(&naming.Register{AutoCreate: true, Instance: naming.Instance{
			ID: name, Service: naming.ServiceKey{Namespace: "n", Name: name}, Host: "10.0.0.1", Port: uint32(n + 1),
		}})
	}
	w.do(&naming.Register{AutoCreate: true, Instance: naming.Instance{
		ID: "c", Service: naming.ServiceKey{Namespace: "n", Name: "dns"}, Host: "host.example", Port: 1,
	}})
	form := ads.Form{Version: "1", Revision: 1}
	synced := func(t resource.Type, name string) ads.NameStatus {
		return ads.NameStatus{Type: t, Name: name, Named: t == resource.Endpoints, Current: form, Sent: ads.Delivery{Form: form}, Acked: ads.Delivery{Form: form}}
	}
	missing := ads.NameStatus{Type: resource.Endpoints, Name: "n/none", Named: true}
	stale := synced(resource.Endpoints, "n/a")
	stale.Acked.Version = "0"
	many := make([]ads.NameStatus, maxDiffs+5)
	for n := range many {
		many[n] = stale
	}
	ofOneType := client(6, "of one type", synced(resource.Cluster, "n/a"))
	ofOneType.Client.Service = "cds"
	w.fleet = fleet{
		client(1, "synced", synced(resource.Cluster, "n/a"), synced(resource.Endpoints, "n/a"), missing),
		client(2, "stale", synced(resource.Cluster, "n/a"), stale),
		client(3, "asks for no endpoints", synced(resource.Cluster, "n/a"), synced(resource.Cluster, "OUTBOUND|n|b"), synced(resource.Endpoints, "n/b")),
		client(4, "no service", synced(resource.Cluster, "PassthroughCluster"), synced(resource.Cluster, "n/dns"), synced(resource.Cluster, "INBOUND|n|a")),
		client(5, "many", many...), ofOneType,
	}
	all, total, err := w.explainer().Diffs(t.Context(), "", 0, 10)
	if err != nil || total != 6 || len(all) != 6 {
		t.Fatalf("%d of %d, %v", len(all), total, err)
	}
	for n, want := range []string{"n/none missing", "!n/a stale", "!n/a not subscribed", "", "!1000 and 5", ""} {
		var words []string
		if all[n].More > 0 {
			words = append(words, strconv.Itoa(len(all[n].Resources)), "and", strconv.Itoa(all[n].More))
		} else {
			for _, r := range all[n].Resources {
				words = append(words, r.Name, r.State)
			}
		}
		got := strings.Join(words, " ")
		if !all[n].Converged {
			got = "!" + got
		}
		if got != want {
			t.Errorf("%s: %q, want %q", all[n].Node, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err = w.explainer().Diffs(ctx, "", 0, 10); err == nil {
		t.Error("goes on although nobody listens")
	}
}
