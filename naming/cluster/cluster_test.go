package cluster

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"polestar/naming"
	"polestar/proto/peerpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table is the store's part, in memory.
type table struct {
	mu   sync.Mutex
	rows map[string]naming.Member
	fail error
}

func (t *table) Announce(_ context.Context, m naming.Member) ([]naming.Member, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail != nil {
		return nil, t.fail
	}
	m.Beat = t.rows[m.ID].Beat + 1
	t.rows[m.ID] = m
	return slices.Collect(maps.Values(t.rows)), nil
}

func (t *table) Remove(_ context.Context, m naming.Member) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows[m.ID].Beat == m.Beat {
		delete(t.rows, m.ID)
	}
	return t.fail
}

// server is one member with a peer door.
type server struct {
	*Cluster
	grpc  *grpc.Server
	beats chan string
	hints chan naming.Revision
	moved chan struct{}
	holds chan string // why, empty for the end
	end   func()
}

const secret = "a secret of the cluster"

func start(t *testing.T, rows *table, id string, set ...func(*Config, *Deps, *[]grpc.ServerOption)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{
		beats: make(chan string, 100), hints: make(chan naming.Revision, 100),
		moved: make(chan struct{}, 100), holds: make(chan string, 100),
	}
	cfg := Config{ID: id, Address: l.Addr().String(), Secret: secret, Interval: 100 * time.Millisecond, Dead: 400 * time.Millisecond}
	deps := Deps{
		Members: rows, Beat: func(id string) bool { s.beats <- id; return true }, Moved: func() { s.moved <- struct{}{} },
		Hold: func(_ bool, why string) { s.holds <- why }, Hinted: func(r naming.Revision) { s.hints <- r },
		Visible: func() naming.Revision { return 7 }, Metrics: prometheus.NewRegistry(), Log: zap.NewNop(),
	}
	var door []grpc.ServerOption
	for _, f := range set {
		f(&cfg, &deps, &door)
	}
	s.grpc = grpc.NewServer(door...)
	if s.Cluster, err = New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	peerpb.RegisterPeerServiceServer(s.grpc, s.Server())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.grpc.Serve(l) })
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	s.end = sync.OnceFunc(func() { cancel(); s.grpc.Stop(); wg.Wait() })
	t.Cleanup(s.end)
	return s
}

// until receives from c until one is as wanted.
func until[T any](t *testing.T, what string, c <-chan T, ok func(T) bool) {
	t.Helper()
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	for {
		select {
		case got := <-c:
			if ok(got) {
				return
			}
		case <-timer.C:
			t.Fatalf("%s did not come", what)
		}
	}
}

// seen waits until a server sees so many members.
func (s *server) seen(t *testing.T, n int) {
	t.Helper()
	for len(s.Members()) != n {
		until(t, fmt.Sprint(n, " members"), s.moved, func(struct{}) bool { return true })
	}
}

// ownedBy finds an id that a server owns.
func ownedBy(s *server) string {
	for n := 0; ; n++ {
		if id := fmt.Sprint("instance-", n); s.Owns(id) {
			return id
		}
	}
}

func TestBeatsAndHintsReachTheOwner(t *testing.T) {
	rows := &table{rows: map[string]naming.Member{}}
	a, b := start(t, rows, "a"), start(t, rows, "b")
	a.seen(t, 2)
	b.seen(t, 2)
	id := ownedBy(b)
	if a.Owns(id) {
		t.Fatal("two owners")
	}
	if a.Beat(id) {
		t.Error("a server said that it has a lease of another one")
	}
	until(t, "the beat", b.beats, func(got string) bool { return got == id })
	if !b.Beat(id) {
		t.Error("the owner's own lease")
	}
	a.Hint(42)
	until(t, "the hint", b.hints, func(r naming.Revision) bool { return r == 42 })
	b.end() // it leaves
	a.seen(t, 1)
	if !a.Owns(id) {
		t.Error("the lease of a server that left has no owner")
	}
}

// A server that a member cannot reach, or that the store does not answer, lets
// nothing expire until that is over.
func TestHold(t *testing.T) {
	rows := &table{rows: map[string]naming.Member{}}
	a := start(t, rows, "a")
	b := start(t, rows, "b")
	a.seen(t, 2)
	a.grpc.Stop() // b cannot reach it any more
	until(t, "a hold", a.holds, func(why string) bool { return strings.Contains(why, "cannot reach") })
	b.end()
	until(t, "its end", a.holds, func(why string) bool { return why == "" })
	rows.mu.Lock()
	rows.fail = &naming.Error{Kind: naming.StoreFailed}
	rows.mu.Unlock()
	until(t, "a hold", a.holds, func(why string) bool { return strings.Contains(why, "store") })
	rows.mu.Lock()
	rows.fail = nil
	rows.mu.Unlock()
	until(t, "its end", a.holds, func(why string) bool { return why == "" })
}

// Nobody is believed without the secret.
func TestSecret(t *testing.T) {
	a := start(t, &table{rows: map[string]naming.Member{}}, "a")
	conn, err := grpc.NewClient("passthrough:///"+a.cfg.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, c := range []struct {
		given []string
		want  codes.Code
	}{
		{nil, codes.Unauthenticated},
		{[]string{secretKey, "wrong"}, codes.Unauthenticated},
		{[]string{secretKey, secret, secretKey, secret}, codes.Unauthenticated},
		{[]string{secretKey, secret}, codes.OK},
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), c.given...)
		if _, err = peerpb.NewPeerServiceClient(conn).Tell(ctx, &peerpb.TellRequest{Beats: []string{"x"}}); status.Code(err) != c.want {
			t.Errorf("%v: %v, want %v", c.given, err, c.want)
		}
	}
	if n := len(a.beats); n != 1 {
		t.Errorf("%d beats were taken, want the one with the secret", n)
	}
	metrics, err := a.deps.Metrics.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range metrics {
		if n := f.GetMetric()[0].GetCounter().GetValue(); f.GetName() == "polestar_cluster_refused_messages_total" && n != 3 {
			t.Errorf("%v refusals are counted, want 3", n)
		}
	}
}

func TestConfig(t *testing.T) {
	good := Config{Address: "h:1", Secret: secret, Interval: time.Second, Dead: 5 * time.Second}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	byCertificate := good
	byCertificate.Secret, byCertificate.Mutual = "", true
	if err := byCertificate.Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Config){
		"cluster.interval":    func(c *Config) { c.Interval = 0 },
		"cluster.dead":        func(c *Config) { c.Dead = time.Second },
		"cluster.advertise":   func(c *Config) { c.Address = ":1" },
		"cluster.secret-file": func(c *Config) { c.Secret = "short" },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "short") {
			t.Errorf("%s: %v", want, err)
		}
	}
}
