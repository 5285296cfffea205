package cleanup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
)

// Admin removes objects; *naming.Registrar fits.
type Admin interface {
	Remove(ctx context.Context, w naming.Deregister) (naming.Result, error)
	DeleteService(ctx context.Context, w naming.DeleteService) (naming.Result, error)
	DropOverride(ctx context.Context, w naming.DropOverride) (naming.Result, error)
}

// ChangeLog tells when a revision was committed; store.Feed fits.
type ChangeLog interface {
	Since(ctx context.Context, after naming.Revision, limit int) ([]naming.Commit, error)
	Before(ctx context.Context, before naming.Revision, limit int) ([]naming.Commit, error)
	Oldest(ctx context.Context) (naming.Revision, error)
}

// Rows removes the rows of deleted objects; store.Purger fits.
type Rows interface {
	Purgeable(ctx context.Context, age time.Duration) (int, error)
	Purge(ctx context.Context, by naming.Fence, age time.Duration, limit int) (int, error)
}

// Deps are what the jobs call.
type Deps struct {
	World     naming.Snapshots
	Admin     Admin
	ChangeLog ChangeLog
	// Silent reports whether this server watches over an instance's lease and
	// has not been beaten for it in time.
	Silent func(id string) bool
	// Hold says why nothing may be removed now; empty when it may.
	Hold func() string
	// On a shared store; nil on one of this server alone.
	Rows Rows
	// Lead is what writes of a job that runs once for the whole cluster must
	// carry; false while another server runs it.
	Lead func() (naming.Fence, bool)
	// Fenced is Admin with a fence around each write.
	Fenced func(naming.Fence) Admin

	Metrics prometheus.Registerer
	Log     *zap.Logger
}

// Cleaner runs the jobs.
type Cleaner struct {
	cfg     Config
	deps    Deps
	removed *prometheus.CounterVec
	turn    chan struct{} // holds one token: one run at a time

	mu      sync.Mutex // guards everything below
	started time.Time  // zero before Run
	last    map[Job]Report
}

// Report is what one run of a job did, or would do.
type Report struct {
	Job     Job
	DryRun  bool
	At      time.Time
	Age     time.Duration
	Held    string // why nothing was removed, or would be now
	Removed int
	Rows    int    // of deleted objects, that a dry run found
	Kept    int    // changed meanwhile, and so not old any more
	More    bool   // there is more than one run removes
	Err     error  // what ended the run before its end
	Items   []Item // at most Config.MaxPerRun
}

// Item is one object that a run found.
type Item struct {
	Subject naming.Subject
	Since   naming.Micros // since when it is as it is, at the latest
	Outcome string        // found, removed or kept

	revision naming.Revision // of the object itself
	touched  naming.Revision // of a service: of it or its instances
}

// The outcomes of an [Item].
const (
	Found   = "found"   // by a dry run, or the run ended before its turn
	Removed = "removed" // it is gone
	Kept    = "kept"    // it had changed
)

// New makes a Cleaner; nothing is removed before [Cleaner.Run].
func New(cfg Config, d Deps) (*Cleaner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Cleaner{
		cfg: cfg, deps: d, turn: make(chan struct{}, 1), last: map[Job]Report{},
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polestar_cleanup_removed_total", Help: "Objects that clean-up jobs removed.",
		}, []string{"job"}),
	}
	for _, job := range Jobs() {
		c.removed.WithLabelValues(string(job))
	}
	return c, d.Metrics.Register(c.removed)
}

// Run runs the jobs that are on, every Config.Interval, until ctx ends.
func (c *Cleaner) Run(ctx context.Context) error {
	c.mu.Lock()
	c.started = time.Now()
	c.mu.Unlock()
	tick := time.NewTicker(c.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, job := range c.jobs() {
			r := Request{Job: job}
			if c.cfg.age(job) == 0 || ctx.Err() != nil || !c.mine(&r) {
				continue
			}
			out, err := c.Do(ctx, r)
			c.tell(job, out, err)
		}
	}
}

// jobs lists those that there is something to do for.
func (c *Cleaner) jobs() []Job {
	if c.deps.Rows == nil {
		return slices.DeleteFunc(Jobs(), func(j Job) bool { return j == DeletedRows })
	}
	return Jobs()
}

// mine reports whether this server runs a job by itself, and puts the fence into
// the request.
func (c *Cleaner) mine(r *Request) (yes bool) {
	if c.deps.Lead == nil || !r.Job.once() {
		return true
	}
	r.fence, yes = c.deps.Lead()
	return yes
}

// tell logs a scheduled run.
func (c *Cleaner) tell(job Job, r Report, err error) {
	log := c.deps.Log.With(zap.String("job", string(job)))
	switch {
	case err != nil:
		log.Info("clean-up did not run", zap.Error(err))
	case r.Err != nil:
		log.Warn("clean-up ended early", zap.Int("removed", r.Removed), zap.Error(r.Err))
	case r.Removed > 0 || r.Kept > 0:
		log.Info("clean-up removed what nobody needs", zap.Int("removed", r.Removed), zap.Int("kept", r.Kept), zap.Bool("more", r.More))
	}
}

// Request asks for one run of a job.
type Request struct {
	Job    Job
	Age    time.Duration // how old things must be; 0: as configured
	DryRun bool          // find, but remove nothing
	Actor  naming.Actor  // who asks; zero: the server itself

	fence naming.Fence // zero: somebody asks for this very run
}

// Do runs a job once. Errors: Invalid for an unknown job, one that is off and
// gets no age, or an age out of bounds; Conflict while another run goes on, or
// while nothing may be removed. A dry run says the latter in its report.
func (c *Cleaner) Do(ctx context.Context, r Request) (Report, error) {
	age, err := c.check(r)
	if err != nil {
		return Report{}, err
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	default:
		return Report{}, naming.Errorf(naming.Conflict, "job", "another run of a clean-up job is not over yet")
	}
	out := Report{Job: r.Job, DryRun: r.DryRun, At: time.Now(), Age: age}
	if r.Job != DeletedRows { // what is deleted does not come back by waiting
		out.Held = c.held()
	}
	if out.Held != "" && !r.DryRun {
		return out, naming.Errorf(naming.Conflict, "job", "nothing is removed now: %s", out.Held)
	}
	if r.Job == DeletedRows {
		c.purge(ctx, &out, r.fence)
	} else if out.Items, out.More, out.Err = c.find(ctx, r.Job, out.At.Add(-age)); out.Err == nil && !r.DryRun {
		c.remove(ctx, &out, &r)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last[r.Job] = out
	return out, nil
}

// check returns how old things must be.
func (c *Cleaner) check(r Request) (time.Duration, error) {
	switch age := r.Age; {
	case !slices.Contains(Jobs(), r.Job):
		return 0, naming.Errorf(naming.Invalid, "job", "job: %.64q is none of %v", r.Job, Jobs())
	case !slices.Contains(c.jobs(), r.Job):
		return 0, naming.Errorf(naming.Invalid, "job", "job: this server's store keeps nothing of what was deleted")
	case age == 0 && c.cfg.age(r.Job) == 0:
		return 0, naming.Errorf(naming.Invalid, "older_than", "older_than: the job %s is off (cleanup.%s), so it must be told how old things must be", r.Job, r.Job)
	case age == 0:
		return c.cfg.age(r.Job), nil
	case age < minAge || age > maxAge:
		return 0, naming.Errorf(naming.Invalid, "older_than", "older_than: %s is not between 1m and 87600h", age)
	default:
		return age, nil
	}
}

// held says why nothing may be removed now.
func (c *Cleaner) held() string {
	c.mu.Lock()
	started := c.started
	c.mu.Unlock()
	if up := time.Since(started); started.IsZero() || up < c.cfg.Settle {
		return fmt.Sprintf("the server started less than %s ago, and clients may still be coming back", c.cfg.Settle)
	}
	return c.deps.Hold()
}

// remove removes what was found, one object after the other: a clean-up is
// never in a hurry.
func (c *Cleaner) remove(ctx context.Context, r *Report, q *Request) {
	admin := c.deps.Admin
	if q.fence.Duty != "" {
		admin = c.deps.Fenced(q.fence)
	}
	for n := range r.Items {
		i := &r.Items[n]
		if r.Held = c.held(); r.Held != "" {
			r.Err = naming.Errorf(naming.Conflict, "job", "stopped: %s", r.Held)
			return
		}
		outcome, err := c.removeOne(ctx, admin, r.Job, i, q.Actor)
		switch kind := naming.KindOf(err); {
		case err != nil && kind != naming.Conflict, overtaken(err):
			r.Err = err
			return
		case err == nil && outcome == naming.Deleted:
			i.Outcome = Removed
			r.Removed++
			c.removed.WithLabelValues(string(r.Job)).Inc()
		default: // it changed, or another server was faster
			i.Outcome = Kept
			r.Kept++
		}
	}
}

// overtaken reports whether another server runs the job by now.
func overtaken(err error) bool {
	e, ok := errors.AsType[*naming.Error](err)
	return ok && e.Field == naming.FieldEpoch
}

func (c *Cleaner) removeOne(ctx context.Context, admin Admin, job Job, i *Item, actor naming.Actor) (naming.Outcome, error) {
	since := time.UnixMicro(int64(i.Since)).UTC().Format(time.RFC3339)
	var res naming.Result
	var err error
	switch job {
	case UnhealthyInstances:
		if !c.deps.Silent(i.Subject.ID) {
			return naming.Unchanged, nil // it has been heard since
		}
		res, err = admin.Remove(ctx, naming.Deregister{
			ID: i.Subject.ID, Service: i.Subject.Service, If: i.revision, Actor: actor, Cause: naming.CauseCleanup,
			Reason: "unhealthy since " + since,
		})
	case EmptyServices:
		if st := c.deps.World.World().Service(i.Subject.Service); st == nil || st.Revision != i.touched {
			return naming.Unchanged, nil // an instance came, and perhaps went, since
		}
		res, err = admin.DeleteService(ctx, naming.DeleteService{
			Key: i.Subject.Service, Auto: true, If: i.revision, Actor: actor, Cause: naming.CauseCleanup, Reason: "empty since " + since,
		})
	case Overrides:
		res, err = admin.DropOverride(ctx, naming.DropOverride{
			ID: i.Subject.ID, If: i.revision, Actor: actor, Cause: naming.CauseCleanup, Reason: "its instance is away since " + since,
		})
	case DeletedRows: // are no objects; purge removes them
	}
	return res.Outcome, err
}

// Status is one job and its last run.
type Status struct {
	Job  Job
	Age  time.Duration // 0: off
	Last *Report       // nil: none yet
}

// Interval is the time between two runs.
func (c *Cleaner) Interval() time.Duration { return c.cfg.Interval }

// Held says why nothing may be removed now; empty when it may.
func (c *Cleaner) Held() string { return c.held() }

// Status lists the jobs.
func (c *Cleaner) Status() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Status
	for _, job := range c.jobs() {
		s := Status{Job: job, Age: c.cfg.age(job)}
		if last, ran := c.last[job]; ran {
			s.Last = &last
		}
		out = append(out, s)
	}
	return out
}
