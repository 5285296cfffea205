package web

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"polestar/auth"
	"polestar/naming"
)

// Log reads the change log; store.Feed fits.
type Log interface {
	Since(ctx context.Context, after naming.Revision, limit int) ([]naming.Commit, error)
	Before(ctx context.Context, before naming.Revision, limit int) ([]naming.Commit, error)
	Oldest(ctx context.Context) (naming.Revision, error)
}

// Reach says how far back the change log goes, and what bounds it.
type Reach struct {
	OldestRevision uint64 `json:"oldest_revision"` // 0: it has nothing
	NewestRevision uint64 `json:"newest_revision"`
	MaxRevisions   uint64 `json:"max_revisions"`
	MaxBytes       uint64 `json:"max_bytes"`
	MaxAge         string `json:"max_age,omitempty"` // empty: age does not count
}

// The bounds of one reading of the history.
const (
	historyChunk   = 32      // commits read at once
	historyScanned = 20_000  // changes looked at in one request
	historyBytes   = 4 << 20 // of changes in one answer
	// clockStep is how far clocks may have gone back between commits: a commit
	// older than that before the start of a period ends the search.
	clockStep = naming.Micros(time.Hour / time.Microsecond)
)

// search is one reading of the history, newest first.
type search struct {
	about
	from         place // only what is older
	since, until naming.Micros
	only         naming.Revision // 0: any
	limit        int
}

// page is what a search found. next is where to go on; nil: there is no more.
type page struct {
	found []Change
	next  *place
}

// history answers the changes that a filter chooses, newest first. A filter
// that matches nothing reads a bounded part of the log, and the answer says
// where to go on.
func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	q, wrong := parse(r, aboutFilters("limit", "before", "since", "until", "revision")...)
	var find search
	if wrong == nil {
		find, wrong = readSearch(q)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.may(w, r, auth.History, find.subject()) {
		return
	}
	find.sees = s.sees(r)
	got, err := find.run(r.Context(), s.deps.ChangeLog)
	var oldest naming.Revision
	if err == nil {
		oldest, err = s.deps.ChangeLog.Oldest(r.Context())
	}
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	reach := s.deps.LogBounds
	reach.OldestRevision, reach.NewestRevision = uint64(oldest), uint64(s.deps.World().Revision())
	body := map[string]any{"history": got.found, "log": reach}
	if got.next != nil {
		body["next"] = got.next.String()
	}
	answer(w, http.StatusOK, body)
}

func readSearch(q query) (find search, wrong *refusal) {
	find.limit = q.limit
	if find.about, wrong = readAbout(q); wrong != nil {
		return find, wrong
	}
	for name, at := range map[string]*naming.Micros{"since": &find.since, "until": &find.until} {
		if text := q.text[name]; text != "" {
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return find, bad(name, fmt.Sprintf("%s: %.64q is not a time as 2006-01-02T15:04:05Z", name, text))
			}
			*at = naming.Micros(t.UnixMicro())
		}
	}
	if text := q.text["before"]; text != "" {
		if find.from, wrong = parsePlace("before", text, 0); wrong != nil {
			return find, wrong
		}
	}
	find.only, _, wrong = revisionIn(q, "revision")
	return find, wrong
}

// run reads the log in chunks until the page is full, the log or the period
// ends, or enough was looked at.
func (f *search) run(ctx context.Context, log Log) (page, error) {
	out := page{found: []Change{}}
	before, chunk := f.from.revision+1, historyChunk
	switch {
	case f.only != 0:
		before, chunk = f.only+1, 1
	case f.from == (place{}):
		before = 0 // the newest
	}
	for scanned, size := 0, 0; ; {
		commits, err := log.Before(ctx, before, chunk)
		if err != nil {
			return out, err
		}
		for n := range commits {
			c := &commits[n]
			if f.only != 0 && c.Revision != f.only || f.since != 0 && c.Time < f.since-clockStep {
				return out, nil
			}
			for i := len(c.Changes) - 1; i >= 0; i-- {
				at := place{c.Revision, i}
				if !f.before(at) {
					continue
				}
				if len(out.found) >= f.limit || scanned >= historyScanned || size >= historyBytes {
					out.next = &place{at.revision, at.index + 1}
					return out, nil
				}
				scanned++
				if f.in(c.Time) && f.matches(&c.Changes[i]) {
					out.found = append(out.found, changeOf(c.Revision, i, c.Time, &c.Changes[i]))
					size += out.found[len(out.found)-1].size()
				}
			}
			before = c.Revision
		}
		if len(commits) < chunk || f.only != 0 || before <= 1 {
			return out, nil
		}
	}
}

// before reports whether a place is on the page or after it.
func (f *search) before(at place) bool {
	return f.from == (place{}) || at.revision < f.from.revision || at.revision == f.from.revision && at.index < f.from.index
}

func (f *search) in(t naming.Micros) bool {
	return t >= f.since && (f.until == 0 || t < f.until)
}
