package cluster

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"polestar/naming"
	"polestar/proto/peerpb"
)

const (
	maxBeats    = 100_000 // that wait for one peer; the oldest go first
	maxTell     = 2_000   // beats in one message
	beatWait    = 50 * time.Millisecond
	tellTimeout = time.Second
	// secretKey is the metadata that proves a member.
	secretKey = "polestar-cluster-secret"
)

// peer is another member, and what it is to be told.
type peer struct {
	cluster *Cluster
	id      string
	address string
	wake    chan struct{} // buffered 1
	ended   chan struct{} // closed by stop: it is no member any more
	stop    func()

	mu       sync.Mutex // guards everything below
	revision naming.Revision
	beats    map[string]struct{}
	failing  int // calls that failed in a row
}

func newPeer(c *Cluster, id, address string) *peer {
	p := &peer{
		cluster: c, id: id, address: address, wake: make(chan struct{}, 1), ended: make(chan struct{}), beats: map[string]struct{}{},
	}
	p.stop = sync.OnceFunc(func() { close(p.ended) })
	return p
}

// beat queues one; false when the queue is full.
func (p *peer) beat(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.beats) >= maxBeats {
		return false
	}
	p.beats[id] = struct{}{}
	p.poke()
	return true
}

func (p *peer) hint(rev naming.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revision = max(p.revision, rev)
	p.poke()
}

func (p *peer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// deaf reports whether the peer does not answer.
func (p *peer) deaf() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failing >= 2
}

// run tells the peer what is new until ctx or its membership ends. A hint goes
// at once; beats gather a little. Without news it asks once per interval
// whether the peer is there.
func (p *peer) run(ctx context.Context) {
	conn, err := grpc.NewClient("passthrough:///"+p.address, grpc.WithTransportCredentials(p.cluster.deps.Dial))
	if err != nil {
		p.cluster.deps.Log.Error("peer", zap.String("address", p.address), zap.Error(err))
		return
	}
	defer func() { _ = conn.Close() }()
	client := peerpb.NewPeerServiceClient(conn)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.ended:
			return
		case <-p.wake:
			if p.onlyBeats() {
				timer.Reset(beatWait)
				if !p.gather(ctx, timer) {
					return
				}
			}
		case <-timer.C:
		}
		if p.tell(ctx, client) {
			p.poke() // there is more
		}
		timer.Reset(p.cluster.cfg.Interval)
	}
}

// gather waits for more beats, or for a hint.
func (p *peer) gather(ctx context.Context, timer *time.Timer) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-p.ended:
			return false
		case <-timer.C:
			return true
		case <-p.wake:
			if !p.onlyBeats() {
				return true
			}
		}
	}
}

func (p *peer) onlyBeats() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.revision == 0 && len(p.beats) < maxTell
}

// tell sends one message, and reports whether there is more to send.
func (p *peer) tell(ctx context.Context, client peerpb.PeerServiceClient) bool {
	in := &peerpb.TellRequest{From: p.cluster.cfg.ID}
	p.mu.Lock()
	in.Revision, p.revision = uint64(p.revision), 0
	for id := range p.beats {
		if len(in.Beats) == maxTell {
			break
		}
		in.Beats = append(in.Beats, id)
		delete(p.beats, id)
	}
	p.mu.Unlock()
	if secret := p.cluster.cfg.Secret; secret != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, secretKey, secret)
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	out, err := client.Tell(ctx, in)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.failing++; p.failing == 2 {
			p.cluster.deps.Log.Warn("a member does not answer", zap.String("address", p.address), zap.Error(err))
		}
		p.cluster.meter.failed.Inc()
		for _, id := range in.Beats { // once more with the next message
			if len(p.beats) < maxBeats {
				p.beats[id] = struct{}{}
			}
		}
		return false
	}
	if p.failing >= 2 {
		p.cluster.deps.Log.Info("a member answers again", zap.String("address", p.address))
	}
	p.failing = 0
	p.cluster.meter.forwarded.Add(float64(len(in.Beats)))
	if rev := naming.Revision(out.GetRevision()); rev > p.cluster.deps.Visible() {
		p.cluster.deps.Hinted(rev)
	}
	return len(p.beats) > 0 || p.revision != 0
}
