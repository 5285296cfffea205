package cleanup

import (
	"context"
	"time"

	"polestar/naming"
)

// find lists what a job would remove: what has been as it is since before a
// time. It stops when it has as much as one run removes, and says whether
// there is more.
func (c *Cleaner) find(ctx context.Context, job Job, before time.Time) (items []Item, more bool, err error) {
	world, limit := c.deps.World.World(), naming.Micros(before.UnixMicro())
	log := ages{log: c.deps.ChangeLog}
	// add takes a candidate; false ends the search.
	add := func(o naming.Object, touched naming.Revision, since naming.Micros) bool {
		if since > limit {
			return true
		}
		if more = len(items) == c.cfg.MaxPerRun; more {
			return false
		}
		items = append(items, Item{Subject: naming.SubjectOf(o), Since: since, Outcome: Found, revision: o.ObjectRevision(), touched: touched})
		return true
	}
	// addAt takes a candidate that is as it is since a revision.
	addAt := func(o naming.Object, rev naming.Revision) bool {
		since, known, failed := log.since(ctx, rev)
		if failed != nil {
			err = failed
			return false
		}
		return !known || add(o, rev, since)
	}
	switch job {
	case UnhealthyInstances:
		c.unhealthy(ctx, world, add)
	case EmptyServices:
		empty(ctx, world, addAt)
	case Overrides:
		for o := range world.Overrides() {
			if ctx.Err() != nil || !addAt(o, o.Revision) {
				break
			}
		}
	case DeletedRows: // are no objects; purge removes them
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return items, more, err
}

// unhealthy walks the instances that lost their leases and were not changed
// since.
func (c *Cleaner) unhealthy(ctx context.Context, world naming.World, add func(naming.Object, naming.Revision, naming.Micros) bool) {
	for st := range world.Services("") {
		for _, i := range st.Instances {
			// Without a TTL unhealthy is what its client says of itself.
			if !i.Healthy && i.TTL > 0 && i.Operator == nil && c.deps.Silent(i.ID) && !add(i, i.Revision, i.Modified) {
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// empty walks the services that nobody touched and nothing belongs to.
func empty(ctx context.Context, world naming.World, addAt func(naming.Object, naming.Revision) bool) {
	for st := range world.Services("") {
		if !st.Service.Auto || len(st.Instances) > 0 || hasAlias(world, st.Service.Key) {
			continue
		}
		// The state's revision is that of the last instance that went.
		if ctx.Err() != nil || !addAt(st.Service, st.Revision) {
			return
		}
	}
}

func hasAlias(world naming.World, key naming.ServiceKey) bool {
	for range world.AliasesOf(key) {
		return true
	}
	return false
}

// ages tells when revisions were committed.
type ages struct {
	log    ChangeLog
	asked  bool          // whether oldest is known
	oldest naming.Micros // time of the oldest record; 0: there is none
}

// since is when a revision was committed. One that the log does not have any
// more is at least as old as what it has; without any record nothing is known.
func (a *ages) since(ctx context.Context, rev naming.Revision) (naming.Micros, bool, error) {
	commits, err := a.log.Before(ctx, rev+1, 1)
	switch {
	case err != nil:
		return 0, false, err
	case len(commits) > 0 && commits[0].Revision == rev:
		return commits[0].Time, true, nil
	case a.asked:
		return a.oldest, a.oldest != 0, nil
	}
	first, err := a.log.Oldest(ctx)
	if err != nil || first == 0 {
		return 0, false, err
	}
	commits, err = a.log.Since(ctx, first-1, 1)
	if err != nil || len(commits) == 0 {
		return 0, false, err
	}
	a.asked, a.oldest = true, commits[0].Time
	return a.oldest, true, nil
}
