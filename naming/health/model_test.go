package health

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"polestar/naming"
)

// machine drives leases without goroutines: time, ticks and flips are steps.
type machine struct {
	l      *Leases
	now    time.Duration
	down   bool
	stored map[string]bool // what flips and registrations stored
	seen   map[string]seen
	clear  time.Duration // when the last pause or outage ended
	wrong  string
}

type seen struct {
	beat    time.Duration
	ttl     time.Duration
	service int
}

const machineTick = 250 * time.Millisecond

func newMachine(share int) *machine {
	m := &machine{stored: map[string]bool{}, seen: map[string]seen{}}
	cfg := Default()
	cfg.GuardShare, cfg.GuardHold = share, 10*time.Second
	m.l, _ = New(cfg, Deps{Flip: m.flip, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	m.l.clock = func() time.Duration { return m.now }
	return m
}

// flip checks what must hold for each flip: nobody who was heard within its
// full time, or could not be, turns unhealthy.
func (m *machine) flip(_ context.Context, id string, healthy bool) error {
	if m.down {
		return errors.New("down")
	}
	s, known := m.seen[id]
	if known && !healthy && m.now <= max(s.beat, m.clear)+3*s.ttl {
		m.wrong = id + " flipped too early"
	}
	if known {
		m.stored[id] = healthy
	}
	return nil
}

// drain runs what the flip workers would.
func (m *machine) drain() {
	for {
		select {
		case x := <-m.l.flips:
			outage := m.l.outage.lasts()
			m.l.flip(context.Background(), x)
			if outage && !m.l.outage.lasts() {
				m.clear = time.Duration(m.l.anew.Load())
			}
		default:
			return
		}
	}
}

func (m *machine) step() {
	m.now += machineTick
	m.l.step(m.now)
	m.drain()
}

func (m *machine) register(id string, service int, ttl uint32, healthy bool) {
	m.l.TrackIn(id, naming.ServiceKey{Name: name(service)}, ttl, healthy)
	m.seen[id], m.stored[id] = seen{m.now, time.Duration(ttl) * time.Second, service}, healthy
	if ttl == 0 {
		m.forget(id)
	}
	m.drain()
}

func (m *machine) forget(id string) {
	m.l.Forget(id)
	delete(m.seen, id)
	delete(m.stored, id)
	m.drain()
}

func (m *machine) beat(id string) {
	s, known := m.seen[id]
	if got := m.l.Beat(id); got != known {
		m.wrong = id + " is known to one side only"
	}
	if known {
		s.beat = m.now
		m.seen[id] = s
	}
	m.drain()
}

func (m *machine) pause(d time.Duration) {
	m.now += d
	m.l.step(m.now)
	if d > m.l.cfg.Pause {
		m.clear = m.now
	}
	m.drain()
}

// counted recounts everything and compares.
func (m *machine) counted(t *rapid.T) {
	type sum struct{ size, live, overdue, suspects int32 }
	var all sum
	groups := map[naming.ServiceKey]sum{}
	for n := range m.l.shards {
		for _, x := range m.l.shards[n].byID.slots {
			if x == nil || x.gone {
				continue
			}
			g := groups[x.group.key]
			for _, s := range []*sum{&g, &all} {
				s.size++
				if x.want {
					s.live++
				}
				switch x.stage {
				case overdue:
					s.overdue++
				case suspect:
					s.suspects++
				case onTime:
				}
			}
			groups[x.group.key] = g
			if x.slot == 0 && x.want && x.stage != suspect && !x.busy {
				t.Fatalf("%s is looked at no more", x.id)
			}
		}
	}
	of := func(c *counts) sum {
		return sum{c.size.Load(), c.live.Load(), c.overdue.Load(), c.suspects.Load()}
	}
	got := map[naming.ServiceKey]sum{}
	for key, g := range m.l.groups.byKey {
		got[key] = of(&g.counts)
	}
	if diff := cmp.Diff(groups, got, cmp.AllowUnexported(sum{})); diff != "" {
		t.Fatalf("services: %s", diff)
	}
	if diff := cmp.Diff(all, of(&m.l.all), cmp.AllowUnexported(sum{})); diff != "" {
		t.Fatalf("all: %s", diff)
	}
}

func (m *machine) actions() map[string]func(*rapid.T) {
	id := func(t *rapid.T) string { return name(rapid.IntRange(0, 15).Draw(t, "id")) }
	return map[string]func(*rapid.T){
		"register": func(t *rapid.T) {
			m.register(id(t), rapid.IntRange(0, 2).Draw(t, "service"), rapid.Uint32Range(0, 4).Draw(t, "ttl"), rapid.Bool().Draw(t, "healthy"))
		},
		"forget": func(t *rapid.T) { m.forget(id(t)) },
		"beat":   func(t *rapid.T) { m.beat(id(t)) },
		"beat all": func(*rapid.T) {
			for id := range m.seen {
				m.beat(id)
			}
		},
		"wait": func(t *rapid.T) {
			for range rapid.IntRange(1, 30).Draw(t, "ticks") {
				m.step()
			}
		},
		"pause": func(t *rapid.T) {
			m.pause(time.Duration(rapid.IntRange(1, 100_000).Draw(t, "ms")) * time.Millisecond)
		},
		"operator": func(t *rapid.T) { // somebody else stores a health
			id, healthy := id(t), rapid.Bool().Draw(t, "healthy")
			if _, known := m.seen[id]; known {
				m.stored[id] = healthy
			}
			m.l.Stored(id, healthy)
			m.drain()
		},
		"store": func(t *rapid.T) { m.down = rapid.Bool().Draw(t, "down") },
		"release": func(t *rapid.T) {
			m.l.Release(naming.ServiceKey{Name: name(rapid.IntRange(0, 2).Draw(t, "service"))})
			m.drain()
		},
		"": func(t *rapid.T) {
			if m.wrong != "" {
				t.Fatal(m.wrong)
			}
			m.counted(t)
		},
	}
}

// Any sequence of events flips nobody who could not be heard; and when the
// store works and everything is quiet, who beats becomes healthy, who does not
// becomes unhealthy, and that is what is stored.
func TestAnySequence(t *testing.T) { rapid.Check(t, anySequence()) }

func FuzzAnySequence(f *testing.F) { f.Fuzz(rapid.MakeFuzz(anySequence())) }

func anySequence() func(t *rapid.T) {
	return func(t *rapid.T) {
		m := newMachine(rapid.SampledFrom([]int{15, 100}).Draw(t, "share"))
		t.Repeat(m.actions())
		m.down = false
		beating := map[string]bool{}
		for id := range m.seen {
			beating[id] = rapid.Bool().Draw(t, "beats")
		}
		// Past every trouble's back-off, a full lease, and the guard's slow end.
		for range int(3 * time.Minute / machineTick) {
			m.step()
			for id, alive := range beating {
				if alive {
					m.beat(id)
				}
			}
		}
		if diff := cmp.Diff(beating, m.stored); diff != "" {
			t.Fatalf("stored (want - got +): %s", diff)
		}
		if m.wrong != "" {
			t.Fatal(m.wrong)
		}
		m.counted(t)
		for id := range m.seen {
			m.forget(id)
		}
		m.counted(t)
		if n := len(m.l.groups.byKey); n != 0 {
			t.Fatalf("%d services are left", n)
		}
	}
}

// Without the guard, pauses and outages the tick of each expiry is exact: the
// first one after the deadline.
func TestExpiryIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(100)
		t.Repeat(map[string]func(*rapid.T){
			"register": m.actions()["register"], "forget": m.actions()["forget"], "beat": m.actions()["beat"],
			"wait": func(t *rapid.T) {
				for range rapid.IntRange(1, 40).Draw(t, "ticks") {
					before := maps.Clone(m.stored)
					m.step()
					for id, healthy := range before {
						s := m.seen[id]
						want := healthy && m.now <= s.beat+3*s.ttl
						if m.stored[id] != want {
							t.Fatalf("%s at %s: stored %v, want %v; last beat %s, ttl %s", id, m.now, m.stored[id], want, s.beat, s.ttl)
						}
					}
				}
			},
			"": func(t *rapid.T) { m.counted(t) },
		})
	})
}
