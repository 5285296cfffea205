package ads

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"polestar/xds/resource"
)

// form is one version of one resource.
type form struct{ name, version string }

// shipment is a form in a response.
type shipment struct {
	form
	revision uint64 // of the resource
}

func shipmentOf(r *resource.Resource) shipment {
	return shipment{form{r.Name, r.Version}, uint64(r.Revision)}
}

// delivery is a form that a client was sent, or accepted.
type delivery struct {
	version  string
	revision uint64 // of the resource; 0: of an earlier stream
	at       int64  // nanoseconds since 1970; 0: of an earlier stream
}

func (s shipment) delivered(now time.Time) delivery {
	return delivery{version: s.version, revision: s.revision, at: now.UnixNano()}
}

// flight is the response that the client has not answered yet.
type flight struct {
	at       time.Time
	revision uint64
	forms    []shipment           // new or changed in it
	removed  []string             // delta
	list     []*resource.Resource // full state: everything in it
	starred  []*collection        // those that members in it are of
	trial    bool                 // full state and collections: its forms are on trial
	removes  bool                 // something is gone
}

func (f *flight) names() []string {
	out := make([]string, len(f.forms))
	for i, form := range f.forms {
		out[i] = form.name
	}
	return out
}

// flow is what the channels of all types have in common.
type flow struct {
	typ      resource.Type
	src      Source
	active   bool   // the client asked for the type
	nonce    string // of the newest response
	revision uint64 // newest version_info; never goes back
	flight   *flight
	held     [2]time.Time // by phase: since when a response waits for its turn
	status   typeStatus

	quarantine quarantine
}

// free reports whether a response may be sent: one at a time is in flight, and
// changes gather meanwhile.
func (f *flow) free() bool { return f.active && f.flight == nil }

// quarantine remembers what the client refused.
//
// A refusal speaks of a whole response. The forms in it that can be at fault
// are in doubt: they are tried again, each alone. One that is refused alone is
// never sent again on this stream. So each form is refused at most twice, and
// nothing is ever answered with the same bytes.
type quarantine struct {
	refused map[form]struct{}
	doubt   map[form]bool      // value: it is in the queue
	reasons map[string]refusal // newest refusal by name, for people; at most maxReasons
	queue   []form             // in the order in which they were refused
	head    int
}

// refusal is what a client said of a form.
type refusal struct {
	delivery
	reason string
}

// accept clears forms.
func (q *quarantine) accept(forms []shipment) {
	if len(q.doubt)+len(q.reasons) == 0 {
		return
	}
	for _, f := range forms {
		delete(q.doubt, f.form)
		delete(q.reasons, f.name)
	}
}

// note remembers why forms were refused.
func (q *quarantine) note(now time.Time, forms []shipment, reason string) {
	if q.reasons == nil {
		q.reasons = map[string]refusal{}
	}
	for _, f := range forms {
		if _, known := q.reasons[f.name]; known || len(q.reasons) < maxReasons {
			q.reasons[f.name] = refusal{f.delivered(now), reason}
		}
	}
}

// refuse condemns forms that were on trial.
func (q *quarantine) refuse(forms []shipment) error {
	if q.refused == nil {
		q.refused = map[form]struct{}{}
	}
	for _, f := range forms {
		delete(q.doubt, f.form)
		q.refused[f.form] = struct{}{}
	}
	return q.check()
}

// suspect doubts forms that were refused together.
func (q *quarantine) suspect(forms []shipment) error {
	for _, f := range forms {
		q.enqueue(f.form)
	}
	return q.check()
}

func (q *quarantine) check() error {
	if len(q.refused)+len(q.doubt) > MaxRefused {
		return status.Errorf(codes.ResourceExhausted, "error_detail: more than %d resources refused on one stream", MaxRefused)
	}
	return nil
}

func (q *quarantine) enqueue(f form) {
	if q.doubt == nil {
		q.doubt = map[form]bool{}
	}
	if !q.doubt[f] {
		q.doubt[f] = true
		q.queue = append(q.queue, f)
	}
}

// blocks reports whether a form must not be sent together with others. One in
// doubt that left the queue, because nobody wanted it any more, returns to it.
func (q *quarantine) blocks(f form) bool {
	if len(q.refused) > 0 {
		if _, ok := q.refused[f]; ok {
			return true
		}
	}
	if len(q.doubt) == 0 {
		return false
	}
	queued, ok := q.doubt[f]
	if ok && !queued {
		q.enqueue(f)
	}
	return ok
}

func (q *quarantine) empty() bool { return len(q.refused)+len(q.doubt) == 0 }

func (q *quarantine) waiting() int { return len(q.queue) - q.head }

// next takes the oldest queued form.
func (q *quarantine) next() (form, bool) {
	if q.head == len(q.queue) {
		q.queue, q.head = nil, 0
		return form{}, false
	}
	f := q.queue[q.head]
	q.head++
	if _, ok := q.doubt[f]; ok {
		q.doubt[f] = false
	}
	return f, true
}
