package follow_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/follow"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
	"polestar/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is one server's memory over a store that others write, too.
type node struct {
	store    store.Store
	registry *registry.Registry
	follower *follow.Follower
	mu       sync.Mutex
	applied  []naming.Revision
	loaded   atomic.Int32
	metrics  *prometheus.Registry
}

func newNode(t *testing.T, s store.Store, feed follow.Feed, set ...func(*follow.Config)) *node {
	t.Helper()
	n := &node{store: s, registry: registry.New(), metrics: prometheus.NewRegistry()}
	cfg := follow.Default()
	for _, f := range set {
		f(&cfg)
	}
	var err error
	n.follower, err = follow.New(cfg, follow.Deps{
		Feed: feed, Registry: n.registry, Metrics: n.metrics, Log: zap.NewNop(),
		Applied: func(c *naming.Commit) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.applied = append(n.applied, c.Revision)
		},
		Loaded: func() { n.loaded.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) register(t *testing.T, service string, number int) naming.Revision {
	t.Helper()
	c, _, err := n.store.Apply(t.Context(), []naming.Write{&naming.Register{Instance: storetest.Instance(service, number), AutoCreate: true}})
	if err != nil {
		t.Error(err)
	}
	if err := n.follower.Commit(t.Context(), c, c.Revision); err != nil {
		t.Errorf("Commit(%d): %v", c.Revision, err)
	}
	if now := n.registry.World().Revision(); now < c.Revision {
		t.Errorf("revision %d is visible after commit %d", now, c.Revision)
	}
	return c.Revision
}

// Servers that write at once see their own writes when they are answered, and
// everything of all in order, each once.
func TestServersConverge(t *testing.T) {
	s := memory.New(store.DefaultLogBounds())
	var nodes []*node
	for range 3 {
		nodes = append(nodes, newNode(t, s, s))
	}
	var wg sync.WaitGroup
	for k, n := range nodes {
		wg.Go(func() {
			for i := range 50 {
				n.register(t, fmt.Sprint("svc", k), i)
			}
		})
	}
	wg.Wait()
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for k, n := range nodes {
		if err := n.follower.Commit(t.Context(), naming.Commit{}, head); err != nil {
			t.Fatal(err)
		}
		for at, rev := range n.applied {
			if rev != naming.Revision(at+1) {
				t.Fatalf("node %d applied revision %d as number %d", k, rev, at+1)
			}
		}
		for st := range nodes[0].registry.World().Services("") {
			if got := n.registry.World().Service(st.Service.Key); got == nil || got.Digest() != st.Digest() {
				t.Errorf("node %d differs in %s", k, st.Service.Key)
			}
		}
	}
}

// Without any hint a poll finds what others wrote.
func TestLostHintsCostOnlyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(store.DefaultLogBounds())
		a, b := newNode(t, s, s), newNode(t, s, s)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.follower.Run(ctx) }()
		rev := a.register(t, "svc", 1)
		start := time.Now()
		if err := b.registry.Await(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > follow.Default().Poll {
			t.Errorf("seen after %s, the poll is every %s", took, follow.Default().Poll)
		}
		rev = a.register(t, "svc", 2)
		start = time.Now()
		b.follower.Hint(rev)
		if err := b.registry.Await(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("seen %s after a hint, want at once", took)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// broken is a feed that can fail or lie.
type broken struct {
	*memory.Store
	err   atomic.Pointer[error]
	empty atomic.Bool // Load shows nothing
}

func (b *broken) Tail(ctx context.Context, after naming.Revision, limit int) (naming.Tail, error) {
	if err := b.err.Load(); err != nil {
		return naming.Tail{}, *err
	}
	return b.Store.Tail(ctx, after, limit)
}

func (b *broken) Load(ctx context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
	if b.empty.Load() {
		return b.Head(ctx)
	}
	return b.Store.Load(ctx, visit, touched)
}

// A node that loses the store keeps what it has and says so, and goes on by
// itself when the store is back.
func TestCutOffAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(store.DefaultLogBounds())
		feed := &broken{Store: s}
		a, b := newNode(t, s, s), newNode(t, s, feed)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.follower.Run(ctx) }()
		rev := a.register(t, "svc", 1)
		if err := b.registry.Await(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		gone := error(&naming.Error{Kind: naming.StoreFailed, Err: errors.New("gone")})
		feed.err.Store(&gone)
		a.register(t, "svc", 2)
		b.follower.Hint(2)
		time.Sleep(time.Minute)
		if b.registry.World().Revision() != 1 || b.follower.CutOff().IsZero() {
			t.Errorf("cut off: revision %d, cut off since %v", b.registry.World().Revision(), b.follower.CutOff())
		}
		feed.err.Store(nil)
		if err := b.registry.Await(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !b.follower.CutOff().IsZero() {
			t.Error("still cut off after the store came back")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Who fell behind the log loads everything, unless what is stored lacks too
// much to be believed.
func TestBehindTheLog(t *testing.T) { synctest.Test(t, behindTheLog) }

func behindTheLog(t *testing.T) {
	s := memory.New(store.LogBounds{MaxRevisions: 3, MaxBytes: 1 << 20})
	feed := &broken{Store: s}
	a, b := newNode(t, s, s), newNode(t, s, feed)
	for i := range 4 {
		rev := a.register(t, "svc", i)
		if i == 0 {
			if err := b.follower.Commit(t.Context(), naming.Commit{Revision: rev + 1}, rev+1); err == nil {
				t.Error("a revision that does not exist became visible")
			}
		}
	}
	for i := range 10 {
		a.register(t, "svc", 10+i)
	}
	head := a.register(t, "svc", 30)
	feed.empty.Store(true)
	err := b.follower.Commit(t.Context(), naming.Commit{Revision: head}, head)
	if err == nil || b.loaded.Load() != 0 || b.registry.World().Revision() != 1 {
		t.Errorf("an empty world was believed: %v, revision %d", err, b.registry.World().Revision())
	}
	feed.empty.Store(false)
	time.Sleep(10 * time.Second) // it is not read again at once
	if err := b.follower.Commit(t.Context(), naming.Commit{Revision: head}, head); err != nil {
		t.Fatal(err)
	}
	if got := b.registry.World().Service(storetest.Instance("svc", 1).Service); b.loaded.Load() != 1 || len(got.Instances) != 15 {
		t.Errorf("loaded %d times, %d instances", b.loaded.Load(), len(got.Instances))
	}
}

// shrunk is a store whose change log does not reach back and that lost what it
// had.
type shrunk struct {
	store.Store
	loads atomic.Int32
}

func (*shrunk) Tail(context.Context, naming.Revision, int) (naming.Tail, error) {
	return naming.Tail{}, store.ErrCompacted
}

func (s *shrunk) Load(ctx context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
	s.loads.Add(1)
	return s.Store.Load(ctx, func(o naming.Object) error {
		if o.ObjectKind() == naming.KindInstance {
			return nil
		}
		return visit(o)
	}, touched)
}

func (s *shrunk) Scan(context.Context, func(naming.Revision) error, func(naming.Object) error) error {
	return errors.New("nobody asks")
}

// A world that was refused is not loaded again at every look.
func TestARefusedWorldIsNotLoadedAtEveryLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shrunk{Store: memory.New(store.DefaultLogBounds())}
		n := newNode(t, s, s)
		for k := range 10 {
			n.register(t, "svc", k)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.follower.Run(ctx) }()
		time.Sleep(time.Minute)
		if _, _, instances, _ := n.registry.Snapshot().Counts(); instances != 10 || n.loaded.Load() != 0 {
			t.Errorf("%d instances are left of 10", instances)
		}
		if got := s.loads.Load(); got < 4 || got > 7 {
			t.Errorf("the store was read %d times in a minute", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
