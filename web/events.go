package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"polestar/auth"
	"polestar/naming"
)

// The bounds of streams of events.
const (
	maxEventStreams = 64 // at one time; more get 503
	eventChunk      = 64 // commits read at once
	// eventBeat is how often a quiet stream says that it lives.
	eventBeat = 15 * time.Second
	// eventWrite is how long a reader may take to accept what was written.
	eventWrite = 10 * time.Second
	// eventPatience is how long a stream may begin behind what its reader has
	// seen, as of another server.
	eventPatience = time.Second
)

// stream is one reader of events.
type stream struct {
	about
	types  []naming.EventType // empty: all
	after  place              // what the reader has
	follow bool               // else it ends with the newest revision

	world func() naming.World
	log   Log
	await func(context.Context, naming.Revision) error
	send  func(text []byte) error // writes and flushes; a slow reader is an error
}

// events answers server-sent events, derived from the change log: none is lost
// between two streams of one reader that resumes where it was.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	st := stream{world: s.deps.World, log: s.deps.ChangeLog, await: s.deps.Await, after: place{s.deps.World().Revision(), whole}}
	if wrong := st.read(r); wrong != nil {
		wrong.write(w)
		return
	}
	if !s.may(w, r, auth.History, st.subject()) {
		return
	}
	st.sees = s.sees(r)
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, "", fmt.Sprintf("%d streams of events are open; more are not served", maxEventStreams))
		return
	}
	allowed, end := s.whileAllowed(r.Context(), credentials(r), auth.History, st.subject())
	defer end()
	ctx, cancel := s.untilStop(allowed)
	defer cancel()
	if err := st.catchUp(ctx); err != nil {
		s.failed(w, err, nil)
		return
	}
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	st.send = func(text []byte) error {
		if err := rc.SetWriteDeadline(time.Now().Add(eventWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
		return rc.Flush()
	}
	if r.Method == http.MethodHead {
		return
	}
	if err := st.run(ctx); err != nil && ctx.Err() == nil {
		s.deps.Log.Info("a stream of events ended", zap.String("reader", r.RemoteAddr), zap.Error(err))
	}
}

// untilStop is a context that also ends when the server stops: streams never
// end by themselves.
func (s *Server) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == nil {
		cancel() // it has stopped
		return ctx, cancel
	}
	key := new(byte)
	s.ends[key] = cancel
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.ends, key)
	}
}

// endStreams ends all streams, and those that begin later.
func (s *Server) endStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, end := range s.ends {
		end()
	}
	s.ends = nil
}

// read takes the parameters and where a reader that comes back was.
func (st *stream) read(r *http.Request) *refusal {
	q, wrong := parse(r, aboutFilters("since", "type", "follow")...)
	if wrong != nil {
		return wrong
	}
	if st.about, wrong = readAbout(q); wrong != nil {
		return wrong
	}
	rev, there, wrong := revisionIn(q, "since")
	if wrong != nil {
		return wrong
	}
	if there {
		st.after = place{rev, whole}
	}
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		if st.after, wrong = parsePlace("Last-Event-ID", text, whole); wrong != nil {
			return wrong
		}
	}
	switch text := q.text["follow"]; text {
	case "", "true":
		st.follow = true
	case "false":
	default:
		return bad("follow", fmt.Sprintf("follow: %.64q is neither true nor false", text))
	}
	if text := q.text["type"]; text != "" {
		for word := range strings.SplitSeq(text, ",") {
			if !slices.Contains(naming.EventTypes(), naming.EventType(word)) {
				return bad("type", fmt.Sprintf("type: %.64q is none of %s", word, join(naming.EventTypes())))
			}
			st.types = append(st.types, naming.EventType(word))
		}
	}
	return nil
}

func join(types []naming.EventType) string {
	words := make([]string, len(types))
	for n, t := range types {
		words[n] = string(t)
	}
	return strings.Join(words, ", ")
}

// catchUp waits a little when the reader has seen more than this server shows.
func (st *stream) catchUp(ctx context.Context) error {
	if st.after.revision <= st.world().Revision() {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, eventPatience)
	defer cancel()
	if st.await(bounded, st.after.revision) == nil {
		return nil
	}
	return naming.Errorf(naming.Invalid, "since", "since: revision %d is not here yet; the newest is %d", st.after.revision, st.world().Revision())
}

// next is the first revision of which the reader lacks something.
func (st *stream) next() naming.Revision {
	if st.after.index == whole {
		return st.after.revision + 1
	}
	return st.after.revision
}

// run sends until ctx ends, the reader is too slow, or, without follow, it has
// everything.
func (st *stream) run(ctx context.Context) error {
	// The headers go out, and where the reader stands: a stream that breaks before
	// its first event is taken up there.
	if err := st.send(fmt.Appendf(nil, ": polestar events\nid: %s\n\n", st.after)); err != nil {
		return err
	}
	for {
		visible := st.world().Revision()
		switch {
		case st.next() <= visible:
			if err := st.some(ctx, visible); err != nil {
				return err
			}
		case !st.follow:
			return nil
		default:
			if err := st.idle(ctx); err != nil {
				return err
			}
		}
	}
}

// idle waits for the next revision; a reader of a quiet stream is told where it
// stands, so that it resumes there.
func (st *stream) idle(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, eventBeat)
	defer cancel()
	err := st.await(bounded, st.next())
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return st.send(fmt.Appendf(nil, ": heartbeat\nid: %s\n\n", st.after))
	}
	return nil
}

// some sends the events of the next commits that are visible.
func (st *stream) some(ctx context.Context, visible naming.Revision) error {
	commits, err := st.log.Since(ctx, st.next()-1, int(min(eventChunk, visible-st.next()+1)))
	if naming.KindOf(err) == naming.NotFound {
		return st.gap(ctx, visible)
	}
	if err != nil {
		return err
	}
	if len(commits) == 0 {
		return fmt.Errorf("the change log does not show revision %d, which is registered", st.next())
	}
	var out bytes.Buffer
	for _, c := range commits {
		for _, e := range naming.Events(c) {
			if at := (place{e.Revision, e.Index}); at.revision == st.after.revision && at.index <= st.after.index || !st.wants(&e) {
				continue
			}
			if err := writeEvent(&out, &e); err != nil {
				return err
			}
			if out.Len() > historyBytes { // a commit may be large
				if err := st.flush(&out); err != nil {
					return err
				}
			}
		}
		st.after = place{c.Revision, whole}
	}
	return st.flush(&out)
}

func (st *stream) flush(out *bytes.Buffer) error {
	if out.Len() == 0 {
		return nil
	}
	defer out.Reset()
	return st.send(out.Bytes())
}

func (st *stream) wants(e *naming.Event) bool {
	return (len(st.types) == 0 || slices.Contains(st.types, e.Type)) && st.matches(e.Change)
}

// gap tells which revisions are not in the log, and goes on after them. A log
// that has nothing begins after what is visible: the store was restored.
func (st *stream) gap(ctx context.Context, visible naming.Revision) error {
	oldest, err := st.log.Oldest(ctx)
	if err != nil {
		return err
	}
	from, to := st.next(), visible
	if oldest != 0 {
		to = oldest - 1
	}
	if to < from {
		return fmt.Errorf("the change log lacks revision %d, though it begins at %d", from, oldest)
	}
	st.after = place{to, whole}
	return st.send(fmt.Appendf(nil, "id: %d\nevent: gap\ndata: {\"from\":%d,\"to\":%d}\n\n", to, from, to))
}

func writeEvent(out *bytes.Buffer, e *naming.Event) error {
	text, err := json.Marshal(Event{Type: string(e.Type), Change: changeOf(e.Revision, e.Index, e.Time, e.Change)})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "id: %d:%d\nevent: %s\ndata: %s\n\n", e.Revision, e.Index, e.Type, text)
	return err
}
