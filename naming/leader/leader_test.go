package leader_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/leader"
	"polestar/store"
	"polestar/store/memory"
	"polestar/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// link is a server's way to the store; it can be cut.
type link struct {
	*memory.Store
	cut atomic.Bool
}

func (l *link) Lead(ctx context.Context, duty, server string, term time.Duration) (naming.Leader, error) {
	if l.cut.Load() {
		return naming.Leader{}, errors.New("cut off")
	}
	return l.Store.Lead(ctx, duty, server, term)
}

type server struct {
	*leader.Leader
	link *link
	stop func()
}

func start(t *testing.T, s *memory.Store, id string) *server {
	t.Helper()
	cfg := leader.Default()
	cfg.ID, cfg.Duty = id, "d"
	out := &server{link: &link{Store: s}}
	l, err := leader.New(cfg, out.link, prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	out.Leader, out.stop = l, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
	return out
}

// One of two has the duty. The other has it at once when that one resigns, and
// after a term when it is cut off; by then the one that is cut off says that it
// has it no more, and the store takes nothing of it.
func TestTheDutyMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(store.DefaultLogBounds())
		a, b := start(t, s, "a"), start(t, s, "b")
		leads := func(when string, want *server) naming.Fence {
			t.Helper()
			synctest.Wait()
			for name, x := range map[string]*server{"a": a, "b": b} {
				if _, has := x.Fence(); has != (x == want) {
					t.Errorf("%s: %s has the duty: %v", when, name, has)
				}
			}
			f, _ := want.Fence()
			return f
		}
		first := leads("at the start", a)
		time.Sleep(time.Hour)
		if again := leads("after an hour", a); again != first {
			t.Errorf("the epoch moved from %d to %d without reason", first.Epoch, again.Epoch)
		}
		if l, self := b.Last(); self || l.ID != "a" || l.Epoch != first.Epoch || l.Since == 0 {
			t.Errorf("b knows of %+v", l)
		}
		a.link.cut.Store(true)
		for range 200 { // at no time both
			time.Sleep(100 * time.Millisecond)
			_, hasA := a.Fence()
			if _, hasB := b.Fence(); hasA && hasB {
				t.Fatal("both have it")
			}
		}
		second := leads("after a was cut off", b)
		if l, self := a.Last(); l.ID != "" || self {
			t.Errorf("a, who cannot ask, says that %q has it", l.ID)
		}
		_, rs, err := s.Apply(t.Context(), []naming.Write{&naming.Fenced{Write: &naming.Register{Instance: storetest.Instance("s", 1), AutoCreate: true}, Fence: first}})
		if err != nil || naming.KindOf(rs[0].Err) != naming.Conflict || second.Epoch != first.Epoch+1 {
			t.Errorf("a's late write in epoch %d: %v, %v", second.Epoch, rs[0].Err, err)
		}
		a.link.cut.Store(false)
		time.Sleep(time.Hour)
		leads("a is back", b)
		b.stop()
		time.Sleep(2 * time.Second)
		if third := leads("b resigned", a); third.Epoch != second.Epoch+1 {
			t.Errorf("epoch %d after %d", third.Epoch, second.Epoch)
		}
		a.stop()
	})
}

func TestWrongSettings(t *testing.T) {
	for name, change := range map[string]func(*leader.Config){
		"id": func(c *leader.Config) { c.ID = "" }, "duty": func(c *leader.Config) { c.Duty = "" },
		"term": func(c *leader.Config) { c.Term = 3500 * time.Millisecond }, "interval": func(c *leader.Config) { c.Interval = 5 * time.Second },
	} {
		cfg := leader.Default()
		cfg.ID, cfg.Duty = "a", "d"
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
		if change(&cfg); cfg.Validate() == nil {
			t.Errorf("a wrong %s is taken", name)
		}
	}
}
