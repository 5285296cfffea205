package explain

import (
	"time"

	"polestar/xds/ads"
)

// The forms of the answers. Their JSON is that of the admin API; times are
// RFC 3339 in UTC.
type (
	// Client is one stream.
	Client struct {
		Stream    uint64    `json:"stream"`
		Node      string    `json:"node"`
		View      string    `json:"view"`
		Principal string    `json:"principal,omitempty"` // name of the user or group; none: anonymous
		Protocol  string    `json:"protocol"`            // sotw or delta
		Since     time.Time `json:"since"`
	}

	// Resource is what a client has of one resource, and what it should have.
	Resource struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Named   bool     `json:"named"` // subscribed by name, not only through the wildcard
		State   string   `json:"state"` // synced, stale, refused, not sent, missing, not subscribed
		Current *Form    `json:"current,omitempty"`
		Sent    *Form    `json:"sent,omitempty"`
		Acked   *Form    `json:"acked,omitempty"`
		Refused *Refusal `json:"refused,omitempty"`
	}

	// Form is one form of a resource: a hash of its content, and the revision
	// that made it; 0 when the client has it from an earlier stream.
	Form struct {
		Version  string    `json:"version"`
		Revision uint64    `json:"revision"`
		At       time.Time `json:"at,omitzero"` // when it was sent or accepted first
	}

	// Refusal is a form that the client refused, in its own words.
	Refusal struct {
		Form
		Reason string `json:"reason"`
		Final  bool   `json:"final"` // it is not sent again on this stream
	}
)

// NotSubscribed is a state beyond those of ads.State: the client has the
// cluster, and never asked for its endpoints.
const NotSubscribed = "not subscribed"

// ClientOf describes a stream.
func ClientOf(c ads.ClientStatus) Client {
	out := Client{Stream: c.ID, Node: c.NodeID, View: c.View, Principal: c.Principal.Name, Protocol: "sotw", Since: c.Since.UTC()}
	if c.Delta {
		out.Protocol = "delta"
	}
	return out
}

// ResourceOf describes a resource.
func ResourceOf(n ads.NameStatus) Resource {
	out := Resource{Type: n.Type.String(), Name: n.Name, Named: n.Named, State: n.State().String()}
	if n.Current.Version != "" {
		out.Current = &Form{Version: n.Current.Version, Revision: n.Current.Revision}
	}
	out.Sent, out.Acked = formOf(n.Sent), formOf(n.Acked)
	if f := formOf(n.Refused.Delivery); f != nil {
		out.Refused = &Refusal{Form: *f, Reason: n.Refused.Reason, Final: n.Refused.Final}
	}
	return out
}

// formOf is nil for a form that there is not.
func formOf(d ads.Delivery) *Form {
	if d.Version == "" {
		return nil
	}
	f := &Form{Version: d.Version, Revision: d.Revision}
	if !d.At.IsZero() {
		f.At = d.At.UTC()
	}
	return f
}
