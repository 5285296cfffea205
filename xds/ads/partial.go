package ads

import (
	"maps"
	"slices"
	"time"

	"polestar/xds/cache"
	"polestar/xds/resource"
)

// partial is the channel of a type whose responses carry only what is new or
// changed: all types in delta; endpoints and routes in SotW.
type partial struct {
	flow
	delta    bool
	legacy   bool // delta: no names in the first request mean all
	wildcard bool // delta

	names  map[string]sub      // subscribed, or sent through the wildcard
	peak   int                 // of names
	tally  tally               // of those subscribed by name
	due    map[string]reason   // to look at for the next response
	gone   map[string]struct{} // delta: to be reported as removed
	answer bool                // delta: a wildcard waits for its first response, even an empty one
	single bool                // the last response was a trial
}

// sub is what a stream knows of one name.
type sub struct {
	sent  delivery // sent last; no version when it is gone
	acked delivery // accepted last
	named bool     // subscribed by name
	told  bool     // that it does not exist
	live  bool     // sent on this stream, not only on an earlier one
	ghost bool     // the client has it of an earlier stream, and it does not exist
}

// reason says why a name is due; several can apply.
type reason uint8

const (
	touched reason = 1 << iota // it may have changed
	asked                      // the client asked for it: answer, changed or not
	forced                     // its cluster was sent: it must follow, changed or not
)

func newPartial(t resource.Type, src Source, delta, legacy bool) *partial {
	return &partial{
		flow: flow{typ: t, src: src}, delta: delta, legacy: legacy,
		names: map[string]sub{}, due: map[string]reason{},
	}
}

func (p *partial) base() *flow { return &p.flow }

func (p *partial) request(r Request, first bool) error {
	if !p.delta {
		return p.replace(r.Subscribe)
	}
	if first && p.legacy && len(r.Subscribe) == 0 {
		p.subscribeAll()
	}
	for _, name := range r.Unsubscribe {
		p.unsubscribe(name)
	}
	for _, name := range r.Subscribe {
		if name == wildcard && p.typ.Wildcard() {
			p.subscribeAll()
		} else if err := p.subscribe(name); err != nil {
			return err
		}
	}
	if first {
		p.resume(r.Initial)
		return p.check(&p.tally)
	}
	return nil
}

// replace makes the subscription equal to a SotW list, which can repeat names
// and has no order.
func (p *partial) replace(list []string) error {
	if p.tally.lists(list, false) {
		return nil // what each ACK says
	}
	want := make(map[string]struct{}, len(list))
	for _, name := range list {
		want[name] = struct{}{}
	}
	for name := range p.names {
		if _, ok := want[name]; !ok {
			p.unsubscribe(name)
		}
	}
	for name := range want {
		if _, ok := p.names[name]; ok {
			continue
		}
		if err := p.subscribe(name); err != nil {
			return err
		}
	}
	return nil
}

func (p *partial) subscribe(name string) error {
	s := p.names[name]
	if !s.named {
		p.tally.add(name)
		if err := p.check(&p.tally); err != nil {
			return err
		}
		p.src.Subscribe(p.typ, name)
		s.named = true
		p.names[name] = s
	}
	p.look(name, asked)
	return nil
}

func (p *partial) unsubscribe(name string) {
	if name == wildcard && p.typ.Wildcard() {
		p.unsubscribeAll()
		return
	}
	s, ok := p.names[name]
	if !ok || !s.named {
		return
	}
	p.tally.drop(name)
	p.src.Unsubscribe(p.typ, name)
	if p.wildcard {
		// xDS: the client has dropped it and learns whether the wildcard keeps it.
		s.named = false
		p.names[name] = s
		p.look(name, asked)
		return
	}
	p.lose(name, s)
	delete(p.due, name)
	delete(p.gone, name)
}

// lose forgets a name.
func (p *partial) lose(name string, s sub) {
	if s.ghost {
		p.src.Ghosts(-1)
	}
	p.peak = max(p.peak, len(p.names))
	delete(p.names, name)
	p.names = cache.Shrunk(p.names, &p.peak)
}

func (p *partial) subscribeAll() {
	p.answer = true
	if p.wildcard {
		return
	}
	p.wildcard = true
	for _, r := range p.src.SubscribeAll(p.typ) {
		p.look(r.Name, touched)
	}
}

func (p *partial) unsubscribeAll() {
	if !p.wildcard {
		return
	}
	p.wildcard, p.answer = false, false
	p.src.UnsubscribeAll(p.typ)
	for name, s := range maps.Clone(p.names) {
		if !s.named {
			p.lose(name, s)
		}
	}
	maps.DeleteFunc(p.due, func(name string, _ reason) bool { return !p.names[name].named })
	maps.DeleteFunc(p.gone, func(name string, _ struct{}) bool { return !p.names[name].named })
}

// resume takes over what the client has from an earlier stream: only what
// differs is sent.
func (p *partial) resume(initial map[string]string) {
	for name, version := range initial {
		s := p.names[name]
		if !s.named && !p.wildcard {
			continue // not subscribed: not our business
		}
		s.sent = delivery{version: version}
		switch r := p.src.Get(p.typ, name); {
		case r == nil && !s.named && !s.ghost:
			s.ghost = true
			p.src.Ghosts(1)
		case r != nil && r.Version == version:
			s.sent.version, s.sent.revision = r.Version, uint64(r.Revision)
		}
		s.acked = s.sent
		p.names[name] = s
		p.due[name] = touched
	}
}

func (p *partial) look(name string, why reason) {
	if p.due == nil {
		p.due = map[string]reason{}
	}
	p.due[name] |= why
}

func (p *partial) changed(names []string) {
	for _, name := range names {
		if p.wildcard || p.names[name].named {
			p.look(name, touched)
		}
	}
}

// force makes the endpoints of clusters that were just sent follow them,
// changed or not: a client that got a cluster keeps it in warming until its
// endpoints arrive after it, and does not always ask.
func (p *partial) force(clusters []shipment) {
	for _, c := range clusters {
		if name := resource.AssignmentOf(c.name); p.names[name].named {
			p.look(name, forced)
		}
	}
}

// follow forces the endpoints that the client has from an earlier stream but
// whose clusters it was sent on this one.
func (p *partial) follow(initial map[string]string, clusters *partial) {
	for cluster, s := range clusters.names {
		name := resource.AssignmentOf(cluster)
		if _, had := initial[name]; had && s.live && p.names[name].named {
			p.look(name, forced)
		}
	}
}

func (p *partial) settle(now time.Time, f *flight, accepted bool) error {
	if accepted {
		p.accept(now, f)
		return nil
	}
	if len(f.forms) > 0 {
		// The client may have dropped the removals with the rest.
		for _, name := range f.removed {
			if p.wildcard || p.names[name].named {
				p.vanish(name)
			}
		}
	}
	if len(f.forms) == 1 {
		return p.quarantine.refuse(f.forms)
	}
	return p.quarantine.suspect(f.forms)
}

func (p *partial) accept(now time.Time, f *flight) {
	p.quarantine.accept(f.forms)
	for _, form := range f.forms {
		if s, ok := p.names[form.name]; ok {
			s.acked = form.delivered(now)
			p.names[form.name] = s
		}
	}
	for _, name := range f.removed {
		if s, ok := p.names[name]; ok {
			s.acked = delivery{}
			p.keep(name, s)
		}
	}
}

func (p *partial) vanish(name string) {
	if p.gone == nil {
		p.gone = map[string]struct{}{}
	}
	p.gone[name] = struct{}{}
}

func (p *partial) waiting() bool { return p.active && (len(p.due) > 0 || p.answer) }

func (p *partial) removing() bool { return len(p.gone) > 0 }

func (p *partial) news() bool {
	for name := range p.due {
		if p.names[name].sent.version == "" && p.src.Get(p.typ, name) != nil {
			return true
		}
	}
	return false
}

func (p *partial) describe(s *TypeStatus) {
	s.Wildcard, s.Names = p.wildcard, p.tally.number
}

func (p *partial) holds(name string) NameStatus {
	s := p.names[name]
	return NameStatus{Named: s.named, Sent: s.sent.status(), Acked: s.acked.status()}
}

func (p *partial) list() []string {
	out := slices.Collect(maps.Keys(p.names))
	if p.wildcard {
		for _, r := range p.src.All(p.typ) {
			if _, known := p.names[r.Name]; !known {
				out = append(out, r.Name)
			}
		}
	}
	return out
}
