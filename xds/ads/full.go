package ads

import (
	"slices"
	"strings"
	"time"

	"polestar/xds/cache"
	"polestar/xds/resource"
)

// maxTrials bounds the number of responses that find the guilty among many
// refused clusters or listeners: each carries everything, so one per suspect
// would cost the square of their number. With more suspects than this, several
// share a trial and its outcome.
const maxTrials = 256

// full is the SotW channel of a type whose responses carry everything that the
// client subscribed to: what is not in one is deleted.
type full struct {
	flow
	legacy   bool // no names in the first request mean all, until names come
	wildcard bool
	names    map[string]bool // subscribed by name; true: answered before
	peak     int             // of names
	tally    tally           // of names

	due    map[string]struct{} // may have changed
	answer bool                // a request waits for an answer, changed or not
	again  bool                // look again: the state that the client has is not the one sent
	gone   bool                // something is to be removed
	tried  bool                // the last response was a trial
	chunk  int                 // forms per trial

	sent     []*resource.Resource // in the newest response, sorted by name; shared, never modified
	accepted []*resource.Resource // in the newest accepted one
	since    stamps               // of what was accepted
	ghosts   map[string]struct{}  // refused since then: the client may have an older form, of an earlier stream
}

func newFull(t resource.Type, src Source, legacy bool) *full {
	return &full{flow: flow{typ: t, src: src}, legacy: legacy, names: map[string]bool{}}
}

func (f *full) base() *flow { return &f.flow }

func (f *full) request(r Request, first bool) error {
	all := slices.Contains(r.Subscribe, wildcard)
	if !first && len(r.Subscribe) > 0 {
		f.legacy = false // xDS: from now on an empty list means nothing
	}
	if first {
		f.legacy = f.legacy && len(r.Subscribe) == 0
	}
	shrunk := f.setWildcard(all || f.legacy)
	if f.tally.lists(r.Subscribe, true) { // as in an ACK
		if shrunk {
			f.forget()
		}
		return nil
	}
	want := make(map[string]struct{}, len(r.Subscribe))
	for _, name := range r.Subscribe {
		if name != wildcard {
			want[name] = struct{}{}
		}
	}
	for name := range f.names {
		if _, ok := want[name]; !ok {
			delete(f.names, name)
			f.tally.drop(name)
			f.src.Unsubscribe(f.typ, name)
			shrunk = true
		}
	}
	f.names = cache.Shrunk(f.names, &f.peak)
	if shrunk {
		f.forget()
	}
	for name := range want {
		if _, ok := f.names[name]; !ok {
			f.names[name] = false
			f.tally.add(name)
			if err := f.check(&f.tally); err != nil {
				return err
			}
			f.src.Subscribe(f.typ, name)
			f.answer = true // xDS: even if the resource was sent already
		}
	}
	return nil
}

// setWildcard reports whether the subscription shrank.
func (f *full) setWildcard(on bool) bool {
	if on == f.wildcard {
		return false
	}
	f.wildcard = on
	if on {
		f.src.SubscribeAll(f.typ)
		f.answer = true
		return false
	}
	f.src.UnsubscribeAll(f.typ)
	return true
}

// forget drops what is no longer subscribed from what the client is believed
// to have: asked for again, it is new.
func (f *full) forget() {
	if f.wildcard {
		return
	}
	f.sent, f.accepted = f.subscribed(f.sent), f.subscribed(f.accepted)
}

// subscribed returns the part of a list that is still subscribed.
func (f *full) subscribed(list []*resource.Resource) []*resource.Resource {
	dropped := func(r *resource.Resource) bool { _, ok := f.names[r.Name]; return !ok }
	if f.wildcard || !slices.ContainsFunc(list, dropped) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), dropped)
}

func (f *full) changed(names []string) {
	if f.due == nil {
		f.due = make(map[string]struct{}, len(names))
	}
	for _, name := range names {
		f.due[name] = struct{}{}
	}
}

func (f *full) settle(now time.Time, sent *flight, accepted bool) error {
	guilty := slices.DeleteFunc(sent.forms, func(s shipment) bool {
		old, ok := find(f.accepted, s.name)
		return !accepted && ok && old.Version == s.version
	})
	if accepted || len(guilty) == 0 {
		// A refusal of what the client has accepted before is taken for an
		// answer: saying it again would not help.
		f.since.accept(now, sent, len(f.accepted) == 0)
		f.accepted, f.ghosts = f.subscribed(sent.list), nil
		f.quarantine.accept(sent.forms)
		return nil
	}
	f.sent, f.again = f.accepted, true
	if f.ghosts == nil {
		f.ghosts = map[string]struct{}{}
	}
	for _, form := range guilty {
		f.ghosts[form.name] = struct{}{}
	}
	if sent.trial || len(guilty) == 1 {
		return f.quarantine.refuse(guilty)
	}
	err := f.quarantine.suspect(guilty)
	f.chunk = (f.quarantine.waiting() + maxTrials - 1) / maxTrials
	return err
}

func (f *full) waiting() bool { return f.active && (len(f.due) > 0 || f.answer) }

func (f *full) removing() bool { return f.gone }

func (f *full) news() bool {
	for name := range f.due {
		if _, named := f.names[name]; !named && !f.wildcard {
			continue
		}
		if _, ok := find(f.sent, name); !ok && f.src.Get(f.typ, name) != nil {
			return true
		}
	}
	return false
}

// want is the state that the client should have. A form that it refused is
// replaced by the one that it accepted before, if any.
func (f *full) want() []*resource.Resource {
	var list []*resource.Resource
	if f.wildcard {
		list = f.src.All(f.typ)
	}
	var extra []*resource.Resource
	for name := range f.names {
		if _, ok := find(list, name); ok {
			continue
		}
		if r := f.src.Get(f.typ, name); r != nil {
			extra = append(extra, r)
		}
	}
	if len(extra) > 0 {
		list = slices.Concat(list, extra)
		slices.SortFunc(list, byName)
	}
	if f.quarantine.empty() {
		return list
	}
	return f.without(list)
}

// without applies the quarantine.
func (f *full) without(list []*resource.Resource) []*resource.Resource {
	out := make([]*resource.Resource, 0, len(list))
	for _, r := range list {
		if !f.quarantine.blocks(form{r.Name, r.Version}) {
			out = append(out, r)
		} else if old, ok := find(f.accepted, r.Name); ok {
			out = append(out, old)
		}
	}
	return out
}

func (f *full) add(_ time.Time, held bool) *draft {
	if len(f.due) == 0 && !f.answer && !f.again && f.quarantine.waiting() == 0 {
		return nil
	}
	want := f.want()
	changed, removed := diff(f.sent, want)
	fresh := len(changed) > 0 || f.answer
	if f.quarantine.waiting() > 0 && (!fresh || !f.tried) {
		if d := f.trial(); d != nil {
			f.tried = true
			return d
		}
	}
	f.tried = false
	f.due, f.again, f.gone = nil, false, len(removed) > 0 || f.haunted(want)
	if !fresh {
		return nil
	}
	if f.gone && held {
		// Routes that name them are still to be changed.
		want = slices.Concat(want, removed)
		slices.SortFunc(want, byName)
		removed = nil
	} else {
		f.gone = false
	}
	d := f.draft(want, changed, len(removed) > 0 || len(f.ghosts) > 0)
	d.missing = f.missing(want)
	f.answer = false
	return d
}

func (f *full) draft(list, changed []*resource.Resource, removes bool) *draft {
	d := &draft{resources: list, flight: flight{list: list, removes: removes}}
	for _, r := range changed {
		d.flight.forms = append(d.flight.forms, shipmentOf(r))
	}
	f.sent = list
	return d
}

// missing lists the names that are answered for the first time and do not
// exist, as far as they leave the message deliverable: unlike the state, they
// can be left for later.
func (f *full) missing(list []*resource.Resource) []string {
	room := MaxMessage
	for _, r := range list {
		room -= fieldSize(len(r.Any))
	}
	var out []string
	for name, answered := range f.names {
		if answered {
			continue
		}
		if _, ok := find(list, name); !ok && f.src.Get(f.typ, name) == nil {
			if room -= errorSize(name); room < 0 {
				break
			}
			out = append(out, name)
		}
		f.names[name] = true
	}
	slices.Sort(out)
	return out
}

// trial adds the next forms in doubt to what the client has. Forms that it
// never accepted and that wait for their trial are left out: a client that
// keeps the good part of a refused response loses those for as long.
func (f *full) trial() *draft {
	var guests []*resource.Resource
	for len(guests) < f.chunk {
		next, ok := f.quarantine.next()
		if !ok {
			break
		}
		_, named := f.names[next.name]
		if !named && !f.wildcard {
			continue
		}
		if r := f.src.Get(f.typ, next.name); r != nil && r.Version == next.version {
			guests = append(guests, r)
		}
	}
	if len(guests) == 0 {
		return nil
	}
	slices.SortFunc(guests, byName)
	list := make([]*resource.Resource, 0, len(f.sent)+len(guests))
	for _, r := range f.sent {
		if _, ok := find(guests, r.Name); !ok {
			list = append(list, r)
		}
	}
	list = append(list, guests...)
	slices.SortFunc(list, byName)
	d := f.draft(list, guests, false)
	d.flight.trial = true
	return d
}

func (f *full) remove() *draft {
	f.gone = false
	want := f.want()
	changed, removed := diff(f.sent, want)
	if len(changed) > 0 {
		f.again = true // news came meanwhile; they go first
		return nil
	}
	if len(removed) == 0 && !f.haunted(want) {
		return nil
	}
	return f.draft(want, nil, true)
}

// haunted reports whether something that the client may have, although it
// accepted no form of it on this stream, does not exist any more.
func (f *full) haunted(want []*resource.Resource) bool {
	for name := range f.ghosts {
		_, named := f.names[name]
		if _, ok := find(want, name); !ok && (named || f.wildcard) && f.src.Get(f.typ, name) == nil {
			return true
		}
	}
	return false
}

func (f *full) describe(s *TypeStatus) {
	s.Wildcard, s.Names = f.wildcard, len(f.names)
}

func byName(a, b *resource.Resource) int { return strings.Compare(a.Name, b.Name) }

// find looks a name up in a sorted list.
func find(list []*resource.Resource, name string) (*resource.Resource, bool) {
	i, ok := slices.BinarySearchFunc(list, name, func(r *resource.Resource, name string) int {
		return strings.Compare(r.Name, name)
	})
	if !ok {
		return nil, false
	}
	return list[i], true
}

// diff compares two sorted lists: what is new or changed in the second, and
// what only the first has.
func diff(before, after []*resource.Resource) (changed, removed []*resource.Resource) {
	i := 0
	for _, r := range after {
		for i < len(before) && before[i].Name < r.Name {
			removed = append(removed, before[i])
			i++
		}
		if i < len(before) && before[i].Name == r.Name {
			if before[i] != r && before[i].Version != r.Version {
				changed = append(changed, r)
			}
			i++
			continue
		}
		changed = append(changed, r)
	}
	return changed, append(removed, before[i:]...)
}
