package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/e2e/harness"
)

// loop sends requests until it is stopped.
type loop struct {
	stop func() // waits for the request under way

	mu  sync.Mutex
	sum harness.Counts
}

func startLoop(t *testing.T, call caller) *loop {
	end, ended := make(chan struct{}), make(chan struct{})
	l := &loop{stop: sync.OnceFunc(func() { close(end); <-ended })}
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				l.add(call(10))
			}
		}
	}()
	t.Cleanup(l.stop)
	return l
}

func (l *loop) add(c harness.Counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sum.By == nil {
		l.sum.By = map[string]int{}
	}
	for name, n := range c.By {
		l.sum.By[name] += n
	}
	if l.sum.Errors += c.Errors; c.Errors > 0 {
		l.sum.Last = c.Last
	}
}

// beside is a caller whose answers include those that the loop got meanwhile.
// A proxy that takes turns may give one backend to the one and the other to
// the other of two callers in lock-step; together they see both.
func (l *loop) beside(call caller) caller {
	return func(n int) harness.Counts {
		before := l.by()
		out := call(n)
		for name, n := range l.by() {
			if more := n - before[name]; more > 0 {
				out.By[name] += more
			}
		}
		return out
	}
}

func (l *loop) by() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.sum.By)
}

func (l *loop) counts() (answered, failed int, last string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum.Total(), l.sum.Errors, l.sum.Last
}

// changes is a world of two backends that is changed under a loop of requests.
type changes struct {
	server  *harness.Server
	connect func() *harness.Registrar // for the length of the whole test
	reg     *harness.Registrar
	a, b    string // addresses
	call    caller
}

// TestChangesCostNoRequest changes everything that can change while requests
// run. Backends stay up, so any failed request is a fault of the control plane
// or of the order in which it tells things.
func TestChangesCostNoRequest(t *testing.T) {
	for _, cl := range clients() {
		t.Run(cl.name, func(t *testing.T) {
			s := harness.StartServer(t)
			x := &changes{server: s, connect: func() *harness.Registrar { return harness.Connect(t, s.Polaris) }}
			x.reg = x.connect()
			a, b := harness.StartBackend(t, "a"), harness.StartBackend(t, "b")
			x.a, x.b = a.HTTPAddr, b.HTTPAddr
			if cl.grpc {
				x.a, x.b = a.GRPCAddr, b.GRPCAddr
			}
			x.put(t, x.a)
			direct := cl.start(t, s)
			onlyFrom(t, direct, "a")
			running := startLoop(t, direct)
			x.call = running.beside(direct)
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
				{"the server is killed", x.killed},
				{"the server is restarted", x.restarted},
				{"changes after the restarts", x.removed},
			} {
				t.Run(step.name, func(t *testing.T) {
					answered, failed, _ := running.counts()
					step.run(t)
					harness.Wait(t, soon, func() error { // the loop was not starved
						if now, _, _ := running.counts(); now < answered+20 {
							return fmt.Errorf("only %d requests were answered", now-answered)
						}
						return nil
					})
					if _, now, last := running.counts(); now > failed {
						t.Errorf("%d requests failed: %s", now-failed, last)
					}
				})
			}
			running.stop()
			x.call = direct
			t.Run("the last backend goes and one comes back", x.emptied)
			nothingRefused(t, s)
		})
	}
}

func (x *changes) put(t *testing.T, addr string, set ...func(*service_manage.Instance)) {
	t.Helper()
	if err := x.reg.Put(harness.Instance("cart", addr, set...)); err != nil {
		t.Fatal(err)
	}
}

func (x *changes) remove(t *testing.T, addr string) {
	t.Helper()
	if err := x.reg.Remove(harness.Instance("cart", addr)); err != nil {
		t.Fatal(err)
	}
}

func (x *changes) added(t *testing.T) {
	x.put(t, x.b)
	onlyFrom(t, x.call, "a", "b")
}

func (x *changes) weighted(t *testing.T) {
	x.put(t, x.a, harness.Weight(300))
	split(t, x.call, "a", 0.75)
	x.put(t, x.a, harness.Weight(25))
	split(t, x.call, "a", 0.2)
	x.put(t, x.a, harness.Weight(100))
	split(t, x.call, "a", 0.5)
}

func (x *changes) isolated(t *testing.T) {
	x.put(t, x.a, harness.Isolated(true))
	onlyFrom(t, x.call, "b")
	x.put(t, x.a, harness.Isolated(false))
	onlyFrom(t, x.call, "a", "b")
}

func (x *changes) unhealthy(t *testing.T) {
	x.put(t, x.a, harness.Healthy(false))
	onlyFrom(t, x.call, "b")
	x.put(t, x.a, harness.Healthy(true))
	onlyFrom(t, x.call, "a", "b")
}

func (x *changes) zero(t *testing.T) {
	x.put(t, x.a, harness.Weight(0))
	onlyFrom(t, x.call, "b")
	x.put(t, x.a)
	onlyFrom(t, x.call, "a", "b")
}

func (x *changes) lateBeats(t *testing.T) {
	x.put(t, x.a, harness.TTL(1))
	i := harness.Instance("cart", x.a)
	stop := x.reg.Beat(t, i, 300*time.Millisecond)
	onlyFrom(t, x.call, "a", "b")
	stop()
	start := time.Now()
	onlyFrom(t, x.call, "b")
	if d := time.Since(start); d < 2500*time.Millisecond { // three TTLs of 1 s after a beat at most 0.3 s ago
		t.Errorf("out of traffic %s after its beats stopped: too early", d)
	}
	stop = x.reg.Beat(t, i, 300*time.Millisecond)
	onlyFrom(t, x.call, "a", "b")
	stop()
	x.put(t, x.a)
}

func (x *changes) removed(t *testing.T) {
	x.remove(t, x.a)
	within(t, time.Minute, x.call, "b") // after a restart clients back off before they connect again
	x.put(t, x.a)
	onlyFrom(t, x.call, "a", "b")
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
	stop := x.reg.Beat(t, harness.Instance("cart", x.a), 300*time.Millisecond)
	defer stop()
	for range 3 {
		if err := end(); err != nil {
			t.Errorf("end of the server: %v", err)
		}
		if err := x.server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	// A fresh connection does not wait for a back-off.
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
	onlyFrom(t, x.call, "a", "b")
	x.put(t, x.a)
}

func (x *changes) emptied(t *testing.T) {
	x.remove(t, x.a)
	x.remove(t, x.b)
	harness.Wait(t, soon, func() error {
		if c := x.call(4); c.Errors != 4 {
			return fmt.Errorf("still answered by %v", c.By)
		}
		return nil
	})
	x.put(t, x.b)
	onlyFrom(t, x.call, "b")
}

// TestServiceMayComeAfterItsCaller: a client may ask before anything is
// registered. gRPC waits up to 15 s for an unknown name before it gives up, so
// how fast the refusal comes is not judged.
func TestServiceMayComeAfterItsCaller(t *testing.T) {
	for _, cl := range clients() {
		t.Run(cl.name, func(t *testing.T) {
			s := harness.StartServer(t)
			call := cl.start(t, s)
			if c := call(1); c.Errors != 1 {
				t.Fatalf("answered by %v", c.By)
			}
			a := harness.StartBackend(t, "a")
			addr := a.HTTPAddr
			if cl.grpc {
				addr = a.GRPCAddr
			}
			if err := harness.Connect(t, s.Polaris).Put(harness.Instance("cart", addr)); err != nil {
				t.Fatal(err)
			}
			onlyFrom(t, call, "a")
			nothingRefused(t, s)
		})
	}
}

// nothingRefused asks the server whether a client refused something, and
// whether every client acknowledged what it was sent last.
func nothingRefused(t *testing.T, s *harness.Server) {
	t.Helper()
	harness.Wait(t, soon, func() error {
		out, err := harness.Run("get", "clients", "-o", "json", "--server", s.HTTP)
		if err != nil {
			return err
		}
		var clients []struct {
			Node  string
			Types []struct {
				Type, Refused string
				Sent          uint64 `json:"sent_revision"`
				Acked         uint64 `json:"acked_revision"`
			}
		}
		if err := json.Unmarshal(out, &clients); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if len(clients) == 0 {
			return fmt.Errorf("the server knows no client: %s", out)
		}
		for _, c := range clients {
			for _, typ := range c.Types {
				if typ.Refused != "" || typ.Sent != typ.Acked {
					return fmt.Errorf("%s, %s: sent %d, acknowledged %d, refused %q", c.Node, typ.Type, typ.Sent, typ.Acked, typ.Refused)
				}
			}
		}
		return nil
	})
}
