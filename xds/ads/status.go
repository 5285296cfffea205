package ads

import (
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	"polestar/auth"
	"polestar/xds/resource"
)

const (
	maxReason       = 512  // bytes of a client's error text that are kept
	maxRefusedNames = 32   // names of a refused response that are kept
	maxSelf         = 4096 // bytes of what a client says of itself that are kept
)

// ClientStatus says what one connected client has, since when and why not more.
type ClientStatus struct {
	ID        uint64 // of the stream; unique in this process
	NodeID    string
	UserAgent string // name and version, as the client says
	Peer      string // its address
	Principal auth.Principal
	View      string // what it may see, for people
	Sees      View   // the same, as Deps.Node made it
	Service   string // "ads", or "cds", "eds", "lds", "rds" for a stream of one type
	Delta     bool
	Since     time.Time
	Types     []TypeStatus // those that it asked for, in sending order
	Unserved  []string     // type URLs that it asked for and that are not served
}

// TypeStatus is the part of one type.
type TypeStatus struct {
	Type     resource.Type
	Wildcard bool
	Names    int // subscribed by name
	Sent     SentStatus
	Acked    AckStatus  // newest accepted response
	Refused  NackStatus // newest refused response
	InFlight bool       // the newest response is not answered yet
	Parked   int        // forms that it refused and will not be sent again
}

// SentStatus describes a response; zero when there was none.
type SentStatus struct {
	Revision  uint64
	Nonce     string
	At        time.Time
	Resources int
	Removed   int
}

// AckStatus describes an accepted response; zero when there was none.
type AckStatus struct {
	Revision uint64
	At       time.Time
}

// NackStatus describes a refused response; zero when there was none.
type NackStatus struct {
	Revision uint64
	At       time.Time
	Reason   string   // at most 512 bytes of what the client said
	Names    []string // at most 32 of the new or changed resources in it
	Count    uint64   // refused responses so far
}

// typeStatus gathers a TypeStatus while the stream runs.
type typeStatus struct {
	sent    SentStatus
	acked   AckStatus
	refused NackStatus
}

func (s *typeStatus) send(now time.Time, f *flow, d *draft) {
	s.sent = SentStatus{
		Revision: f.revision, Nonce: f.nonce, At: now,
		Resources: len(d.resources), Removed: len(d.removed),
	}
}

func (s *typeStatus) accept(now time.Time, f *flight) {
	s.acked = AckStatus{Revision: f.revision, At: now}
}

func (s *typeStatus) refuse(now time.Time, f *flight, reason string) {
	names := f.names()
	s.refused = NackStatus{
		Revision: f.revision, At: now, Reason: truncate(reason),
		Names: slices.Clone(names[:min(len(names), maxRefusedNames)]), Count: s.refused.Count + 1,
	}
}

// truncate bounds a client's text, which is kept and logged.
func truncate(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason]
	}
	return strings.ToValidUTF8(strings.Clone(s), "?")
}

// self encodes who a client is, as it said: id, cluster, user agent, locality,
// metadata. Of one that says more than is kept, the metadata are left out, and
// then all but the id.
func self(n *corev3.Node) []byte {
	id := truncate(n.GetId())
	who := &corev3.Node{
		Id: id, Cluster: n.GetCluster(), UserAgentName: n.GetUserAgentName(), UserAgentVersionType: n.GetUserAgentVersionType(),
		Locality: n.GetLocality(), Metadata: n.GetMetadata(),
	}
	if proto.Size(who) > maxSelf {
		who.Metadata = nil
	}
	if proto.Size(who) > maxSelf {
		who = &corev3.Node{Id: id}
	}
	b, err := proto.Marshal(who)
	if err != nil {
		return nil // it came in decoded
	}
	return b
}

// Identity is what a client says of itself: its id, and of the rest what fits
// into 4 KiB; nil when there is no such stream.
func (s *Server) Identity(id uint64) *corev3.Node {
	s.mu.Lock()
	st := s.streams[id]
	s.mu.Unlock()
	if st == nil {
		return nil
	}
	st.mu.Lock()
	b := st.self
	st.mu.Unlock()
	n := &corev3.Node{}
	if b == nil || proto.Unmarshal(b, n) != nil {
		return nil
	}
	return n
}

// Status describes the types that the client asked for.
func (m *Machine) Status() []TypeStatus {
	var out []TypeStatus
	for _, ch := range m.channels {
		f := ch.base()
		if !f.active {
			continue
		}
		s := TypeStatus{
			Type: f.typ, Sent: f.status.sent, Acked: f.status.acked, Refused: f.status.refused,
			InFlight: f.flight != nil, Parked: len(f.quarantine.refused),
		}
		ch.describe(&s)
		out = append(out, s)
	}
	return out
}

// Unserved lists the type URLs that the client asked for in vain, at most 16.
func (m *Machine) Unserved() []string { return slices.Clone(m.unknown) }
