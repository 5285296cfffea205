package ads

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"polestar/xds/resource"
)

// client plays a conforming client of one stream and checks what it is sent.
// Messages in both directions wait in queues, so that tests choose how they
// cross.
type client struct {
	t       *testing.T
	delta   bool
	envoy   bool // drops a refused response as a whole; else keeps its good part
	w       *world
	m       *Machine
	now     time.Time
	types   [types]clientType
	up      []Request
	down    []*Response
	seen    map[string]bool // nonces
	read    [types]bool     // by the server, on this stream
	log     []string
	refuses func(name, version string) bool
}

type clientType struct {
	started  bool
	wildcard bool
	legacy   bool            // the wildcard is an empty list
	names    map[string]bool // subscribed
	have     map[string]string
	nonce    string       // of the newest response that arrived
	sent     int          // responses on their way or not answered yet
	tried    map[form]int // how often a form was refused
	unsure   bool         // SotW: nothing was accepted on this stream, so the server cannot know what the client has
	last     string       // the newest response, refused
	missing  map[string]bool
	clusters map[string]bool // endpoints owed after their cluster

	// As the server knows it: requests that were read, responses that were made.
	flying    *Response
	nonces    string            // of the newest response that was made
	confirmed map[string]string // accepted versions
	list      string            // full state: the newest accepted response
	asked     map[string]bool   // may be sent without a change; "" for anything
	server    []string          // SotW: the newest list
	version   int
}

func newClient(t *testing.T, w *world, delta, envoy bool) *client {
	c := &client{t: t, delta: delta, envoy: envoy, w: w, now: time.Unix(0, 0)}
	c.refuses = func(string, string) bool { return false }
	for i := range c.types {
		c.types[i].have = map[string]string{}
		c.types[i].names = map[string]bool{}
	}
	c.connect()
	return c
}

// connect starts a stream; what the client has stays.
func (c *client) connect() {
	c.w.attach()
	c.seen, c.read = map[string]bool{}, [types]bool{}
	if c.delta {
		c.m = NewDelta(c.w, c.envoy)
	} else {
		c.m = NewSotW(c.w, c.envoy)
	}
	c.up, c.down = nil, nil
	for i := range c.types {
		ct := &c.types[i]
		started := ct.started
		*ct = clientType{
			names: ct.names, have: ct.have, wildcard: ct.wildcard,
			unsure: !c.delta, tried: map[form]int{}, missing: map[string]bool{}, clusters: map[string]bool{},
			confirmed: map[string]string{}, asked: map[string]bool{},
		}
		if started {
			c.start(resource.Type(i))
		}
	}
}

// start sends the first request of a type.
func (c *client) start(t resource.Type) {
	ct := &c.types[t]
	if ct.started {
		return
	}
	ct.started = true
	names := slices.Sorted(maps.Keys(ct.names))
	if c.envoy && t.Wildcard() && len(names) == 0 {
		ct.wildcard, ct.legacy = true, true
	} else if ct.wildcard {
		names = append(names, wildcard)
	}
	r := Request{URL: t.URL(), Subscribe: names}
	if c.delta {
		r.Initial = maps.Clone(ct.have)
	}
	c.up = append(c.up, r)
}

func (c *client) list(t resource.Type) []string {
	names := slices.Sorted(maps.Keys(c.types[t].names))
	ct := &c.types[t]
	if ct.legacy = ct.legacy && len(names) == 0; ct.wildcard && !ct.legacy {
		names = append(names, wildcard) // after a first name, an empty list means nothing
	}
	return names
}

func (c *client) subscribe(t resource.Type, name string) {
	ct := &c.types[t]
	if ct.names[name] {
		return
	}
	ct.names[name] = true
	c.subscription(t, []string{name}, nil)
}

func (c *client) unsubscribe(t resource.Type, name string) {
	ct := &c.types[t]
	if !ct.names[name] {
		return
	}
	delete(ct.names, name)
	delete(ct.clusters, name)
	if !ct.wildcard || c.delta {
		delete(ct.have, name)
	}
	c.subscription(t, nil, []string{name})
}

// subscription tells the server of a change.
func (c *client) subscription(t resource.Type, more, less []string) {
	ct := &c.types[t]
	if !ct.started {
		c.start(t)
		return
	}
	if c.delta {
		c.up = append(c.up, Request{URL: t.URL(), Subscribe: more, Unsubscribe: less})
		return
	}
	c.up = append(c.up, Request{URL: t.URL(), Nonce: ct.nonce, Subscribe: c.list(t)})
}

// stepUp lets the server read one request.
func (c *client) stepUp() bool {
	if len(c.up) == 0 {
		return false
	}
	r := c.up[0]
	c.up = c.up[1:]
	c.note("> %s nonce %q refused %v %v -%v", r.URL[strings.LastIndex(r.URL, ".")+1:], r.Nonce, r.Refused, r.Subscribe, r.Unsubscribe)
	if _, err := c.m.Request(c.now, r); err != nil {
		c.fail("request: %v", err)
	}
	t, _ := resource.TypeOf(r.URL)
	c.types[t].request(r, c.delta)
	if c.delta && t == resource.Endpoints && !c.read[resource.Cluster] {
		for name := range r.Initial {
			c.types[t].asked[name] = true // as a client that warms
		}
	}
	c.read[t] = true
	return true
}

// request notes what a request that was read allows and confirms.
func (ct *clientType) request(r Request, delta bool) {
	if r.Nonce == ct.nonces && ct.flying != nil {
		for _, res := range ct.flying.Resources {
			if r.Refused {
				delete(ct.confirmed, res.Name)
			} else {
				ct.confirmed[res.Name] = res.Version
			}
		}
		ct.list = fmt.Sprint(forms(ct.flying.Resources))
		if r.Refused {
			ct.list = ""
		}
		ct.flying = nil
	} else if !delta && ct.nonces != "" && r.Nonce != ct.nonces && ct.flying == nil {
		return // outdated
	}
	for _, name := range r.Unsubscribe {
		ct.asked[name] = true
		delete(ct.confirmed, name)
	}
	if delta {
		for _, name := range r.Subscribe {
			_, has := r.Initial[name]
			ct.asked[name] = ct.asked[name] || !has
		}
		ct.asked[""] = ct.asked[""] || len(r.Subscribe) == 0 && r.Nonce == "" || slices.Contains(r.Subscribe, wildcard)
		maps.Copy(ct.confirmed, r.Initial)
		return
	}
	if r.Nonce == "" || ct.server == nil || !slices.Equal(ct.server, r.Subscribe) {
		for _, name := range r.Subscribe {
			if !slices.Contains(ct.server, name) {
				ct.asked[name], ct.asked[""] = true, true
			}
		}
		ct.asked[""] = ct.asked[""] || r.Nonce == ""
		ct.server = slices.Clone(r.Subscribe)
	}
}

// respond checks that a response that was made has a reason.
func (c *client) respond(r *Response) {
	ct := &c.types[r.typ]
	ct.flying, ct.nonces = r, r.Nonce
	version, err := strconv.Atoi(r.Version)
	if err != nil || version < ct.version {
		c.fail("%s: version %q after %d", r.typ, r.Version, ct.version)
	}
	ct.version = version
	if names := forms(r.Resources); !slices.IsSorted(names) || len(slices.Compact(names)) != len(r.Resources) {
		c.fail("%s: not sorted, or twice: %v", r.typ, forms(r.Resources))
	}
	if r.typ == resource.Cluster {
		for _, res := range r.Resources {
			c.types[resource.Endpoints].asked[res.Name] = true
		}
	}
	if !c.delta && r.typ.FullState() {
		if ct.list == fmt.Sprint(forms(r.Resources)) {
			if !ct.asked[""] {
				c.fail("%s: sent again without need: %v", r.typ, forms(r.Resources))
			}
			delete(ct.asked, "")
		}
		return
	}
	for _, res := range r.Resources {
		if ct.confirmed[res.Name] == res.Version && !ct.asked[res.Name] {
			c.fail("%s %s was sent again without need", r.typ, res.Name)
		}
		delete(ct.asked, res.Name)
	}
	if len(r.Resources)+len(r.Removed)+len(r.Missing) == 0 && !ct.asked[""] {
		c.fail("%s: an empty response without need", r.typ)
	}
	for _, name := range r.Removed {
		delete(ct.asked, name)
		delete(ct.confirmed, name)
	}
	delete(ct.asked, "")
}

// stepServer lets the server send one response.
func (c *client) stepServer() bool {
	c.m.Changed(c.w.take())
	r := c.m.Next(c.now)
	if r == nil {
		return false
	}
	c.note("< %s nonce %s version %s %v removed %v missing %v", r.typ, r.Nonce, r.Version, forms(r.Resources), r.Removed, r.Missing)
	if c.seen[r.Nonce] {
		c.fail("nonce %s used twice", r.Nonce)
	}
	c.seen[r.Nonce] = true
	ct := &c.types[r.typ]
	if ct.sent++; ct.sent > 1 {
		c.fail("two responses of %s in flight", r.typ)
	}
	for _, res := range r.Resources {
		if !c.w.watched[resource.Ref{Type: r.typ, Name: res.Name}] && !c.w.all[r.typ] {
			c.fail("%s %s was sent and is not subscribed", r.typ, res.Name)
		}
		if slices.Contains(r.Missing, res.Name) || slices.Contains(r.Removed, res.Name) {
			c.fail("%s %s is both in the resources and missing", r.typ, res.Name)
		}
	}
	c.respond(r)
	c.down = append(c.down, r)
	return true
}

// stepDown lets the client read one response and answer it.
func (c *client) stepDown() bool {
	if len(c.down) == 0 {
		return false
	}
	r := c.down[0]
	c.down = c.down[1:]
	ct := &c.types[r.typ]
	ct.nonce = r.Nonce
	ct.sent--
	c.note("client reads %s nonce %s", r.typ, r.Nonce)
	text := fmt.Sprint(forms(r.Resources), r.Removed, r.Missing)
	if ct.last != "" && ct.last == text {
		c.fail("%s: a refused response was answered with itself: %s", r.typ, text)
	}
	ct.last = ""
	full := !c.delta && r.typ.FullState()
	var news []form
	bad := false
	for _, res := range r.Resources {
		f := form{res.Name, res.Version}
		if full && ct.have[res.Name] == res.Version || !ct.names[res.Name] && !ct.wildcard {
			continue
		}
		news = append(news, f)
		bad = bad || c.refuses(f.name, f.version)
	}
	c.owe(r, news)
	if bad {
		ct.last = text
		for _, f := range news {
			if ct.tried[f]++; ct.tried[f] > 2 {
				c.fail("%s %v was refused %d times", r.typ, f, ct.tried[f])
			}
		}
	}
	if !bad || !c.envoy {
		c.apply(r, full)
	}
	answer := Request{URL: r.URL, Nonce: r.Nonce, Refused: bad}
	if !c.delta {
		answer.Subscribe = c.list(r.typ)
	}
	c.up = append(c.up, answer)
	return true
}
