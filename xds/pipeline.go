package xds

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/registry"
	"polestar/xds/cache"
	"polestar/xds/resource"
)

// Deps are what the pipeline follows and reports to.
type Deps struct {
	Registry *registry.Registry
	Metrics  prometheus.Registerer
	Log      *zap.Logger
}

// Pipeline keeps the cache of resources as new as the registry.
type Pipeline struct {
	Deps
	cache *cache.Cache
	meter meter

	byName map[naming.ServiceKey]bool // services found by DNS; only Run's goroutine

	mu       sync.Mutex // guards both
	problems map[resource.Form][]resource.Problem
	swept    int // forms with problems when those were swept that nobody watches

	progress  sync.Mutex             // guards everything below
	sub       *registry.Subscription // nil while the pipeline does not run
	busy      bool                   // something taken is not in the cache yet
	refreshed naming.Revision
	advanced  chan struct{} // closed at the next progress; nil while nobody waits
}

// New makes a pipeline with an empty cache; nothing happens before
// [Pipeline.Run].
func New(d Deps) (*Pipeline, error) {
	p := &Pipeline{Deps: d, meter: newMeter(), byName: map[naming.ServiceKey]bool{}, problems: map[resource.Form][]resource.Problem{}}
	p.cache = cache.New(p)
	if err := p.meter.register(d.Metrics); err != nil {
		return nil, err
	}
	return p, nil
}

// Cache is what streams subscribe to.
func (p *Pipeline) Cache() *cache.Cache { return p.cache }

// Revision is the newest published revision.
func (p *Pipeline) Revision() uint64 { return uint64(p.Registry.World().Revision()) }

// Refreshed is a revision whose changes, and all earlier ones, are in the cache
// and marked at the streams that they concern. It lags behind [Pipeline.Revision]
// by the time of a rebuild.
func (p *Pipeline) Refreshed() uint64 {
	p.progress.Lock()
	defer p.progress.Unlock()
	if p.sub != nil && !p.busy {
		if r, settled := p.sub.Settled(); settled {
			p.refreshed = r
		}
	}
	return uint64(p.refreshed)
}

// Await returns when [Pipeline.Refreshed] has reached a revision, with nil, or
// when ctx ends, with its error.
func (p *Pipeline) Await(ctx context.Context, rev uint64) error {
	if err := p.Registry.Await(ctx, naming.Revision(rev)); err != nil {
		return err
	}
	for {
		p.progress.Lock()
		if p.advanced == nil {
			p.advanced = make(chan struct{})
		}
		advanced := p.advanced
		p.progress.Unlock()
		if p.Refreshed() >= rev {
			return nil
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maxRest bounds how long the pipeline rests after a rebuild.
const maxRest = 100 * time.Millisecond

// Run follows the registry until ctx ends. After a rebuild it rests for as
// long as that took: a change of endpoints takes microseconds and delays
// nothing, while thousands of new services in a row, each of which touches the
// one table of routes, gather into few rebuilds.
func (p *Pipeline) Run(ctx context.Context) error {
	sub := p.Registry.Subscribe()
	defer sub.Close()
	p.follow(sub)
	defer p.follow(nil)
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-rest.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-sub.Wake():
		}
		began := time.Now()
		p.advance(sub)
		rest.Reset(min(time.Since(began), maxRest))
	}
}

func (p *Pipeline) follow(sub *registry.Subscription) {
	p.progress.Lock()
	defer p.progress.Unlock()
	p.sub = sub
	p.tell()
}

// tell wakes those who wait for progress. p.progress is held.
func (p *Pipeline) tell() {
	if p.advanced != nil {
		close(p.advanced)
		p.advanced = nil
	}
}

// advance takes what changed and puts it into the cache.
func (p *Pipeline) advance(sub *registry.Subscription) {
	p.progress.Lock()
	changed := sub.Take()
	revision, settled := sub.Settled()
	p.busy = true
	p.progress.Unlock()

	p.refresh(changed)

	p.progress.Lock()
	defer p.progress.Unlock()
	p.busy = false
	if settled {
		p.refreshed = revision
	}
	p.tell()
}

// refresh rebuilds what the changed services can have touched.
func (p *Pipeline) refresh(changed map[naming.ServiceKey]bool) {
	timer := prometheus.NewTimer(p.meter.rebuild)
	defer timer.ObserveDuration()
	world := p.Registry.World()
	changed = resource.WithAliases(world, changed)
	keys := slices.SortedFunc(maps.Keys(changed), naming.ServiceKey.Compare)
	seen := map[resource.Ref]bool{}
	var refs []resource.Ref
	add := func(more []resource.Ref) {
		for _, r := range more {
			if !seen[r] {
				seen[r] = true
				refs = append(refs, r)
			}
		}
	}
	membership := false
	for _, key := range keys {
		add(resource.Affected(key, changed[key]))
		if p.findsByName(world, key) {
			add(resource.ClusterRefs(key))
		}
		membership = membership || changed[key]
	}
	if membership {
		add(p.namedOtherwise(changed))
	}
	p.cache.Refresh(refs)
}

// Touched lists the resources that a change of a service can touch: under their
// canonical names, and under those that somebody watches.
func (p *Pipeline) Touched(key naming.ServiceKey) []resource.Ref {
	changed := resource.WithAliases(p.Registry.World(), map[naming.ServiceKey]bool{key: true})
	refs := resource.Affected(key, true)
	more := p.namedOtherwise(changed)
	for alias := range changed {
		more = append(more, resource.Affected(alias, true)...)
	}
	for _, r := range more {
		if !slices.Contains(refs, r) {
			refs = append(refs, r)
		}
	}
	return refs
}

// findsByName reports whether the instances of a service are in its cluster, or
// were when it was looked at last.
func (p *Pipeline) findsByName(w naming.World, key naming.ServiceKey) bool {
	was := p.byName[key]
	st := w.Service(key)
	if st != nil && resource.ByName(st) {
		p.byName[key] = true
		return true
	}
	delete(p.byName, key)
	return was
}

// namedOtherwise lists the watched listeners that stand for a changed service
// under a name that is not one of its canonical ones (a port at the end, dots
// on both sides). It costs a look-up per listener that gRPC clients hold,
// whatever those are called.
func (p *Pipeline) namedOtherwise(changed map[naming.ServiceKey]bool) []resource.Ref {
	targets := map[string]struct{}{}
	for key, membership := range changed {
		if !membership {
			continue
		}
		for _, name := range resource.Targets(key) {
			targets[name] = struct{}{}
		}
	}
	var out []resource.Ref
	for _, name := range p.cache.Names(resource.Listener) {
		_, stands := targets[name]
		if !stands {
			_, stands = targets[resource.WithoutPort(name)]
		}
		if stands {
			out = append(out, resource.Ref{Type: resource.Listener, Name: name})
		}
	}
	return out
}

// Build implements cache.Builder on the newest world.
func (p *Pipeline) Build(f resource.Form) *resource.Resource {
	r, problems, err := resource.Rebuild(p.Registry.World(), f, p.cache.Current(f))
	if err != nil {
		// Never published: clients keep the last good form.
		p.meter.refused.WithLabelValues(f.Type.String()).Inc()
		p.Log.Error("a resource failed validation and is not published",
			zap.Stringer("type", f.Type), zap.String("name", f.Name), zap.Error(err))
		if old := p.cache.Current(f); old != nil {
			return old
		}
		return nil
	}
	p.note(f, problems)
	return r
}

// Sharing implements cache.Builder.
func (p *Pipeline) Sharing(t resource.Type, name string) resource.Sharing {
	return resource.SharingOf(p.Registry.World(), t, name)
}

// Names implements cache.Builder.
func (p *Pipeline) Names(t resource.Type, s resource.Scope) []string {
	return resource.Names(p.Registry.World(), t, s)
}

// note keeps the newest problems of a resource, so that an operator can see
// what was left out and why.
func (p *Pipeline) note(key resource.Form, problems []resource.Problem) {
	if p.keep(key, problems) {
		p.sweep(key)
	}
}

// sweep forgets the problems of forms that nobody watches any more, but for one
// that is being built.
func (p *Pipeline) sweep(but resource.Form) {
	p.mu.Lock()
	all := slices.Collect(maps.Keys(p.problems))
	p.mu.Unlock()
	for _, key := range all {
		if key != but && p.cache.Current(key) == nil {
			p.keep(key, nil)
		}
	}
	p.mu.Lock()
	p.swept = len(p.problems)
	p.mu.Unlock()
}

// minSwept is the number of forms with problems from which it is worth to sweep.
const minSwept = 1024

// keep reports whether there are so many that they should be swept.
func (p *Pipeline) keep(key resource.Form, problems []resource.Problem) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.problems[key]
	if slices.Equal(before, problems) {
		return false
	}
	if len(problems) == 0 {
		delete(p.problems, key)
	} else {
		p.problems[key] = problems
		p.Log.Warn("left out of xDS", zap.Stringer("type", key.Type), zap.String("name", key.Name),
			zap.Int("count", len(problems)), zap.Any("first", problems[0]))
	}
	p.meter.problems.Add(float64(len(problems) - len(before)))
	return len(p.problems) > max(minSwept, 2*p.swept)
}

// Problems lists what was left out of the resources that are watched, and why.
func (p *Pipeline) Problems() map[resource.Form][]resource.Problem {
	p.mu.Lock()
	all := maps.Clone(p.problems)
	p.mu.Unlock()
	for key := range all {
		if p.cache.Current(key) == nil { // nobody watches it any more
			delete(all, key)
			p.keep(key, nil)
		}
	}
	return all
}
