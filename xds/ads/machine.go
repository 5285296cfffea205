package ads

import (
	"slices"
	"strconv"
	"time"

	"polestar/xds/cache"
	"polestar/xds/resource"
)

// Source is what a machine sees of the cache: the resources as one client may
// see them. Its methods are called by the machine's goroutine only.
type Source interface {
	// Subscribe starts to watch a resource, which need not exist.
	Subscribe(t resource.Type, name string)
	Unsubscribe(t resource.Type, name string)
	// SubscribeAll starts to watch all resources of a type and returns them,
	// sorted by name; the slice is shared and must not be modified.
	SubscribeAll(t resource.Type) []*resource.Resource
	UnsubscribeAll(t resource.Type)
	// Get returns the newest form of a watched resource, nil when there is none.
	Get(t resource.Type, name string) *resource.Resource
	// All returns the newest form of all resources of a type whose wildcard is
	// watched, sorted by name; shared as above.
	All(t resource.Type) []*resource.Resource
	// Revision is the newest published revision.
	Revision() uint64
	// Ghosts notes that the stream remembers n more names, or fewer, that do not
	// exist and that it does not watch.
	Ghosts(n int)
	// Excess reports whether this stream has too many of the names that do not
	// exist; see [cache.Watcher.Excess].
	Excess() bool
}

// Request is a DiscoveryRequest or a DeltaDiscoveryRequest.
type Request struct {
	URL     string
	Nonce   string
	Refused bool   // error_detail is present (xDS: that, and nothing else, makes a NACK)
	Reason  string // its text

	Subscribe   []string          // SotW: resource_names
	Unsubscribe []string          // delta only
	Initial     map[string]string // delta only: name → version
}

// Response is one message to send.
type Response struct {
	Delta     bool
	URL       string
	Nonce     string
	Version   string // version_info or system_version_info
	Resources []*resource.Resource
	Removed   []string // delta only
	Missing   []string // named in resource_errors as NOT_FOUND

	typ   resource.Type
	known bool // typ is set
}

// Verdict is what a request said of an earlier response.
type Verdict struct {
	Type     resource.Type
	Accepted bool
	Refused  bool
	Took     time.Duration // from sending to this request
	Revision uint64        // of the response
	Names    []string      // of the refused response's new or changed resources
}

// channel is the traffic of one type on one stream.
type channel interface {
	base() *flow
	// request applies the subscription part of a request.
	request(r Request, first bool) error
	// changed notes that watched resources may have changed.
	changed(names []string)
	// settle applies what the client said of the response in flight.
	settle(now time.Time, f *flight, accepted bool) error
	// waiting reports whether something new or changed is to be sent.
	waiting() bool
	// news reports whether a resource that the client never saw is to be sent.
	news() bool
	// removing reports whether a removal is to be sent.
	removing() bool
	// add makes the next response; held means that nothing may be removed yet.
	add(now time.Time, held bool) *draft
	// remove makes the next response that only removes.
	remove() *draft
	// describe fills in what only the channel knows.
	describe(s *TypeStatus)
	// holds describes what the client has of a name.
	holds(name string) NameStatus
	// all reports whether a wildcard is subscribed.
	all() bool
	// list lists, in no order, the names that the client subscribed to, its
	// wildcard covers or it was sent.
	list() []string
}

// draft is a response without what every response has.
type draft struct {
	resources []*resource.Resource
	removed   []string
	missing   []string
	forced    []string // load assignments that follow their clusters, changed or not
	flight    flight
}

// Machine is the protocol of one stream, state of the world or delta: requests
// and changes go in, responses come out. It does no I/O, starts no goroutine
// and reads no clock; it is not safe for concurrent use.
type Machine struct {
	src      Source
	delta    bool
	single   bool // the stream is of one type
	channels [types]channel
	nonces   uint64
	answers  []*Response // to types that are not served (delta)
	unknown  []string    // their URLs
	again    time.Time
}

// NewSotW makes the machine of a state-of-the-world stream. With legacy, a
// first request without names means all (xDS: not for gRPC clients, which mean
// nothing by it).
func NewSotW(src Source, legacy bool) *Machine {
	m := &Machine{src: src}
	for _, t := range resource.Types() {
		switch {
		case t == resource.LbEndpoint:
			m.channels[t] = newCollections(src) // never active
		case t.FullState():
			m.channels[t] = newFull(t, src, legacy)
		default:
			m.channels[t] = newPartial(t, src, false, false)
		}
	}
	return m
}

// NewDelta makes the machine of an incremental stream; see [NewSotW].
func NewDelta(src Source, legacy bool) *Machine {
	m := &Machine{src: src, delta: true}
	for _, t := range resource.Types() {
		if t == resource.LbEndpoint {
			m.channels[t] = newCollections(src)
			continue
		}
		m.channels[t] = newPartial(t, src, true, legacy && t.Wildcard())
	}
	return m
}

// Request takes a message of the client. An error has a gRPC status and ends
// the stream.
func (m *Machine) Request(now time.Time, r Request) (Verdict, error) {
	if err := checkNames(r); err != nil {
		return Verdict{}, err
	}
	t, ok := resource.TypeOf(r.URL)
	if !ok || t == resource.LbEndpoint && !m.delta {
		m.unserved(r)
		return Verdict{}, nil
	}
	ch := m.channels[t]
	f := ch.base()
	first := !f.active
	f.active = true
	// xDS: a SotW request with an outdated nonce is not answered. While a
	// response is in flight that goes without saying, and its names are taken:
	// a name given up and asked for again must be sent again.
	if f.nonce != "" && r.Nonce != f.nonce && f.flight == nil && !m.delta {
		return Verdict{}, nil
	}
	var v Verdict
	if f.flight != nil && r.Nonce == f.nonce {
		var err error
		if v, err = m.settle(now, ch, r); err != nil {
			return v, err
		}
	}
	if err := ch.request(r, first); err != nil {
		return v, err
	}
	if m.delta && first && t == resource.Endpoints {
		m.resume(ch.(*partial), r.Initial)
	}
	if first && t == resource.LbEndpoint {
		early := !m.channels[resource.Cluster].base().active
		ch.(*collections).follow(m.channels[resource.Endpoints].(*partial), early)
	}
	return v, nil
}

// resume looks at the endpoints that a client has from an earlier stream: those
// that it may be waiting for must be sent, changed or not.
//
// Whoever asks for endpoints before clusters warms one: until its endpoints
// come, an Envoy says nothing of clusters, and then only after a timeout of
// 15 s. It got the cluster on the earlier stream, so nobody knows which it is
// (docs/decisions/007).
func (m *Machine) resume(endpoints *partial, initial map[string]string) {
	clusters := m.channels[resource.Cluster].(*partial)
	if clusters.active || m.single {
		endpoints.follow(initial, clusters)
		return
	}
	for name := range initial {
		if endpoints.names[name].named {
			endpoints.look(name, forced)
		}
	}
}

func (m *Machine) settle(now time.Time, ch channel, r Request) (Verdict, error) {
	f := ch.base()
	sent := f.flight
	f.flight = nil
	v := Verdict{
		Type: f.typ, Accepted: !r.Refused, Refused: r.Refused,
		Took: now.Sub(sent.at), Revision: sent.revision,
	}
	if v.Accepted {
		f.status.accept(now, sent)
	} else {
		v.Names = sent.names()
		f.status.refuse(now, sent, r.Reason)
		f.quarantine.note(now, sent.forms, f.status.refused.Reason)
	}
	return v, ch.settle(now, sent, v.Accepted)
}

// unserved handles a type that is not served: it must not end the stream, since
// ADS carries all types.
func (m *Machine) unserved(r Request) {
	if !slices.Contains(m.unknown, r.URL) && len(m.unknown) < maxUnknownTypes && len(r.URL) <= MaxNameLength {
		m.unknown = append(m.unknown, r.URL)
	}
	if !m.delta {
		return
	}
	// None of these exists, and a client need not wait to learn it.
	for _, names := range split(r.Subscribe) {
		m.answers = append(m.answers, &Response{
			Delta: true, URL: r.URL, Nonce: m.nonce(), Version: strconv.FormatUint(m.src.Revision(), 10), Removed: names,
		})
	}
}

// split cuts names into lists that fit one message each.
func split(names []string) [][]string {
	var out [][]string
	room := 0
	for _, name := range names {
		if name == wildcard {
			continue
		}
		n := fieldSize(len(name))
		if room < n {
			out, room = append(out, nil), MaxMessage
		}
		last := len(out) - 1
		out[last] = append(out[last], name)
		room -= n
	}
	return out
}

// Changed notes which watched resources may have changed.
func (m *Machine) Changed(dirty cache.Dirty) {
	for t, names := range dirty {
		if len(names) > 0 {
			m.channels[t].changed(names)
		}
	}
}

// Next returns the next message to send, nil when there is none for now. The
// caller sends it before it calls again.
//
// New and changed resources go out in the order of the types, so that nothing
// names what the client does not know; what is gone goes out in the reverse
// order, when nothing of a later type is left to send.
func (m *Machine) Next(now time.Time) *Response {
	if len(m.answers) > 0 {
		r := m.answers[0]
		m.answers = m.answers[1:]
		return r
	}
	m.again = time.Time{}
	for _, t := range resource.Types() {
		ch := m.channels[t]
		if !ch.base().free() || m.hold(now, ch, adding, m.unannounced(t)) {
			continue
		}
		if d := ch.add(now, m.later(t)); d != nil {
			return m.send(now, ch, d)
		}
	}
	for _, t := range slices.Backward(resource.Types()) {
		ch := m.channels[t]
		if !ch.base().free() || !ch.removing() || m.hold(now, ch, removing, m.later(t)) {
			continue
		}
		if d := ch.remove(); d != nil {
			return m.send(now, ch, d)
		}
	}
	return nil
}

// Again is when Next should be called although nothing happened; zero for
// never.
func (m *Machine) Again() time.Time { return m.again }

// unannounced reports whether listeners and routes have to wait because new
// clusters, which they may name, wait behind an unanswered response.
func (m *Machine) unannounced(t resource.Type) bool {
	if t != resource.Listener && t != resource.Route {
		return false
	}
	clusters := m.channels[resource.Cluster]
	return clusters.base().flight != nil && m.channels[t].waiting() && clusters.news()
}

// later reports whether types that can name resources of t have something left
// to send.
func (m *Machine) later(t resource.Type) bool {
	for _, o := range []resource.Type{resource.Listener, resource.Route} {
		if ch := m.channels[o]; o > t && (ch.waiting() || ch.removing()) {
			return true
		}
	}
	return false
}

type phase uint8

const (
	adding phase = iota
	removing
)

// hold reports whether a response waits for its turn. It never waits for more
// than holdLimit: a client that answers one type late must not be cut off from
// the others.
func (m *Machine) hold(now time.Time, ch channel, p phase, wait bool) bool {
	since := &ch.base().held[p]
	if !wait {
		*since = time.Time{}
		return false
	}
	if since.IsZero() {
		*since = now
	}
	end := since.Add(holdLimit)
	if !now.Before(end) {
		return false
	}
	if m.again.IsZero() || end.Before(m.again) {
		m.again = end
	}
	return true
}

func (m *Machine) send(now time.Time, ch channel, d *draft) *Response {
	f := ch.base()
	for _, r := range d.resources {
		f.revision = max(f.revision, uint64(r.Revision))
	}
	if d.flight.removes || len(d.resources) == 0 {
		f.revision = max(f.revision, m.src.Revision())
	}
	f.nonce = m.nonce()
	d.flight.at, d.flight.revision = now, f.revision
	f.flight = &d.flight
	f.status.send(now, f, d)
	if f.typ == resource.Cluster {
		m.channels[resource.Endpoints].(*partial).force(d.flight.forms)
	}
	m.channels[resource.LbEndpoint].(*collections).force(d.forced)
	return &Response{
		Delta: m.delta, URL: f.typ.URL(), Nonce: f.nonce, Version: strconv.FormatUint(f.revision, 10),
		Resources: d.resources, Removed: d.removed, Missing: d.missing, typ: f.typ, known: true,
	}
}

func (m *Machine) nonce() string {
	m.nonces++
	return strconv.FormatUint(m.nonces, 10)
}
