package health

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"polestar/naming"
)

// judge decides who of the late leases expires and who is held, and what
// becomes of those that are held already.
func (l *Leases) judge(now time.Duration, late []candidate) {
	g := &l.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(late) == 0 && len(g.events) == 0 && !g.all.holds {
		return
	}
	for _, c := range late {
		e := g.events[c.group]
		if e == nil {
			e = &event{}
			g.events[c.group] = e
		}
		e.due = append(e.due, c)
	}
	g.all.update(l.cfg, &l.all, len(late), now)
	if g.all.holds && g.all.calmed && now > g.all.calm+l.cfg.GuardHold {
		g.all.holds = false // what is still held is held for its service's sake
	}
	for gr, e := range g.events {
		before := e.holds
		e.update(l.cfg, &gr.counts, len(e.due), now)
		if gr.key == (naming.ServiceKey{}) {
			e.holds = false // they are of no service: only the share of all counts
		}
		l.judgeDue(gr, e, now)
		l.judgeHeld(gr, e, now)
		l.report(gr, e, before, now)
		if len(e.recent) == 0 && gr.suspects.Load() == 0 {
			delete(g.events, gr)
		}
	}
}

// judgeDue decides on the leases of one service that are late since this
// sweep. The caller holds the guard's mutex.
func (l *Leases) judgeDue(gr *group, e *event, now time.Duration) {
	for _, c := range e.due {
		switch {
		case !e.passes(c.full, now):
			if l.suspect(e, c, now) {
				l.meter.heldService.Inc()
			}
		case !l.guard.all.passes(c.full, now):
			if l.suspect(e, c, now) {
				l.meter.heldAll.Inc()
			}
		case l.expire(gr, c.x, now, 0):
			l.count(e, c, now)
		}
	}
	e.due = nil
}

// judgeHeld lets suspects of one service expire: all of them some time after
// the mass loss ended, else the oldest at the guard's rate. The caller holds
// the guard's mutex.
func (l *Leases) judgeHeld(gr *group, e *event, now time.Duration) {
	all := &l.guard.all
	suspects := int(gr.suspects.Load())
	if suspects == 0 {
		e.held = nil
		return
	}
	if len(e.held) > 2*suspects+64 { // most of them were heard since
		e.held = slices.DeleteFunc(e.held, func(h held) bool { return !l.stands(gr, h) })
	}
	budget := min(e.budget(l.cfg, &gr.counts), all.budget(l.cfg, &l.all))
	kept := e.held[:0]
	for n, h := range e.held {
		free := e.passes(h.full, now) && all.passes(h.full, now)
		if !free && (budget <= 0 || now <= h.since+l.cfg.GuardHold) {
			if !e.calmed && !all.calmed { // what came later is not freer
				kept = append(kept, e.held[n:]...)
				break
			}
			kept = append(kept, h)
			continue
		}
		if !l.expire(gr, h.x, now, h.since) {
			continue
		}
		l.count(e, h.candidate, now)
		if !free {
			budget--
		}
	}
	clear(e.held[len(kept):])
	e.held = kept
}

// count notes that a lease expired. The caller holds the guard's mutex.
func (l *Leases) count(e *event, c candidate, now time.Duration) {
	until := now + c.full/time.Duration(l.cfg.Factor)
	for _, to := range [...]*event{e, &l.guard.all} {
		to.recent = append(to.recent, until)
		to.lost++
	}
}

// expire turns a late lease unhealthy, unless it was heard since it was looked
// at, or held at since. The caller holds the guard's mutex.
func (l *Leases) expire(gr *group, x *lease, now, since time.Duration) bool {
	s, _ := l.shard(x.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.gone || x.group != gr || since > 0 && (x.stage != suspect || x.beat >= since) {
		return false
	}
	late := l.late(x, now)
	if late {
		l.setWant(x, false)
		l.settle(s, x)
	} else {
		l.setStage(x, onTime)
	}
	if !x.busy {
		l.arm(s, x)
	}
	return late
}

// suspect holds a late lease as healthy, unless it was heard since it was
// looked at. The caller holds the guard's mutex.
func (l *Leases) suspect(e *event, c candidate, now time.Duration) bool {
	x := c.x
	s, _ := l.shard(x.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.gone || x.group != c.group {
		return false
	}
	if !l.late(x, now) {
		if !x.busy {
			l.arm(s, x)
		}
		return false
	}
	l.setStage(x, suspect)
	e.held = append(e.held, held{c, now})
	return true
}

// late reports whether a lease is to expire. That flips can be written is asked
// before the deadline: the end of an outage moves the deadlines first. The
// caller holds the shard's mutex.
func (l *Leases) late(x *lease, now time.Duration) bool {
	return x.want && !x.doubt && !l.held.Load() && !l.outage.lasts() && now > l.deadline(x)
}

// stands reports whether a lease is still held since then.
func (l *Leases) stands(gr *group, h held) bool {
	s, _ := l.shard(h.x.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return !h.x.gone && h.x.group == gr && h.x.stage == suspect && h.x.beat < h.since
}

// acquit ends all events: the server itself was deaf.
func (l *Leases) acquit() {
	g := &l.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	for gr, e := range g.events {
		for _, h := range e.held {
			s, _ := l.shard(h.x.id)
			s.mu.Lock()
			if !h.x.gone && h.x.group == gr && h.x.stage == suspect {
				l.setStage(h.x, onTime)
				l.arm(s, h.x)
			}
			s.mu.Unlock()
		}
	}
	clear(g.events)
	g.all = event{}
}

// report says when a service begins and ends to be held.
func (l *Leases) report(gr *group, e *event, before bool, now time.Duration) {
	switch {
	case e.holds && !before:
		l.deps.Log.Warn("too many instances of a service fell silent at once; they are held healthy as suspects",
			zap.Stringer("service", gr.key), zap.Int32("suspects", gr.suspects.Load()), zap.Int32("leases", gr.size.Load()))
	case !e.holds && before:
		l.deps.Log.Info("a service is no longer held", zap.Stringer("service", gr.key), zap.Duration("after", now-e.began))
	}
}
