package ads

import (
	"slices"
	"strings"
	"time"

	"polestar/xds/resource"
)

// NameStatus is what a client has of one resource, and what it should have.
type NameStatus struct {
	Type     resource.Type
	Name     string
	Named    bool     // subscribed by name, not only through the wildcard
	Current  Form     // newest form that it may see; zero: there is none
	Sent     Delivery // newest form sent; zero: none, or its removal
	Acked    Delivery // newest form that the client accepted, until it accepted its removal
	Refused  Refusal  // newest form that the client refused; zero once it accepted another
	InFlight bool     // a response of the type is not answered yet
}

// Form is one form of a resource.
type Form struct {
	Version  string // hash of the content; empty: none
	Revision uint64 // that made this content
}

// Delivery is a form that went to a client.
type Delivery struct {
	Form
	// At is when it was sent, or accepted, first. Revision and At are zero when
	// the client has it from an earlier stream and it is not the newest one.
	At time.Time
}

// Refusal is a form that a client refused, alone or with others.
type Refusal struct {
	Delivery
	Reason string // at most 512 bytes of what the client said
	Final  bool   // it is not sent again on this stream; else it will be tried alone
}

// State says in one word how far a client is with a resource.
type State uint8

// The states.
const (
	Synced  State = iota // the client accepted the newest form
	Stale                // sent, or about to be, and not accepted yet
	Refused              // the client refused the newest form; an accepted one stays in force
	NotSent              // nothing was sent of what exists
	Missing              // it does not exist
)

// String is the state's name in tables and metrics.
func (s State) String() string {
	return [...]string{"synced", "stale", "refused", "not sent", "missing"}[s]
}

// State compares what the client has with what it should have.
func (n NameStatus) State() State {
	switch {
	case n.Current.Version == "" && n.Acked.Version == "":
		return Missing
	case n.Current.Version == "":
		return Stale // its removal is on the way
	case n.Refused.Version == n.Current.Version:
		return Refused
	case n.Acked.Version == n.Current.Version && n.Sent.Version == n.Current.Version:
		return Synced
	case n.Sent.Version == "" && n.Acked.Version == "":
		return NotSent
	default:
		return Stale
	}
}

// Has reports whether the client accepted all that changed in the resource up
// to and including a revision, its disappearance too. A newer change that is
// still on the way does not matter, unless what it replaces is older than the
// revision: a form that comes back is not what the client has while it may
// hold the one in between.
func (n NameStatus) Has(revision uint64) bool {
	if n.Acked.Version != "" && n.Acked.Revision >= revision {
		return true
	}
	return n.Acked.Version == n.Current.Version && n.Sent.Version == n.Current.Version
}

// Names describes every name that the client subscribed to, that its wildcard
// covers or that it was sent, sorted by type and name.
func (m *Machine) Names() []NameStatus {
	var out []NameStatus
	m.each(func(n NameStatus) { out = append(out, n) })
	return out
}

// Lookup describes one name; false when it means nothing to the client. It
// costs the same however many names the client has.
func (m *Machine) Lookup(t resource.Type, name string) (NameStatus, bool) {
	ch := m.channels[t]
	f := ch.base()
	if !f.active {
		return NameStatus{}, false
	}
	n := ch.holds(name)
	n.Type, n.Name, n.InFlight = t, name, f.flight != nil
	if n.Named || ch.all() {
		if r := m.src.Get(t, name); r != nil {
			n.Current = Form{r.Version, uint64(r.Revision)}
		}
	}
	if why, ok := f.quarantine.reasons[name]; ok {
		_, final := f.quarantine.refused[form{name, why.version}]
		n.Refused = Refusal{why.status(), why.reason, final}
	}
	return n, n.Named || n.Current.Version != "" || n.Sent.Version != "" || n.Acked.Version != ""
}

func (d delivery) status() Delivery {
	out := Delivery{Form: Form{d.version, d.revision}}
	if d.at != 0 {
		out.At = time.Unix(0, d.at)
	}
	return out
}

// stamps hold when the forms in a full state were sent and accepted first. Most
// came with the first response and share its times, so that a wildcard of many
// costs next to nothing.
type stamps struct {
	first [2]int64            // sent, accepted
	later map[string][2]int64 // by name: those that came or changed afterwards
}

// accept notes an accepted response; initial: nothing was accepted before.
func (s *stamps) accept(now time.Time, f *flight, initial bool) {
	at := [2]int64{f.at.UnixNano(), now.UnixNano()}
	if initial {
		s.first, s.later = at, nil
		return
	}
	for _, form := range f.forms {
		if s.later == nil {
			s.later = map[string][2]int64{}
		}
		s.later[form.name] = at
	}
	if len(s.later) > len(f.list) {
		for name := range s.later {
			if _, ok := find(f.list, name); !ok {
				delete(s.later, name)
			}
		}
	}
}

func (s *stamps) of(name string) [2]int64 {
	if at, ok := s.later[name]; ok {
		return at
	}
	return s.first
}

func (f *full) holds(name string) NameStatus {
	_, named := f.names[name]
	n := NameStatus{Named: named}
	at := f.since.of(name)
	if r, ok := find(f.accepted, name); ok {
		n.Acked = delivery{r.Version, uint64(r.Revision), at[1]}.status()
	}
	if r, ok := find(f.sent, name); ok {
		n.Sent = delivery{r.Version, uint64(r.Revision), at[0]}.status()
		if f.flight.carries(name) {
			n.Sent.At = f.flight.at
		}
	}
	return n
}

func (f *full) list() []string {
	out := make([]string, 0, len(f.sent)+len(f.names))
	for name := range f.names {
		out = append(out, name)
	}
	lists := [][]*resource.Resource{f.sent, f.accepted}
	if f.wildcard {
		lists = append(lists, f.src.All(f.typ))
	}
	for _, list := range lists {
		for _, r := range list {
			out = append(out, r.Name)
		}
	}
	return out
}

// carries reports whether a form of the name is new or changed in the
// response; its forms are sorted by name.
func (f *flight) carries(name string) bool {
	if f == nil {
		return false
	}
	_, ok := slices.BinarySearchFunc(f.forms, name, func(s shipment, name string) int {
		return strings.Compare(s.name, name)
	})
	return ok
}

func (f *full) all() bool    { return f.wildcard }
func (p *partial) all() bool { return p.wildcard }
