package ads

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"polestar/naming"
	"polestar/xds/resource"
)

// namedTypes are those that clients subscribe to by the names of resources, in
// both variants of the protocol.
func namedTypes() []resource.Type {
	return slices.DeleteFunc(resource.Types(), func(t resource.Type) bool { return t == resource.LbEndpoint })
}

// path is where the endpoints of service s in a zone are.
func path(zone string) string {
	return "xdstp://polestar/envoy.config.endpoint.v3.LbEndpoint/d/s/," + zone + ",/"
}

// members sets the endpoints of d/s, each as zone/id=version, and removes all
// others; without any the service is gone.
func (w *world) members(list ...string) {
	w.revision++
	ref := resource.Ref{Type: resource.LbEndpoint, Name: "d/s"}
	slices.Sort(list)
	r := &resource.Resource{Name: ref.Name, Version: strings.Join(list, " "), Revision: naming.Revision(w.revision)}
	for _, m := range list {
		name, version, _ := strings.Cut(m, "=")
		zone, id, _ := strings.Cut(name, "/")
		bytes := []byte(version)
		r.Members = append(r.Members, &resource.Resource{Name: path(zone) + id, Version: version, Revision: r.Revision, Delta: bytes})
	}
	if w.resources[ref] = r; len(list) == 0 {
		delete(w.resources, ref)
	}
	if w.watched[ref] {
		w.dirty[resource.LbEndpoint] = append(w.dirty[resource.LbEndpoint], ref.Name)
	}
}

// ledsPlayer drives a machine by short texts.
type ledsPlayer struct {
	t     *testing.T
	w     *world
	m     *Machine
	nonce string
}

func newLEDS(t *testing.T) *ledsPlayer {
	w := newWorld()
	return &ledsPlayer{t: t, w: w, m: NewDelta(w, true)}
}

// ask sends a request of type leds; names are zone/* or zone/id=version.
func (p *ledsPlayer) ask(names ...string) {
	p.t.Helper()
	r := Request{URL: resource.LbEndpoint.URL()}
	for _, name := range names {
		switch zone, id, _ := strings.Cut(name, "/"); {
		case name[0] == '-':
			r.Unsubscribe = append(r.Unsubscribe, path(strings.TrimPrefix(zone, "-"))+id)
		case id == "*":
			r.Subscribe = append(r.Subscribe, path(zone)+id)
		default:
			member, version, _ := strings.Cut(id, "=")
			if r.Initial == nil {
				r.Initial = map[string]string{}
			}
			r.Initial[path(zone)+member] = version
		}
	}
	p.request(r)
}

func (p *ledsPlayer) request(r Request) {
	p.t.Helper()
	if _, err := p.m.Request(time.Time{}, r); err != nil {
		p.t.Fatal(err)
	}
}

// accept and refuse answer the newest response.
func (p *ledsPlayer) accept() { p.request(Request{URL: resource.LbEndpoint.URL(), Nonce: p.nonce}) }

func (p *ledsPlayer) refuse() {
	p.request(Request{URL: resource.LbEndpoint.URL(), Nonce: p.nonce, Refused: true, Reason: "bad"})
}

// want compares the next response: zone/id=version and -zone/id.
func (p *ledsPlayer) want(list ...string) {
	p.t.Helper()
	p.m.Changed(p.w.take())
	r := p.m.Next(time.Time{})
	if got := shortly(r); got != strings.Join(list, " ") {
		p.t.Fatalf("sent %q, want %q", got, list)
	}
	if r != nil {
		p.nonce = r.Nonce
	}
}

func shortly(r *Response) string {
	if r == nil {
		return ""
	}
	words := forms(r.Resources)
	for _, name := range r.Removed {
		words = append(words, "-"+name)
	}
	if r.typ != resource.LbEndpoint {
		words = append([]string{r.typ.String()}, words...)
	}
	text := strings.Join(words, " ")
	for _, zone := range []string{"z1", "z2"} {
		text = strings.ReplaceAll(text, path(zone), zone+"/")
	}
	return text
}

func TestLEDSOneChangeIsOneEndpoint(t *testing.T) {
	p := newLEDS(t)
	p.w.members("z1/a=1", "z1/b=1", "z2/c=1")
	p.ask("z1/*")
	p.want("z1/a=1", "z1/b=1")
	p.accept()
	p.w.members("z1/a=1", "z1/b=2", "z2/c=1")
	p.want("z1/b=2")
	p.w.members("z1/a=1", "z1/b=3", "z1/d=1", "z2/c=1")
	p.want() // one is in flight
	p.accept()
	p.want("z1/b=3", "z1/d=1")
	p.accept()
	p.w.members("z1/b=3", "z1/d=1", "z2/c=1")
	p.want("-z1/a")
	p.accept()
	t.Log("another zone is another collection; it is not sent, and not waited for")
	p.w.members("z1/b=3", "z1/d=1", "z2/c=2")
	p.want()
	if n, _ := p.m.Lookup(resource.LbEndpoint, "d/s"); n.State() != Synced {
		t.Errorf("%s: %+v", n.State(), n)
	}
	t.Log("one that moves leaves the one and enters the other")
	p.ask("z2/*")
	p.want("z2/c=2")
	p.accept()
	p.w.members("z2/b=3", "z1/d=1", "z2/c=2")
	p.want("z2/b=3", "-z1/b")
}

func TestLEDSEveryNameIsAnswered(t *testing.T) {
	p := newLEDS(t)
	p.ask("z1/*")
	p.want("-z1/*")
	p.accept()
	p.w.members("z1/a=1")
	p.want("z1/a=1")
	p.accept()
	p.w.members()
	p.want("-z1/a")
	p.accept()
	p.ask("z2/*") // no such service, no such zone
	p.want("-z2/*")
	p.accept()
	p.request(Request{URL: resource.LbEndpoint.URL(), Subscribe: []string{"d/s", "*"}})
	p.want("-*", "-d/s")
}

func TestLEDSAskedAgainIsSentAgain(t *testing.T) {
	p := newLEDS(t)
	p.w.members("z1/a=1", "z1/b=1")
	p.ask("z1/*")
	p.want("z1/a=1", "z1/b=1")
	p.accept()
	p.ask("z1/*")
	p.want("z1/a=1", "z1/b=1")
	p.accept()
	p.ask("-z1/*")
	if len(p.w.watched) > 0 {
		t.Errorf("still watched: %v", p.w.watched)
	}
	p.w.members("z1/a=2")
	p.want()
	p.ask("z1/*")
	p.want("z1/a=2")
}

func TestLEDSReconnectSendsDifferences(t *testing.T) {
	p := newLEDS(t)
	p.w.members("z1/a=1", "z1/b=2", "z1/c=1", "z2/d=1")
	p.request(Request{URL: resource.Cluster.URL()})
	p.want("cds")
	p.ask("z1/*", "z2/*", "z1/a=1", "z1/b=1", "z1/gone=1", "z2/d=1")
	p.want("z1/b=2", "z1/c=1", "-z1/gone")
	p.accept()
	p.want()
	if n, _ := p.m.Lookup(resource.LbEndpoint, "d/s"); n.State() != Synced {
		t.Errorf("%s: %+v", n.State(), n)
	}
	p.w.members("z1/a=1", "z1/b=2", "z1/c=1", "z2/d=2")
	p.want("z2/d=2")
}

// TestLEDSOfAWarmingClusterFollows: a cluster that was sent has no endpoints
// until they come after its assignment, and the client does not ask for them.
func TestLEDSOfAWarmingClusterFollows(t *testing.T) {
	p := newLEDS(t)
	p.w.members("z1/a=1")
	p.w.put(resource.Cluster, "d/s", "1")
	p.w.put(resource.Endpoints, "d/s", "1")
	start := func() {
		p.request(Request{URL: resource.Cluster.URL()})
		p.want("cds d/s=1")
		p.request(Request{URL: resource.Cluster.URL(), Nonce: "1"})
		p.request(Request{URL: resource.Endpoints.URL(), Subscribe: []string{"d/s"}})
		p.want("eds d/s=1")
		p.request(Request{URL: resource.Endpoints.URL(), Nonce: "2"})
	}
	start()
	p.ask("z1/*")
	p.want("z1/a=1")
	p.accept()
	p.w.put(resource.Cluster, "d/s", "2")
	p.want("cds d/s=2")
	p.want("eds d/s=1")
	p.want("z1/a=1")
	p.accept()
	t.Log("a changed assignment alone needs nothing")
	p.request(Request{URL: resource.Endpoints.URL(), Nonce: "5"})
	p.w.put(resource.Endpoints, "d/s", "2")
	p.want("eds d/s=2")
	p.want()

	t.Log("after a reconnect, if the assignment was sent before the client asked")
	p.w.put(resource.Cluster, "d/s", "1")
	p.w.put(resource.Endpoints, "d/s", "1")
	p.w.attach()
	p.m = NewDelta(p.w, true)
	start()
	p.ask("z1/*", "z1/a=1")
	p.want("z1/a=1")

	t.Log("and if it did not ask for clusters yet: so does an Envoy that warms one")
	p.w.attach()
	p.m = NewDelta(p.w, true)
	p.ask("z1/*", "z1/a=1")
	p.want("z1/a=1")
}

func TestLEDSARefusedEndpointIsLeftOut(t *testing.T) {
	p := newLEDS(t)
	p.w.members("z1/a=1", "z1/b=1", "z1/c=1")
	p.ask("z1/*")
	p.want("z1/a=1", "z1/b=1", "z1/c=1")
	p.refuse()
	t.Log("each is tried alone, news between them")
	p.want("z1/a=1")
	p.accept()
	p.w.members("z1/a=1", "z1/b=1", "z1/c=1", "z1/d=1")
	p.want("z1/d=1")
	p.accept()
	p.want("z1/b=1")
	p.refuse()
	p.want("z1/c=1")
	p.accept()
	p.want()
	p.w.members("z1/a=1", "z1/b=2", "z1/c=1", "z1/d=1")
	p.want("z1/b=2")
	p.accept()
	t.Log("the accepted form stays in force")
	p.w.members("z1/a=1", "z1/b=3", "z1/c=1", "z1/d=1")
	p.want("z1/b=3")
	p.refuse()
	p.want("z1/b=2")
	p.accept()
	p.want()
	if n, _ := p.m.Lookup(resource.LbEndpoint, "d/s"); !n.Named || n.Acked.Version == "" {
		t.Errorf("%+v", n)
	}
}

func TestLEDSIsIncrementalOnly(t *testing.T) {
	w := newWorld()
	m := NewSotW(w, true)
	if _, err := m.Request(time.Time{}, Request{URL: resource.LbEndpoint.URL(), Subscribe: []string{path("z1") + "*"}}); err != nil {
		t.Fatal(err)
	}
	if r := m.Next(time.Time{}); r != nil || len(m.Unserved()) != 1 || len(w.watched) > 0 {
		t.Errorf("sent %s; unserved %v; watched %v", describe(r), m.Unserved(), w.watched)
	}
}

// TestLEDSCollectionsAreNotCut: with a part of one a cluster would be warm.
func TestLEDSCollectionsAreNotCut(t *testing.T) {
	p := newLEDS(t)
	p.w.members("z1/a=1", "z1/b=1", "z2/c=1")
	for _, m := range p.w.resources[resource.Ref{Type: resource.LbEndpoint, Name: "d/s"}].Members {
		m.Delta = make([]byte, MaxMessage/2+1)
	}
	p.ask("z1/*", "z2/*")
	p.want("z1/a=1", "z1/b=1")
	p.accept()
	p.want("z2/c=1")
}

// TestLEDSConverges: whatever changes, is refused or cut off, in the end the
// client has what there is, but for what it refuses.
func TestLEDSConverges(t *testing.T) {
	for seed := range uint64(500) {
		converge(t, rand.New(rand.NewPCG(seed, 7)))
	}
}

func converge(t *testing.T, random *rand.Rand) {
	w := newWorld()
	var log []string
	have, stars := map[string]string{}, map[string]bool{}
	var m *Machine
	var flying *Response
	connect := func() {
		log = append(log, fmt.Sprint("connect ", stars, have))
		w.attach()
		m, flying = NewDelta(w, true), nil
		r := Request{URL: resource.LbEndpoint.URL(), Subscribe: slices.Sorted(maps.Keys(stars)), Initial: maps.Clone(have)}
		if len(stars) == 0 {
			return
		}
		if random.IntN(2) == 0 { // else the client warms
			_, _ = m.Request(time.Time{}, Request{URL: resource.Cluster.URL()})
			c := m.Next(time.Time{})
			_, _ = m.Request(time.Time{}, Request{URL: resource.Cluster.URL(), Nonce: c.Nonce})
		}
		if _, err := m.Request(time.Time{}, r); err != nil {
			t.Fatal(err)
		}
	}
	bad := func(version string) bool { return version == "9" }
	world := map[string]string{}
	publish := func() {
		var list []string
		for name, version := range world {
			list = append(list, name+"="+version)
		}
		w.members(list...)
	}
	answer := func() {
		defer func() { log = append(log, fmt.Sprint("answered, has ", have)) }()
		refused := slices.ContainsFunc(flying.Resources, func(r *resource.Resource) bool { return bad(r.Version) })
		if !refused || random.IntN(2) == 0 { // a client may keep what was good
			for _, r := range flying.Resources {
				if !bad(r.Version) && stars[starOf(r.Name)] {
					have[r.Name] = r.Version
				}
			}
			for _, name := range flying.Removed {
				delete(have, name)
			}
		}
		if _, err := m.Request(time.Time{}, Request{URL: resource.LbEndpoint.URL(), Nonce: flying.Nonce, Refused: refused}); err != nil {
			t.Fatal(err)
		}
		flying = nil
	}
	step := func() bool {
		if flying != nil {
			answer()
			return true
		}
		m.Changed(w.take())
		flying = m.Next(time.Time{})
		log = append(log, fmt.Sprint("world ", world, " sent ", shortly(flying)))
		return flying != nil
	}
	connect()
	for range 60 {
		switch random.IntN(8) {
		case 0, 1, 2:
			name := fmt.Sprintf("z%d/%c", 1+random.IntN(2), 'a'+rune(random.IntN(5)))
			if world[name] = fmt.Sprint(random.IntN(10)); random.IntN(3) == 0 {
				delete(world, name)
			}
			publish()
		case 3:
			star := path(fmt.Sprintf("z%d", 1+random.IntN(2))) + "*"
			r := Request{URL: resource.LbEndpoint.URL(), Subscribe: []string{star}}
			if stars[star] && random.IntN(2) == 0 {
				r.Subscribe, r.Unsubscribe = nil, r.Subscribe
				delete(stars, star)
				maps.DeleteFunc(have, func(name, _ string) bool { return starOf(name) == star })
			} else {
				stars[star] = true
			}
			log = append(log, fmt.Sprint(r))
			if _, err := m.Request(time.Time{}, r); err != nil {
				t.Fatal(err)
			}
		case 4:
			if random.IntN(4) == 0 {
				connect()
			}
		default:
			step()
		}
	}
	for range 200 {
		if !step() {
			break
		}
	}
	if step() {
		t.Fatal("it never comes to rest")
	}
	for name, version := range world {
		zone, id, _ := strings.Cut(name, "/")
		member := path(zone) + id
		if !stars[starOf(member)] {
			continue
		}
		if got := have[member]; got != version && !bad(version) {
			t.Fatalf("%s: has version %q, want %q", name, got, version)
		}
		delete(have, member)
	}
	if len(have) > 0 {
		t.Log(strings.Join(log, "\n"))
		t.Fatalf("has %v, which do not exist", have)
	}
}
