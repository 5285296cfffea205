package polaris_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"pgregory.net/rapid"

	"polestar/naming"
	"polestar/naming/polaris"
	"polestar/store"
	"polestar/store/bolt"
	"polestar/store/memory"
)

// own is what a client said of its instance, wish what an operator did.
type own struct {
	weight, ttl       uint32
	healthy, isolated bool
	meta              string
}

type wish struct {
	weight            *uint32
	healthy, isolated *bool
}

// promise is the model: all that the door promises of registered instances, by their port.
type promise struct {
	own  map[uint32]own
	wish map[uint32]wish // outlives the instance
	once bool            // a registration made the service
}

func (m *promise) register(port uint32, o own, isolated *bool) {
	o.isolated = m.own[port].isolated // of none: false
	if isolated != nil {
		o.isolated = *isolated
	}
	m.own[port], m.once = o, true
}

func (m *promise) beat(port uint32) uint32 {
	switch o, there := m.own[port]; {
	case !there:
		return 400202
	case o.ttl == 0:
		return 400141
	default:
		return 200000
	}
}

func (m *promise) setHealth(port uint32, healthy bool) {
	if o, there := m.own[port]; there && o.ttl > 0 {
		o.healthy = healthy
		m.own[port] = o
	}
}

func (m *promise) shown() string {
	var out []string
	for port, o := range m.own {
		w := m.wish[port]
		out = append(out, fmt.Sprint(port, " weight ", or(w.weight, o.weight), " healthy ", or(w.healthy, o.healthy),
			" isolated ", or(w.isolated, o.isolated), " ttl ", o.ttl, " meta ", o.meta))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func or[T any](p *T, v T) T {
	if p != nil {
		return *p
	}
	return v
}

// asShown is an answer in the model's words.
func asShown(res *service_manage.DiscoverResponse) string {
	var out []string
	for _, i := range res.GetInstances() {
		out = append(out, fmt.Sprint(i.GetPort().GetValue(), " weight ", i.GetWeight().GetValue(), " healthy ", i.GetHealthy().GetValue(),
			" isolated ", i.GetIsolate().GetValue(), " ttl ", i.GetHealthCheck().GetHeartbeat().GetTtl().GetValue(), " meta ", i.GetMetadata()["k"]))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// machine is the real thing beside the model.
type machine struct {
	promise
	open      func() store.Store
	backend   *backend
	door      *polaris.Server
	t         testing.TB
	revisions map[string]string // content → revision, and back
}

func maybe[T any](t *rapid.T, g *rapid.Generator[T], name string) *T {
	if rapid.Bool().Draw(t, name+" is sent") {
		return new(g.Draw(t, name))
	}
	return nil
}

func port(t *rapid.T) uint32 { return rapid.Uint32Range(1, 3).Draw(t, "port") }

func (m *machine) id(port uint32) string {
	return naming.InstanceID(key("n", "a"), "", "10.0.0.1", port)
}

func (m *machine) Register(t *rapid.T) {
	in := message("n", "a", port(t))
	o := own{weight: 100, healthy: true, ttl: rapid.SampledFrom([]uint32{0, 5, 7}).Draw(t, "ttl"), meta: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "meta")}
	if w := maybe(t, rapid.Uint32Range(0, 2), "weight"); w != nil {
		in.Weight, o.weight = num(*w), *w
	}
	if h := maybe(t, rapid.Bool(), "healthy"); h != nil {
		in.Healthy, o.healthy = yes(*h), *h
	}
	isolated := maybe(t, rapid.Bool(), "isolate")
	if isolated != nil {
		in.Isolate = yes(*isolated)
	}
	if o.ttl > 0 {
		checked(in, o.ttl)
	}
	if o.meta != "" {
		in.Metadata = map[string]string{"k": o.meta}
	}
	res, err := m.door.RegisterInstance(m.t.Context(), in)
	if code := res.GetCode().GetValue(); err != nil || code != 200000 || res.GetInstance().GetId().GetValue() != m.id(in.GetPort().GetValue()) {
		t.Fatalf("%v, %v", res, err)
	}
	m.register(in.GetPort().GetValue(), o, isolated)
}

func (m *machine) Deregister(t *rapid.T) {
	p := port(t)
	in := message("n", "a", p)
	if rapid.Bool().Draw(t, "by id") {
		in = &service_manage.Instance{Id: str(m.id(p))}
	}
	if res, err := m.door.DeregisterInstance(m.t.Context(), in); err != nil || res.GetCode().GetValue() != 200000 {
		t.Fatalf("%v, %v", res, err)
	}
	delete(m.own, p)
}

func (m *machine) Beat(t *rapid.T) {
	p := port(t)
	if res, err := m.door.Heartbeat(m.t.Context(), message("n", "a", p)); err != nil || res.GetCode().GetValue() != m.beat(p) {
		t.Fatalf("%v, %v; want %d", res, err, m.beat(p))
	}
}

// Lease is what a lease does that expires, or comes back.
func (m *machine) Lease(t *rapid.T) {
	p, healthy := port(t), rapid.Bool().Draw(t, "healthy")
	if _, err := m.backend.Do(m.t.Context(), &naming.SetHealth{ID: m.id(p), Healthy: healthy, Cause: naming.CauseLease}); err != nil {
		t.Fatal(err)
	}
	m.setHealth(p, healthy)
}

func (m *machine) Operate(t *rapid.T) {
	p := port(t)
	w := naming.Modify{ID: m.id(p)}
	now := m.wish[p]
	if w.Clear = (naming.Clear{Weight: rapid.Bool().Draw(t, "clear weight"), Isolated: rapid.Bool().Draw(t, "clear isolated"), Healthy: rapid.Bool().Draw(t, "clear healthy")}); w.Clear.Weight {
		now.weight = nil
	}
	if w.Clear.Healthy {
		now.healthy = nil
	}
	if w.Clear.Isolated {
		now.isolated = nil
	}
	_, there := m.own[p]
	if there {
		w.Set = naming.Setting{Weight: maybe(t, rapid.Uint32Range(0, 2), "weight"), Isolated: maybe(t, rapid.Bool(), "isolated"), Healthy: maybe(t, rapid.Bool(), "healthy")}
		now = wish{weight: orPtr(w.Set.Weight, now.weight), healthy: orPtr(w.Set.Healthy, now.healthy), isolated: orPtr(w.Set.Isolated, now.isolated)}
	}
	r := naming.NewRegistrar(naming.Config{}, naming.Deps{Writer: m.backend, World: m.backend, Beats: m.backend})
	if _, err := r.Modify(m.t.Context(), w); there && err != nil || !there && err != nil && naming.KindOf(err) != naming.NotFound {
		t.Fatal(err)
	}
	m.wish[p] = now
}

func orPtr[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

func (m *machine) Restart(t *rapid.T) { m.start(t) }

func (m *machine) start(t rapid.TB) {
	m.backend = newBackend(m.t, m.open())
	m.door = serve(m.backend)
	if problem := m.check(); problem != "" {
		t.Fatal("after a restart: ", problem)
	}
}

// Check compares what a client sees with the model, and holds revisions to
// their promise: equal exactly when the content is.
func (m *machine) Check(t *rapid.T) {
	if problem := m.check(); problem != "" {
		t.Fatal(problem)
	}
}

func (m *machine) check() string {
	res := polaris.Answer(m.t.Context(), m.door, query(typeInstance, "n", "a", ""))
	want := uint32(200000)
	if !m.once {
		want = 400202
	}
	if code := res.GetCode().GetValue(); code != want {
		return fmt.Sprintf("code %d, want %d", code, want)
	}
	content := m.shown()
	if got := asShown(res); got != content {
		return fmt.Sprintf("Discover shows\n%s\nwant\n%s", got, content)
	}
	if !m.once {
		return ""
	}
	revision := res.GetService().GetRevision().GetValue()
	if was, seen := m.revisions["content "+content]; seen && was != revision {
		return fmt.Sprintf("the same content has revisions %s and %s", was, revision)
	}
	if was, seen := m.revisions["revision "+revision]; seen && was != content {
		return fmt.Sprintf("revision %s stands for\n%s\nand for\n%s", revision, was, content)
	}
	m.revisions["content "+content], m.revisions["revision "+revision] = revision, content
	return ""
}

// Any sequence of registrations, updates, isolations, beats, expiries, removals
// and restarts is seen by clients as the model has it.
func TestAnySequenceEqualsTheModel(t *testing.T) {
	for name, open := range map[string]func(t *rapid.T) (open func() store.Store, closeIt func()){
		"memory": func(*rapid.T) (func() store.Store, func()) {
			s := memory.New(store.DefaultLogBounds())
			return func() store.Store { return s }, func() {}
		},
		"bolt": func(rt *rapid.T) (func() store.Store, func()) {
			dir := t.TempDir()
			var s *bolt.Store
			closeIt := func() {
				if s == nil {
					return
				}
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
			}
			return func() store.Store {
				closeIt()
				var err error
				if s, err = bolt.Open(bolt.Config{Dir: dir, Log: store.DefaultLogBounds()}); err != nil {
					rt.Fatal(err)
				}
				return s
			}, closeIt
		},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				reopen, closeIt := open(rt)
				defer closeIt()
				m := &machine{promise: promise{own: map[uint32]own{}, wish: map[uint32]wish{}}, open: reopen, t: t, revisions: map[string]string{}}
				m.start(rt)
				actions := rapid.StateMachineActions(m)
				if got := slices.Sorted(maps.Keys(actions)); len(got) != 7 { // with Check under the empty name
					rt.Fatalf("actions %q", got)
				}
				rt.Repeat(actions)
			})
		})
	}
}
