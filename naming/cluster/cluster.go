package cluster

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"polestar/naming"
)

// Config of a member.
type Config struct {
	ID       string        // of this run of the server
	Address  string        // where other members reach this one, host:port; empty: nowhere
	Secret   string        // what members prove to each other; never shown
	Mutual   bool          // their certificates prove it: nobody else gets through to [Cluster.Server]
	Interval time.Duration // between two beats in the store, 100 ms…10 s
	Dead     time.Duration // a member without a beat for so long is dead, at least 3 × Interval, up to 1 min
}

// Default returns a beat each 400 ms and death after 2 s: the leases of a server
// that is killed have other owners after 2.8 s at most. A false alarm costs time
// and nothing else, for leases get their full time when they move.
func Default() Config { return Config{Interval: 400 * time.Millisecond, Dead: 2 * time.Second} }

// minSecret is the shortest secret in bytes.
const minSecret = 16

// Validate returns an error that names the key and its bound.
func (c Config) Validate() error {
	switch {
	case c.Interval < 100*time.Millisecond || c.Interval > 10*time.Second:
		return fmt.Errorf("cluster.interval: %s is not between 100ms and 10s", c.Interval)
	case c.Dead < 3*c.Interval || c.Dead > time.Minute:
		return fmt.Errorf("cluster.dead: %s is not between three intervals (%s) and 1m", c.Dead, 3*c.Interval)
	case c.Address == "":
		return nil
	case c.Secret == "" && c.Mutual:
	case len(c.Secret) < minSecret:
		return fmt.Errorf("cluster.secret-file: holds %d bytes, at least %d are needed; or let certificates prove who is a member: peer.tls.client-ca-file", len(c.Secret), minSecret)
	}
	if host, _, err := net.SplitHostPort(c.Address); err != nil || host == "" {
		return fmt.Errorf("cluster.advertise: %q is not host:port", c.Address)
	}
	return nil
}

// Members is the part of the store that a cluster needs.
type Members interface {
	// Announce writes the member's row with the next beat, and returns all rows.
	Announce(ctx context.Context, m naming.Member) ([]naming.Member, error)
	// Remove removes a member's row unless its beat changed.
	Remove(ctx context.Context, m naming.Member) error
}

// Deps are what a cluster reads and tells.
type Deps struct {
	Members Members
	// Beat renews a lease that this server owns; false when there is none.
	Beat func(id string) bool
	// Moved is told that leases have other owners now.
	Moved func()
	// Hold is told when nothing may expire on this server, and when it may again.
	Hold func(hold bool, why string)
	// Hinted is told a revision that a peer spoke of.
	Hinted func(naming.Revision)
	// Dial is how other members are called; nil: in plain text.
	Dial credentials.TransportCredentials
	// Visible is the newest revision that this server shows.
	Visible func() naming.Revision
	Metrics prometheus.Registerer
	Log     *zap.Logger
}

// Cluster is this server's part in it.
type Cluster struct {
	cfg   Config
	deps  Deps
	meter meter
	clock func() time.Duration // monotonic
	ring  atomic.Pointer[ring]
	tell  *rate.Limiter // of refusals in the log: who is refused must not fill it

	mu    sync.Mutex // guards everything below
	view  *view
	peers map[string]*peer
	held  bool
	heard time.Duration // when the store last answered
}

// New makes a cluster of one; nothing happens before [Cluster.Run].
func New(cfg Config, d Deps) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	start := time.Now()
	c := &Cluster{
		cfg: cfg, deps: d, meter: newMeter(), clock: func() time.Duration { return time.Since(start) },
		view: newView(cfg.ID, cfg.Dead), peers: map[string]*peer{}, tell: rate.NewLimiter(1, 10),
	}
	if c.deps.Dial == nil {
		c.deps.Dial = insecure.NewCredentials()
	}
	c.ring.Store(newRing(cfg.ID, []naming.Member{{ID: cfg.ID}}))
	return c, c.meter.register(d.Metrics)
}

// Owns reports whether this server watches over the lease of an instance.
func (c *Cluster) Owns(id string) bool {
	r := c.ring.Load()
	return r.owner(id) == r.self
}

// Beat renews the lease of an instance wherever it is: here, or by the next
// message to its owner. It is false when there is no lease here.
func (c *Cluster) Beat(id string) bool {
	r := c.ring.Load()
	at := r.owner(id)
	if at == r.self {
		return c.deps.Beat(id)
	}
	c.mu.Lock()
	p := c.peers[r.ids[at]]
	c.mu.Unlock()
	if p == nil || !p.beat(id) {
		c.meter.lost.Inc()
	}
	return false
}

// Hint tells all peers that a revision exists.
func (c *Cluster) Hint(rev naming.Revision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		p.hint(rev)
	}
}

// Member is one server as this one sees it.
type Member struct {
	ID        string
	Address   string
	Self      bool
	Reachable bool // it answers this server; true of itself
}

// Members lists the live members.
func (c *Cluster) Members() []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Member
	for _, m := range c.view.live(c.clock()) {
		p := c.peers[m.ID]
		out = append(out, Member{ID: m.ID, Address: m.Address, Self: m.ID == c.cfg.ID, Reachable: m.ID == c.cfg.ID || p != nil && !p.deaf()})
	}
	return out
}

// Run takes part until ctx ends, and leaves then.
func (c *Cluster) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	peering, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	tick := time.NewTicker(c.cfg.Interval)
	defer tick.Stop()
	for {
		c.announce(ctx, func(p *peer) { wg.Go(func() { p.run(peering) }) })
		select {
		case <-ctx.Done():
			return c.leave(ctx)
		case <-tick.C:
		}
	}
}

// leave removes the own row, so that others take over at once.
func (c *Cluster) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Dead/2)
	defer cancel()
	c.mu.Lock()
	var own naming.Member
	if s := c.view.seen[c.cfg.ID]; s != nil {
		own = s.member
	}
	c.mu.Unlock()
	if own.ID == "" {
		return nil
	}
	if err := c.deps.Members.Remove(ctx, own); err != nil {
		c.deps.Log.Warn("could not leave the cluster; the others wait until this server is dead to them", zap.Error(err))
	}
	return nil
}

// announce writes the own row, reads the others', and draws the consequences.
func (c *Cluster) announce(ctx context.Context, start func(*peer)) {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.Dead/2)
	defer cancel()
	members, err := c.deps.Members.Announce(bounded, naming.Member{ID: c.cfg.ID, Address: c.cfg.Address, DeafTo: c.unreachable()})
	if ctx.Err() != nil {
		return
	}
	now := c.clock()
	if err != nil {
		c.meter.failed.Inc()
		c.deps.Log.Debug("the row of this server could not be written", zap.Error(err))
		c.judge(now)
		return
	}
	c.mu.Lock()
	gone := c.view.observe(now, members)
	c.heard = now
	live := c.view.live(now)
	moved := c.arrange(live, start)
	c.mu.Unlock()
	if moved {
		c.deps.Log.Info("members changed; leases have other owners", zap.Int("members", len(live)))
		c.deps.Moved()
	}
	c.judge(now)
	for _, m := range gone {
		if err := c.deps.Members.Remove(bounded, m); err != nil {
			c.deps.Log.Debug("the row of a dead server could not be removed", zap.String("member", m.ID), zap.Error(err))
		}
	}
}

// arrange makes peers and ring fit the live members, and reports whether
// leases moved. The caller holds mu.
func (c *Cluster) arrange(live []naming.Member, start func(*peer)) bool {
	want := addresses(c.cfg.ID, live)
	for id, p := range c.peers {
		if want[id] != p.address {
			p.stop()
			delete(c.peers, id)
		}
	}
	for id, address := range want {
		if c.peers[id] == nil {
			p := newPeer(c, id, address)
			c.peers[id] = p
			start(p)
		}
	}
	c.meter.members.Set(float64(len(live)))
	next := newRing(c.cfg.ID, live)
	if next.same(c.ring.Load()) {
		return false
	}
	c.ring.Store(next)
	return true
}

// unreachable lists the members that do not answer.
func (c *Cluster) unreachable() (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, p := range c.peers {
		if p.deaf() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// judge holds the leases while this server may be deaf, or does not know who
// else lives.
func (c *Cluster) judge(now time.Duration) {
	c.mu.Lock()
	why := ""
	switch deaf := c.view.deaf(now); {
	case now-c.heard > c.cfg.Dead:
		why = "the store does not say who else lives"
	case len(deaf) > 0:
		why = fmt.Sprintf("%d members cannot reach this server", len(deaf))
	}
	changed := c.held != (why != "")
	c.held = why != ""
	c.mu.Unlock()
	if changed {
		c.deps.Hold(why != "", why)
	}
}
