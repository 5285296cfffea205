package receipt

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"polestar/naming"
	"polestar/xds/access"
	"polestar/xds/ads"
	"polestar/xds/resource"
)

// MaxWaits is how many waits may run at one time.
const MaxWaits = 128

// Deps are what a [Desk] reads.
type Deps struct {
	// Revision is the newest published revision.
	Revision func() uint64
	// Await returns when a revision is in the cache that the streams send from.
	Await func(ctx context.Context, revision uint64) error
	// Touched lists the resources that a change of a service can touch.
	Touched func(naming.ServiceKey) []resource.Ref
	Streams Streams
	// Access says what a caller of the service may see; nil: everything.
	Access *access.Control
	// Ready reports whether the registry is loaded. Before, nobody could have
	// anything, and everybody would seem to have all.
	Ready   func() bool
	Metrics prometheus.Registerer
}

// Streams is what is known of the connected clients; *ads.Server is it.
type Streams interface {
	Watch() *ads.Watch
	Lag(id, revision uint64, refs []resource.Ref) (ads.Lag, bool)
}

// Desk hands out receipts.
type Desk struct {
	Deps
	meter meter
	turn  chan struct{} // holds one value while a wait looks at a stream

	mu       sync.Mutex // guards everything below
	stopping bool
	waits    map[*wait]context.CancelFunc
	running  sync.WaitGroup
}

// New makes a desk; it starts nothing.
func New(d Deps) (*Desk, error) {
	if d.Access == nil {
		d.Access = access.Open()
	}
	k := &Desk{Deps: d, meter: newMeter(), turn: make(chan struct{}, 1), waits: map[*wait]context.CancelFunc{}}
	if err := k.meter.register(d.Metrics); err != nil {
		return nil, err
	}
	return k, nil
}

// Run waits for the end of ctx, ends all waits and returns when they have
// returned.
func (d *Desk) Run(ctx context.Context) error {
	<-ctx.Done()
	d.mu.Lock()
	d.stopping = true
	for _, cancel := range d.waits {
		cancel()
	}
	d.mu.Unlock()
	d.running.Wait()
	return nil
}

// Wait returns when every client that the request concerns has its revision,
// when one of them refused it for good, or when the time is up. Errors:
// Invalid, Overloaded when MaxWaits others wait, NotReady when the server
// starts or stops, and the error of ctx.
func (d *Desk) Wait(ctx context.Context, r Request) (Receipt, error) {
	if err := r.validate(); err != nil {
		return Receipt{}, err
	}
	if !d.Ready() {
		return Receipt{}, naming.Errorf(naming.NotReady, "", "the server is starting: it has not loaded its store yet")
	}
	if r.Revision == 0 {
		r.Revision = d.Revision()
	}
	bounded, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	w := &wait{Request: r, desk: d, streams: map[uint64]*stream{}, present: map[string]int{}}
	if err := d.enter(w, cancel); err != nil {
		return Receipt{}, err
	}
	defer d.leave(w)
	w.run(bounded)
	switch {
	case ctx.Err() != nil:
		return Receipt{}, ctx.Err()
	case d.stops():
		return Receipt{}, errStopping()
	}
	out := w.receipt()
	d.meter.ended(out.Converged)
	return out, nil
}

func errStopping() error {
	return naming.Errorf(naming.NotReady, "", "the server is stopping; ask again")
}

func (d *Desk) enter(w *wait, cancel context.CancelFunc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.stopping:
		return errStopping()
	case len(d.waits) >= MaxWaits:
		d.meter.refused.Inc()
		return naming.Errorf(naming.Overloaded, "", "%d others wait already; ask again later", len(d.waits))
	}
	d.waits[w] = cancel
	d.running.Add(1)
	d.meter.waits.Inc()
	return nil
}

func (d *Desk) leave(w *wait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waits, w)
	d.running.Done()
	d.meter.waits.Dec()
}

func (d *Desk) stops() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}
