package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// kind is a real data plane that calls service "cart" of namespace default.
type kind struct {
	name     string
	keepLast bool // goes on with the backends that it had when none is left
	start    func(t *testing.T, s *harness.Server) caller
}

func kinds() []kind {
	return []kind{
		{"Envoy SotW", false, func(t *testing.T, s *harness.Server) caller { return viaEnvoy(t, s, false) }},
		{"Envoy delta", false, func(t *testing.T, s *harness.Server) caller { return viaEnvoy(t, s, true) }},
		{"gRPC Go", false, func(t *testing.T, s *harness.Server) caller { return viaGRPC(t, s, "go", "xds:///cart.default") }},
		{"gRPC Java", true, func(t *testing.T, s *harness.Server) caller { return viaGRPC(t, s, "java", "xds:///cart.default:8080") }},
		{"gRPC Python", false, func(t *testing.T, s *harness.Server) caller { return viaGRPC(t, s, "python", "xds:///default/cart") }},
		{"gRPC Node", false, func(t *testing.T, s *harness.Server) caller { return viaGRPC(t, s, "node", "xds:///cart.default") }},
	}
}

func viaEnvoy(t *testing.T, s *harness.Server, delta bool) caller {
	e := harness.StartEnvoy(t, s, delta)
	return func(n int) harness.Counts { return e.Get("cart", n) }
}

// viaGRPC starts a proxyless client with what `polestar bootstrap grpc` prints.
func viaGRPC(t *testing.T, s *harness.Server, language, target string) caller {
	t.Helper()
	config, err := harness.Run("bootstrap", "grpc", "--xds-addr", s.XDS, "--namespace", "default", "--node-id", language)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bootstrap.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return viaChild(harness.StartGRPC(t, language, path, target))
}

func viaChild(c *harness.Child) caller {
	return func(n int) harness.Counts {
		var out harness.Counts
		if err := c.Do(fmt.Sprint("calls ", n), &out); err != nil {
			return harness.Counts{Errors: n, Last: err.Error()}
		}
		return out
	}
}

// fleet is a client of each kind, all on one server: what changes there is
// changed once, and looked at through all of them at the same time.
type fleet []*member

type member struct {
	kind
	direct caller
	call   caller // with what the loop gets meanwhile, while it runs
	loop   *loop
}

func startFleet(t *testing.T, s *harness.Server) fleet {
	t.Helper()
	var f fleet
	for _, k := range kinds() {
		call := k.start(t, s)
		f = append(f, &member{kind: k, direct: call, call: call})
	}
	return f
}

// each waits until check is content with every member, and fails the test
// otherwise.
func (f fleet) each(t *testing.T, most time.Duration, check func(*member) error) {
	t.Helper()
	errs := make([]error, len(f))
	var wait sync.WaitGroup
	for n, m := range f {
		wait.Go(func() { errs[n] = harness.Poll(most, func() error { return check(m) }) })
	}
	wait.Wait()
	good := true
	for n, err := range errs {
		if err != nil {
			t.Errorf("%s, not within %s: %v", f[n].name, most, err)
			good = false
		}
	}
	if !good {
		t.FailNow()
	}
}

// onlyFrom waits until every member's requests are answered by exactly these
// backends.
func (f fleet) onlyFrom(t *testing.T, names ...string) {
	t.Helper()
	f.each(t, soon, func(m *member) error { return answeredBy(m.call, names...) })
}

// split waits until a gets this share of every member's requests.
func (f fleet) split(t *testing.T, a string, share float64) {
	t.Helper()
	f.each(t, soon, func(m *member) error { return shared(m.call, a, share) })
}

// run starts a loop of requests at every member.
func (f fleet) run(t *testing.T) {
	for _, m := range f {
		m.loop = startLoop(t, m.direct)
		m.call = m.loop.beside(m.direct)
	}
}

func (f fleet) stop() {
	for _, m := range f {
		m.loop.stop()
		m.call = m.direct
	}
}

// costNothing takes a step and fails the test when it cost a loop a request.
// Every loop has to get answers during the step.
func (f fleet) costNothing(t *testing.T, step func(*testing.T)) {
	t.Helper()
	answered, failed := map[*member]int{}, map[*member]int{}
	for _, m := range f {
		answered[m], failed[m], _ = m.loop.counts()
	}
	step(t)
	f.answers(t, answered)
	for _, m := range f {
		if _, now, last := m.loop.counts(); now > failed[m] {
			t.Errorf("%s: %d requests failed: %s", m.name, now-failed[m], last)
		}
	}
}

// answers waits until every loop has 20 answers more than before.
func (f fleet) answers(t *testing.T, before map[*member]int) {
	t.Helper()
	f.each(t, soon, func(m *member) error {
		if now, _, _ := m.loop.counts(); now < before[m]+20 {
			return fmt.Errorf("the loop got %d answers", now-before[m])
		}
		return nil
	})
}
