package receipt

import (
	"time"
	"unicode/utf8"

	"polestar/naming"
	"polestar/xds/resource"
)

// The bounds of a request.
const (
	DefaultTimeout = 10 * time.Second
	MaxTimeout     = 10 * time.Minute
	MaxClients     = 1000
	maxClientID    = 512 // bytes; more than a principal and an id of a node can have
	maxLaggards    = 1000
)

// Request says what to wait for.
type Request struct {
	Revision uint64            // 0: the newest now
	Service  naming.ServiceKey // zero: everything; both parts or none
	Clients  []string          // ids of nodes, principal@node, or numbers of streams; empty: all
	Timeout  time.Duration     // 0: DefaultTimeout
	Shown    Shown             // what the caller may see; nil: everything
}

// Shown says what a caller may see. What it may not see is waited for as well,
// and only counted.
type Shown interface {
	// Client reports whether a client may be seen.
	Client(of resource.Scope) bool
	// Resource reports whether a resource may be seen.
	Resource(ref resource.Ref) bool
}

// Receipt is the answer. Its JSON form is that of the admin API.
type Receipt struct {
	Revision  uint64    `json:"revision"`  // that was waited for
	Published uint64    `json:"published"` // newest revision that this node shows
	Converged bool      `json:"converged"` // every client that it concerns has it
	Clients   int       `json:"clients"`   // that it concerns
	Laggards  []Laggard `json:"laggards"`
	More      int       `json:"more"`             // laggards beyond the 1000 that are listed
	Hidden    int       `json:"hidden,omitempty"` // laggards that the caller may not see
}

// Laggard is one resource that one client lacks.
type Laggard struct {
	Stream    uint64 `json:"stream,omitempty"` // 0: not connected
	Node      string `json:"node"`
	Principal string `json:"principal,omitempty"` // who the client is; none: anonymous
	Type      string `json:"type,omitempty"`
	Resource  string `json:"resource,omitempty"`
	State     string `json:"state"` // stale, refused, not sent, not connected
	// Has is the revision of the form that it accepted last; 0: none, or one of
	// an earlier stream. Wants is that of the newest form; 0: it exists no more.
	Has   uint64 `json:"has"`
	Wants uint64 `json:"wants"`
	// Since is when it was sent what it has not accepted, or refused it; zero:
	// it was not sent yet.
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"` // what the client said when it refused
}

// notConnected is a state beyond those of ads.State: no stream of a client that
// was named is open.
const notConnected = "not connected"

func (r *Request) validate() error {
	switch {
	case r.Timeout < 0 || r.Timeout > MaxTimeout:
		return naming.Errorf(naming.Invalid, "timeout", "timeout: %s is not between 0 and %s", r.Timeout, MaxTimeout)
	case r.Timeout == 0:
		r.Timeout = DefaultTimeout
	}
	if (r.Service.Name == "") != (r.Service.Namespace == "") {
		return naming.Errorf(naming.Invalid, "service", "service: namespace and service are named together or not at all")
	}
	for _, f := range [...]struct {
		field, text string
		most        int
	}{{"namespace", r.Service.Namespace, naming.MaxNamespace}, {"service", r.Service.Name, naming.MaxService}} {
		if n := utf8.RuneCountInString(f.text); n > f.most {
			return naming.Errorf(naming.Invalid, f.field, "%s: %d characters are more than %d", f.field, n, f.most)
		}
	}
	if n := len(r.Clients); n > MaxClients {
		return naming.Errorf(naming.Invalid, "client", "client: %d are more than %d", n, MaxClients)
	}
	for _, c := range r.Clients {
		if c == "" || len(c) > maxClientID {
			return naming.Errorf(naming.Invalid, "client", "client: %.32q has %d bytes, must have 1 to %d", c, len(c), maxClientID)
		}
	}
	return nil
}
