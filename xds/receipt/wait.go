package receipt

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"polestar/xds/ads"
	"polestar/xds/resource"
)

// maxKept bounds how many lacking resources a wait remembers by name. A stream
// beyond it is looked at as a whole each time that it moves.
const maxKept = 20_000

// wait is one request under way. Its caller's goroutine owns it.
type wait struct {
	Request
	desk  *Desk
	ready bool           // the cache has the revision
	refs  []resource.Ref // what the service can touch; nil: everything

	streams map[uint64]*stream
	pending int            // streams that lack something
	kept    int            // resources remembered
	present map[string]int // streams of each client that the request names
	refused bool           // somebody refused for good
}

// stream is what a wait knows of one stream.
type stream struct {
	clients   []string // those of the request that it is
	ignored   bool     // the request names others
	concerned bool
	had       bool           // it had everything once: that is enough
	lacks     bool           // something
	what      []resource.Ref // nil: not remembered
}

// run returns when there is nothing to wait for any more, or with ctx.
func (w *wait) run(ctx context.Context) {
	if w.desk.Await(ctx, w.Revision) != nil {
		return
	}
	w.ready = true
	if w.Service.Name != "" {
		w.refs = w.desk.Touched(w.Service)
	}
	watch := w.desk.Streams.Watch()
	defer watch.Close()
	for {
		for _, id := range watch.Take() {
			if !w.look(ctx, id) {
				return
			}
		}
		if w.done() {
			return
		}
		select {
		case <-watch.Wake():
		case <-ctx.Done():
			return
		}
	}
}

func (w *wait) done() bool {
	return w.refused || w.pending == 0 && len(w.absent()) == 0
}

// absent lists the named clients that are not connected.
func (w *wait) absent() []string {
	var out []string
	for _, c := range w.Clients {
		if w.present[c] == 0 {
			out = append(out, c)
		}
	}
	return out
}

// look judges one stream; false when ctx ended first. Looking at a stream that
// holds much takes a while, so all waits together look at one at a time.
func (w *wait) look(ctx context.Context, id uint64) bool {
	s := w.streams[id]
	if s != nil && (s.had || s.ignored) {
		return true
	}
	select {
	case w.desk.turn <- struct{}{}:
		defer func() { <-w.desk.turn }()
	case <-ctx.Done():
		return false
	}
	lag, ok := w.lag(id)
	switch {
	case ok && s == nil:
		s = w.meet(id, lag.Client)
	case !ok && s != nil: // it ended before it had everything
		w.forget(s)
		for _, c := range s.clients {
			w.present[c]--
		}
		delete(w.streams, id)
	}
	if ok && !s.ignored {
		w.judge(s, lag)
	}
	return true
}

// lag says what a stream lacks, of what it lacked when that is remembered.
func (w *wait) lag(id uint64) (ads.Lag, bool) {
	refs := w.refs
	if s := w.streams[id]; s != nil && s.what != nil {
		refs = s.what
	}
	return w.desk.Streams.Lag(id, w.Revision, refs)
}

// meet notes a stream that was not seen before.
func (w *wait) meet(id uint64, c ads.ClientStatus) *stream {
	s := &stream{}
	for _, name := range w.Clients {
		if goesBy(c, name) {
			s.clients = append(s.clients, name)
			w.present[name]++
		}
	}
	s.ignored = len(w.Clients) > 0 && len(s.clients) == 0
	w.streams[id] = s
	return s
}

// goesBy reports whether a client is meant by a name. An id of a node is what a
// client claims, and others can claim it too: then all of them are meant. With
// its principal before it, as in alice@envoy-1, it means nobody else; so that
// nobody claims such an id, one that contains an at sign needs its principal.
func goesBy(c ads.ClientStatus, name string) bool {
	switch {
	case name == strconv.FormatUint(c.ID, 10):
		return true
	case c.Principal.Anonymous():
		return name == c.NodeID
	default:
		return name == c.Principal.Name+"@"+c.NodeID || name == c.NodeID && !strings.Contains(c.NodeID, "@")
	}
}

func (w *wait) judge(s *stream, lag ads.Lag) {
	w.forget(s)
	s.concerned = s.concerned || lag.Concerned > 0
	// One without any subscription that matters may be about to make one.
	s.had = s.concerned && len(lag.Lacking) == 0
	if len(lag.Lacking) == 0 {
		return
	}
	s.lacks = true
	w.pending++
	for _, n := range lag.Lacking {
		w.refused = w.refused || n.State() == ads.Refused && n.Refused.Final
	}
	if w.kept+len(lag.Lacking) > maxKept {
		return
	}
	w.kept += len(lag.Lacking)
	for _, n := range lag.Lacking {
		s.what = append(s.what, resource.Ref{Type: n.Type, Name: n.Name})
	}
}

// forget takes back what a stream was found to lack.
func (w *wait) forget(s *stream) {
	if s.lacks {
		w.pending--
	}
	w.kept -= len(s.what)
	s.lacks, s.what = false, nil
}

// receipt sums up. What lacks now is looked up anew.
func (w *wait) receipt() Receipt {
	out := Receipt{Revision: w.Revision, Published: w.desk.Revision(), Laggards: []Laggard{}}
	for _, id := range slices.Sorted(maps.Keys(w.streams)) {
		s := w.streams[id]
		if s.concerned {
			out.Clients++
		}
		if !s.lacks {
			continue
		}
		lag, _ := w.lag(id)
		seen := w.Shown == nil || len(lag.Lacking) == 0 || w.Shown.Client(lag.Client.Sees.Scope())
		for _, n := range lag.Lacking {
			if !seen || w.Shown != nil && !w.Shown.Resource(resource.Ref{Type: n.Type, Name: n.Name}) {
				out.Hidden++
				continue
			}
			out.add(laggard(lag.Client, n))
		}
	}
	if w.ready {
		for _, c := range w.absent() {
			out.add(Laggard{Node: c, State: notConnected})
		}
	}
	out.Converged = w.ready && len(out.Laggards) == 0 && out.Hidden == 0
	return out
}

func (r *Receipt) add(l Laggard) {
	if len(r.Laggards) == maxLaggards {
		r.More++
		return
	}
	r.Laggards = append(r.Laggards, l)
}

func laggard(c ads.ClientStatus, n ads.NameStatus) Laggard {
	l := Laggard{
		Stream: c.ID, Node: c.NodeID, Principal: c.Principal.Name, Type: n.Type.String(), Resource: n.Name, State: n.State().String(),
		Has: n.Acked.Revision, Wants: n.Current.Revision,
	}
	if n.State() == ads.Refused {
		l.Since, l.Reason = n.Refused.At.UTC(), n.Refused.Reason
	} else if n.Sent.Version != n.Acked.Version {
		l.Since = n.Sent.At.UTC()
	}
	return l
}
