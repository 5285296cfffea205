package audit

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/auth"
	"polestar/naming"
)

// The bounds of what is kept until it is written.
const (
	// interval is between two writings; what comes after a quiet time is written
	// at once.
	interval = 10 * time.Second
	// perRecord is how long a writing of many records keeps the next one waiting
	// for each: 28,800 of them a day, about 28 MB at most.
	perRecord = 3 * time.Second
	// maxDetailed bounds the kinds of refusals that wait in full. Of more, only
	// where they came from and why is kept, up to maxPending kinds; of still more,
	// nothing but why and how many. The change log is bounded: who is refused must
	// not be able to push out what others did.
	maxDetailed = 50
	maxPending  = naming.MaxRefusals // which share a commit
	// patience bounds one writing, and the last one when the server stops.
	patience = 2 * time.Second
)

// Deps are what a recorder calls.
type Deps struct {
	// Write makes refusals durable, at most naming.MaxRefusals at once.
	Write   func(ctx context.Context, all []naming.Refusal) error
	Now     func() time.Time
	Metrics prometheus.Registerer
	Log     *zap.Logger
}

// Recorder gathers refusals and writes them.
type Recorder struct {
	deps  Deps
	meter meter
	wake  chan struct{} // one slot: something waits

	mu      sync.Mutex // guards everything below
	pending map[auth.Refusal]*naming.Refusal
}

type meter struct {
	refusals prometheus.Counter
	lost     prometheus.Counter
}

// New makes a recorder. Error: a metric of that name exists.
func New(d Deps) (*Recorder, error) {
	r := &Recorder{deps: d, wake: make(chan struct{}, 1), pending: map[auth.Refusal]*naming.Refusal{}}
	r.meter.refusals = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "polestar_audit_refusals_total", Help: "Requests that were refused for who sent them.",
	})
	r.meter.lost = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "polestar_audit_lost_total", Help: "Refusals that were counted but not recorded: too many kinds waited, or the store was away at the end.",
	})
	for _, c := range []prometheus.Collector{r.meter.refusals, r.meter.lost} {
		if err := d.Metrics.Register(c); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Refused takes note of a refusal.
func (r *Recorder) Refused(f auth.Refusal) {
	// Tokens of one principal, and who created what, make no kinds of their own.
	f.Principal = auth.Principal{ID: f.Principal.ID, Name: f.Principal.Name}
	f.Resource.NamespaceCreator, f.Resource.ServiceCreator = "", ""
	r.meter.refusals.Inc()
	now := naming.Micros(r.deps.Now().UnixMicro())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending[f] == nil && len(r.pending) >= maxDetailed {
		f = auth.Refusal{Address: f.Address, Reason: f.Reason}
	}
	if r.pending[f] == nil && len(r.pending) >= maxPending-int(auth.Forbidden) {
		f = auth.Refusal{Reason: f.Reason} // of which there is room for each
	}
	if one := r.pending[f]; one != nil {
		one.Count++
		one.Last = now
		return
	}
	if len(r.pending) >= maxPending {
		r.meter.lost.Inc()
		return
	}
	r.pending[f] = &naming.Refusal{
		Principal: f.Principal.Name, Address: f.Address, Action: string(f.Action),
		Service: naming.ServiceKey{Namespace: f.Resource.Namespace, Name: f.Resource.Service},
		Reason:  f.Reason.String(), Method: f.Method, Count: 1, First: now, Last: now,
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends, and then what is left.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		select {
		case <-r.wake:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			if _, left := r.write(last); left > 0 {
				r.meter.lost.Add(float64(left))
			}
			return nil
		}
		records, left := r.write(ctx)
		if left > 0 { // the store is away: try again later
			select {
			case r.wake <- struct{}{}:
			default:
			}
		}
		pause := time.NewTimer(max(interval, time.Duration(records)*perRecord))
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// write writes what waits, in the order in which it first happened. It returns
// how many records it wrote, and how many refusals still wait because that
// failed.
func (r *Recorder) write(ctx context.Context) (records, left int) {
	r.mu.Lock()
	taken := r.pending
	r.pending = map[auth.Refusal]*naming.Refusal{}
	r.mu.Unlock()
	kinds := make([]auth.Refusal, 0, len(taken))
	for kind := range taken {
		kinds = append(kinds, kind)
	}
	slices.SortFunc(kinds, func(a, b auth.Refusal) int {
		if c := int64(taken[a].First - taken[b].First); c != 0 {
			return int(c)
		}
		return compare(a, b)
	})
	for group := range slices.Chunk(kinds, naming.MaxRefusals) {
		all := make([]naming.Refusal, 0, len(group))
		for _, kind := range group {
			all = append(all, *taken[kind])
		}
		bounded, cancel := context.WithTimeout(ctx, patience)
		err := r.deps.Write(bounded, all)
		cancel()
		if err != nil {
			r.deps.Log.Warn("refusals could not be recorded yet", zap.Int("kinds", len(group)), zap.Error(err))
			left += r.putBack(group, taken)
			continue
		}
		records += len(group)
	}
	return records, left
}

// putBack lets refusals wait again, together with what came meanwhile.
func (r *Recorder) putBack(kinds []auth.Refusal, taken map[auth.Refusal]*naming.Refusal) (left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, kind := range kinds {
		old := taken[kind]
		switch now := r.pending[kind]; {
		case now != nil:
			now.Count += old.Count
			now.First = old.First
		case len(r.pending) >= maxPending:
			r.meter.lost.Add(float64(old.Count))
			continue
		default:
			r.pending[kind] = old
		}
		left += int(min(old.Count, 1<<30))
	}
	return left
}

func compare(a, b auth.Refusal) int {
	return cmp.Or(strings.Compare(a.Principal.Name, b.Principal.Name), strings.Compare(a.Address, b.Address),
		strings.Compare(a.Method, b.Method), strings.Compare(string(a.Action), string(b.Action)),
		strings.Compare(a.Resource.Namespace, b.Resource.Namespace), strings.Compare(a.Resource.Service, b.Resource.Service),
		cmp.Compare(a.Reason, b.Reason))
}
