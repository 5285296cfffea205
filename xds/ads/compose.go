package ads

import (
	"maps"
	"slices"
	"time"

	"polestar/xds/resource"
)

func (p *partial) add(now time.Time, _ bool) *draft {
	if len(p.due) == 0 || !p.single {
		if d := p.trial(now); d != nil {
			p.single = true
			return d
		}
	}
	p.single = false
	if d := p.compose(now); d != nil {
		return d
	}
	// What is due may have turned out to be in doubt.
	return p.trial(now)
}

// compose puts as much of what is due into a response as fits.
func (p *partial) compose(now time.Time) *draft {
	if len(p.due) == 0 && !p.answer {
		return nil
	}
	d := &draft{flight: flight{at: now}}
	room := MaxMessage
	for _, name := range slices.Sorted(maps.Keys(p.due)) {
		why := p.due[name]
		n := p.take(d, name, why, room)
		if n > room && room < MaxMessage {
			break // it stays due
		}
		room -= n
		delete(p.due, name)
	}
	if len(p.due) == 0 {
		p.due = nil // bursts are large, quiet streams many
	}
	if len(d.resources)+len(d.removed)+len(d.missing) == 0 && !p.answer {
		return nil
	}
	p.answer = false
	return d
}

// take puts what is to be said of a name into the draft, unless it does not fit
// the room, and returns its size in bytes. Something always fits an empty one.
func (p *partial) take(d *draft, name string, why reason, room int) int {
	s, ok := p.names[name]
	if !ok && !p.wildcard {
		return 0
	}
	r := p.src.Get(p.typ, name)
	if r == nil {
		return p.absent(d, name, s, why, room)
	}
	delete(p.gone, name)
	f := form{name, r.Version}
	if p.quarantine.blocks(f) || r.Version == s.sent.version && why&(asked|forced) == 0 {
		return 0
	}
	n := p.size(r)
	if n > room && room < MaxMessage {
		return n
	}
	p.include(d, r)
	if why&forced != 0 {
		d.forced = append(d.forced, name)
	}
	return n
}

func (p *partial) size(r *resource.Resource) int {
	if p.delta {
		return fieldSize(len(r.Delta))
	}
	return fieldSize(len(r.Any))
}

func (p *partial) include(d *draft, r *resource.Resource) {
	s := p.names[r.Name]
	s.sent, s.told, s.live = shipmentOf(r).delivered(d.flight.at), false, true
	if s.ghost {
		s.ghost = false
		p.src.Ghosts(-1)
	}
	p.names[r.Name] = s
	delete(p.due, r.Name)
	d.resources = append(d.resources, r)
	d.flight.forms = append(d.flight.forms, shipmentOf(r))
}

// absent answers for a name that does not exist. What the client asked for, or
// warms, is answered at once; what it has is taken away later, in order.
func (p *partial) absent(d *draft, name string, s sub, why reason, room int) int {
	n := 0
	tell := s.named && why&asked != 0 && !s.told
	now := p.delta && why&(asked|forced) != 0
	if tell {
		n += errorSize(name)
	}
	if now {
		n += fieldSize(len(name))
	}
	if n > room && room < MaxMessage {
		return n
	}
	if tell {
		s.told = true
		d.missing = append(d.missing, name)
	}
	switch {
	case now:
		p.report(d, name)
		s.sent = delivery{}
	case p.delta && s.sent.version != "":
		p.vanish(name)
	case !p.delta:
		s.sent, s.acked = delivery{}, delivery{} // asked for again it is new; nothing can take it away
	}
	p.keep(name, s)
	return n
}

// report puts a name into removed_resources.
func (p *partial) report(d *draft, name string) {
	delete(p.gone, name)
	d.removed = append(d.removed, name)
	d.flight.removed = append(d.flight.removed, name)
	d.flight.removes = true
}

// keep stores what is known of a name; of one that only the wildcard covered
// and that is gone, nothing is once the client has said so.
func (p *partial) keep(name string, s sub) {
	if !s.named && s.sent.version == "" && s.acked.version == "" {
		p.lose(name, s)
		return
	}
	p.names[name] = s
}

// trial sends one form in doubt alone.
func (p *partial) trial(now time.Time) *draft {
	for {
		f, ok := p.quarantine.next()
		if !ok {
			return nil
		}
		if !p.wildcard && !p.names[f.name].named {
			continue
		}
		r := p.src.Get(p.typ, f.name)
		if r == nil || r.Version != f.version {
			continue // superseded
		}
		d := &draft{flight: flight{at: now}}
		p.include(d, r)
		return d
	}
}

func (p *partial) remove() *draft {
	d := &draft{}
	room := MaxMessage
	for _, name := range slices.Sorted(maps.Keys(p.gone)) {
		if p.src.Get(p.typ, name) != nil {
			delete(p.gone, name)
			p.look(name, touched) // it is back
			continue
		}
		if room -= fieldSize(len(name)); room < 0 {
			break
		}
		p.report(d, name)
		s := p.names[name]
		s.sent = delivery{}
		p.keep(name, s)
	}
	if len(d.removed) == 0 {
		return nil
	}
	return d
}
