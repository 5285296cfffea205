package store

import (
	"context"
	"time"

	"polestar/naming"
)

// Writer changes the stored world.
type Writer interface {
	// Apply decides a group of writes inside one transaction (naming.Plan on
	// the state there) and commits it as the next revision, with its record in
	// the change log. All of the commit is stored or nothing; on return it has
	// been synced to disk. A group that changes nothing stores nothing and has
	// revision 0.
	//
	// A write that is refused has its Err in its result; its neighbours are
	// done. An error of kind StoreFailed or Internal means that nothing was
	// done; OutcomeUnknown means that the group may have been stored or not,
	// as a whole. A context that ended before the transaction began: NotDone.
	Apply(ctx context.Context, writes []naming.Write) (naming.Commit, []naming.Result, error)
}

// Loader reads the whole stored world.
type Loader interface {
	// Load visits every object, and for each service the last revision that
	// touched it, all as of the one revision that it returns, which is on the disk
	// then. An error of a visitor ends it and is returned.
	Load(ctx context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error)
}

// Scanner reads the whole stored world beside its writers; only backends that
// several servers can share have it.
type Scanner interface {
	// Scan visits every object as of one revision, which it tells before the
	// first, and stops nobody who writes meanwhile. It holds no more than a page
	// of them in memory, so a visitor may take its time, up to 5 s for 5,000
	// objects. An error of at or of a visitor ends it and is returned.
	Scan(ctx context.Context, at func(naming.Revision) error, visit func(naming.Object) error) error
}

// Feed reads the change log.
type Feed interface {
	// Since returns the commits after a revision, in order and without gaps,
	// at most limit of them (1…10,000). An error that wraps [ErrCompacted]: the
	// log does not reach back that far any more; load again.
	Since(ctx context.Context, after naming.Revision, limit int) ([]naming.Commit, error)
	// Tail is Since for who has applied everything up to a revision: it tells in
	// addition where the log ended when it was asked, and which record it has at
	// that revision. That it ends before it is no error.
	Tail(ctx context.Context, after naming.Revision, limit int) (naming.Tail, error)
	// Sync returns the newest revision, and then it is on the disk: a commit can be
	// seen a moment before that, and a database that crashes just then forgets it.
	Sync(ctx context.Context) (naming.Revision, error)
	// Before returns the commits before a revision that the log still has, the
	// newest first, at most limit of them (1…10,000); before 0 means from the
	// newest on. An empty list: the log has no more.
	Before(ctx context.Context, before naming.Revision, limit int) ([]naming.Commit, error)
	// Oldest returns the oldest revision that the log still has, 0 when it has
	// none.
	Oldest(ctx context.Context) (naming.Revision, error)
}

// LoadFunc is what [Loader.Load] does, of whatever source.
type LoadFunc func(ctx context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error)

// Restorer fills an empty store.
type Restorer interface {
	// Restore stores everything that load visits as it is, with its revisions and
	// times, as of the revision that load returns: all of it or nothing. The
	// change log begins after that. Errors: Conflict for a store that is not
	// empty; StoreFailed and OutcomeUnknown as of Apply.
	Restore(ctx context.Context, load LoadFunc) error
}

// Members keeps the servers of a cluster; only backends that several servers
// can share have it.
type Members interface {
	// Announce writes the row of a member, counting its beat up, and returns the
	// rows of all, sorted by id.
	Announce(ctx context.Context, m naming.Member) ([]naming.Member, error)
	// Remove removes the row of a member unless its beat is another one by now.
	Remove(ctx context.Context, m naming.Member) error
}

// Elections give each duty of a cluster to one server at a time; only backends
// that several servers can share have it. They go by the clock of the store and
// by nobody else's, and a wrong clock only makes a duty move too early or too
// late: what its holder writes is fenced ([naming.Fenced]).
type Elections interface {
	// Lead gives a duty to a server that has it already, for a time from now on
	// (whole seconds), or that asks when nobody has it or the holder's time is up.
	// It returns who has it then. A new holder has the next epoch, and no write
	// that is fenced by an earlier one is committed after that.
	Lead(ctx context.Context, duty, server string, term time.Duration) (naming.Leader, error)
	// Resign gives a duty back, unless it has another epoch or holder by now.
	Resign(ctx context.Context, l naming.Leader) error
}

// Purger removes what was deleted for good; only backends that keep the rows of
// deleted objects have it.
type Purger interface {
	// Purgeable counts the rows of what was deleted longer ago than age, by the
	// clock of the store.
	Purgeable(ctx context.Context, age time.Duration) (int, error)
	// Purge removes at most limit of them (1…1,000) in one transaction and returns
	// how many. With a fence it is refused as a [naming.Fenced] write is.
	Purge(ctx context.Context, by naming.Fence, age time.Duration, limit int) (int, error)
}

// Store is a whole backend.
type Store interface {
	Writer
	Loader
	Feed
	Restorer
	// Head returns the newest revision.
	Head(ctx context.Context) (naming.Revision, error)
	// Check reads everything and reports each inconsistency in words; the error
	// is for a check that could not be done.
	Check(ctx context.Context, report func(problem string)) error
	// Close releases the store; nothing may be called after it.
	Close() error
}

// ErrCompacted says that the change log no longer reaches back to the revision asked for.
var ErrCompacted = &naming.Error{
	Kind: naming.NotFound, Field: "revision", Msg: "the change log does not reach back that far; load again",
}

// LogBounds limits the change log. The oldest records go first.
type LogBounds struct {
	MaxRevisions uint64 // records at most, 1…1,000,000,000
	MaxBytes     uint64 // encoded bytes at most, 1 MiB…1 TiB
	// MaxAge of a record, 1 min…10 years; 0: age does not count. Records go
	// when others are written.
	MaxAge time.Duration
}

// DefaultLogBounds keeps a million commits or 256 MiB.
func DefaultLogBounds() LogBounds { return LogBounds{MaxRevisions: 1_000_000, MaxBytes: 256 << 20} }

const maxLogAge = 10 * 365 * 24 * time.Hour

// Validate returns an error that names the key and its bound.
func (b LogBounds) Validate() error {
	switch {
	case b.MaxRevisions < 1 || b.MaxRevisions > 1_000_000_000:
		return naming.Errorf(naming.Invalid, "store.log-max-revisions",
			"store.log-max-revisions: %d is not between 1 and 1000000000", b.MaxRevisions)
	case b.MaxBytes < 1<<20 || b.MaxBytes > 1<<40:
		return naming.Errorf(naming.Invalid, "store.log-max-bytes",
			"store.log-max-bytes: %d is not between 1048576 (1 MiB) and 1099511627776 (1 TiB)", b.MaxBytes)
	case b.MaxAge != 0 && (b.MaxAge < time.Minute || b.MaxAge > maxLogAge):
		return naming.Errorf(naming.Invalid, "store.log-max-age", "store.log-max-age: %s is neither 0 nor between 1m and 87600h", b.MaxAge)
	}
	return nil
}
