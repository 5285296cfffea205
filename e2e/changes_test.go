package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/e2e/harness"
)

// changes is a world of two backends that is changed under loops of requests
// from clients of all kinds.
type changes struct {
	server  *harness.Server
	connect func() *harness.Registrar // for the length of the whole test
	reg     *harness.Registrar
	a, b    *harness.Backend
	fleet   fleet
}

// TestChangesCostNoRequest changes everything that can change while requests
// run. Backends stay up or are drained, so any failed request is a fault of
// the control plane or of the order in which it tells things.
func TestChangesCostNoRequest(t *testing.T) {
	s := harness.StartServer(t)
	x := &changes{
		server: s, connect: func() *harness.Registrar { return harness.Connect(t, s.Polaris) },
		a: harness.StartBackend(t, "a"), b: harness.StartBackend(t, "b"), fleet: startFleet(t, s),
	}
	x.reg = x.connect()
	t.Run("a service comes after its callers", x.late)
	x.fleet.run(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"a backend is added", x.added},
		{"weights change", x.weighted},
		{"isolation", x.isolated},
		{"health is set by hand", x.unhealthy},
		{"weight 0", x.zero},
		{"beats stop and come back", x.lateBeats},
		{"a backend is removed and returns", x.removed},
		{"what no client takes is registered", x.poisoned},
		{"settings of the service", x.settings},
		{"backends are restarted in turn", x.rolling},
		{"the server is away", x.away},
		{"the server is killed", x.killed},
		{"the server is restarted", x.restarted},
		{"changes after the restarts", x.removed},
	} {
		t.Run(step.name, func(t *testing.T) { x.fleet.costNothing(t, step.run) })
	}
	x.fleet.stop()
	t.Run("the last backend goes and one comes back", x.emptied)
	nothingRefused(t, s, len(x.fleet))
}

func (x *changes) put(t *testing.T, b *harness.Backend, set ...func(*service_manage.Instance)) {
	t.Helper()
	if err := x.reg.Put(harness.Instance("cart", b.Addr, set...)); err != nil {
		t.Fatal(err)
	}
}

func (x *changes) remove(t *testing.T, b *harness.Backend) {
	t.Helper()
	if err := x.reg.Remove(harness.Instance("cart", b.Addr)); err != nil {
		t.Fatal(err)
	}
}

// late: a client may ask before anything is registered. gRPC waits up to 15 s
// for an unknown name before it gives up, so how fast the refusal comes is not
// judged.
func (x *changes) late(t *testing.T) {
	x.fleet.each(t, soon, func(m *member) error {
		if c := m.call(1); c.Errors != 1 {
			return fmt.Errorf("answered by %v", c.By)
		}
		return nil
	})
	x.put(t, x.a)
	x.fleet.onlyFrom(t, "a")
}

func (x *changes) added(t *testing.T) {
	x.put(t, x.b)
	x.fleet.onlyFrom(t, "a", "b")
	x.fleet.split(t, "a", 0.5)
}

func (x *changes) weighted(t *testing.T) {
	x.put(t, x.a, harness.Weight(300))
	x.fleet.split(t, "a", 0.75)
	x.put(t, x.a, harness.Weight(25))
	x.fleet.split(t, "a", 0.2)
	x.put(t, x.a, harness.Weight(100))
	x.fleet.split(t, "a", 0.5)
}

func (x *changes) isolated(t *testing.T) {
	x.put(t, x.a, harness.Isolated(true))
	x.fleet.onlyFrom(t, "b")
	x.put(t, x.a, harness.Isolated(false))
	x.fleet.onlyFrom(t, "a", "b")
}

func (x *changes) unhealthy(t *testing.T) {
	x.put(t, x.a, harness.Healthy(false))
	x.fleet.onlyFrom(t, "b")
	x.put(t, x.a, harness.Healthy(true))
	x.fleet.onlyFrom(t, "a", "b")
}

func (x *changes) zero(t *testing.T) {
	x.put(t, x.a, harness.Weight(0))
	x.fleet.onlyFrom(t, "b")
	x.put(t, x.a)
	x.fleet.onlyFrom(t, "a", "b")
}

func (x *changes) lateBeats(t *testing.T) {
	x.put(t, x.a, harness.TTL(1))
	i := harness.Instance("cart", x.a.Addr)
	stop := x.reg.Beat(t, i, 300*time.Millisecond)
	x.fleet.onlyFrom(t, "a", "b")
	stop()
	start := time.Now()
	x.fleet.onlyFrom(t, "b")
	if d := time.Since(start); d < 2500*time.Millisecond { // three TTLs of 1 s after a beat at most 0.3 s ago
		t.Errorf("out of traffic %s after its beats stopped: too early", d)
	}
	stop = x.reg.Beat(t, i, 300*time.Millisecond)
	x.fleet.onlyFrom(t, "a", "b")
	stop()
	x.put(t, x.a)
}

// removed allows a minute: after a restart of the server clients back off
// before they connect again.
func (x *changes) removed(t *testing.T) {
	x.remove(t, x.a)
	x.fleet.each(t, time.Minute, func(m *member) error { return answeredBy(m.call, "b") })
	x.put(t, x.a)
	x.fleet.onlyFrom(t, "a", "b")
}

// away: requests go on without a server.
func (x *changes) away(t *testing.T) {
	x.server.Kill()
	answered := map[*member]int{}
	for _, m := range x.fleet {
		answered[m], _, _ = m.loop.counts()
	}
	x.fleet.answers(t, answered)
	if err := x.server.Start(); err != nil {
		t.Fatal(err)
	}
	x.reg = x.connect() // a fresh connection does not wait for a back-off
}

func (x *changes) killed(t *testing.T) {
	x.again(t, func() error { x.server.Kill(); return nil })
}

func (x *changes) restarted(t *testing.T) {
	x.again(t, x.server.Terminate)
}

// again ends and starts the server three times. One backend lives by its
// beats: that nobody hears them meanwhile must not be held against it.
func (x *changes) again(t *testing.T, end func() error) {
	x.put(t, x.a, harness.TTL(1))
	stop := x.reg.Beat(t, harness.Instance("cart", x.a.Addr), 300*time.Millisecond)
	defer stop()
	for range 3 {
		if err := end(); err != nil {
			t.Errorf("end of the server: %v", err)
		}
		if err := x.server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	x.reg = x.connect()
	all, err := x.reg.Instances("cart")
	if err != nil || len(all) != 2 {
		t.Fatalf("after the restarts: %v, %v", all, err)
	}
	for _, i := range all {
		if !i.GetHealthy().GetValue() {
			t.Errorf("a backend is unhealthy because the server was away: %v", i)
		}
	}
	x.fleet.onlyFrom(t, "a", "b")
	x.put(t, x.a)
}

func (x *changes) emptied(t *testing.T) {
	x.remove(t, x.a)
	x.remove(t, x.b)
	x.fleet.each(t, soon, func(m *member) error {
		if m.keepLast {
			return answeredBy(m.call, "b")
		}
		if c := m.call(4); c.Errors != 4 {
			return fmt.Errorf("still answered by %v", c.By)
		}
		return nil
	})
	x.put(t, x.b)
	x.fleet.onlyFrom(t, "b")
}

// nothingRefused asks the server whether a client refused something, and
// whether so many clients acknowledged what they were sent last.
func nothingRefused(t *testing.T, s *harness.Server, clients int) {
	t.Helper()
	harness.Wait(t, soon, func() error {
		all, err := s.Clients()
		if err != nil {
			return err
		}
		if len(all) != clients {
			return fmt.Errorf("the server knows %d clients, not %d: %+v", len(all), clients, all)
		}
		for _, c := range all {
			for _, typ := range c.Types {
				if typ.Refused != "" || typ.Sent != typ.Acked {
					return fmt.Errorf("%s, %s: sent %d, acknowledged %d, refused %q", c.Node, typ.Type, typ.Sent, typ.Acked, typ.Refused)
				}
			}
		}
		return nil
	})
}
