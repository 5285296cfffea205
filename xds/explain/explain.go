package explain

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"polestar/naming"
	"polestar/naming/health"
	"polestar/xds/ads"
	"polestar/xds/resource"
)

// Deps are the sources of the answers.
type Deps struct {
	World   func() naming.World
	Clients Clients
	// Touched lists the resources that a change of a service can touch.
	Touched func(naming.ServiceKey) []resource.Ref
	// Lease is the lease of an instance; false when it has none.
	Lease func(id string) (health.State, bool)
	// Settle returns when the cache is as new as the registry, or with ctx.
	Settle func(context.Context) error
	Now    func() time.Time
}

// Clients is what is known of the connected clients; *ads.Server is it.
type Clients interface {
	Clients() []ads.ClientStatus
	Client(id uint64) (ads.ClientStatus, []ads.NameStatus, bool)
	Holding(id uint64, refs []resource.Ref) (ads.Holding, bool)
}

// Explainer answers.
type Explainer struct{ Deps }

// New makes an explainer.
func New(d Deps) *Explainer { return &Explainer{d} }

// Question asks why an instance is, or is not, at a client.
type Question struct {
	Client   string // id of a node, or number of a stream
	Service  naming.ServiceKey
	Instance string // id, or host:port; empty: all of the service
	Shown    Shown  // what who asks may see; nil: everything
}

// Shown says what who asks may see besides the service itself. The rest looks
// as if it were not there.
type Shown interface {
	// Client reports whether a client may be seen.
	Client(of resource.Scope) bool
	// Resource reports whether a resource, and so its service, may be seen.
	Resource(ref resource.Ref) bool
}

// sees reports whether who asks may see a service other than the one he asks
// about.
func (q *Question) sees(key naming.ServiceKey) bool {
	return q.Shown == nil || q.Shown.Resource(resource.Ref{Type: resource.Cluster, Name: resource.ClusterName(key)})
}

const (
	maxClient   = 256 // bytes; as long as an id of a node may be
	maxInstance = naming.MaxHost + len(":65535")
)

func (q *Question) validate() error {
	for _, f := range [...]struct {
		field, text string
		least, most int
	}{
		{"client", q.Client, 1, maxClient},
		{"service", q.Service.Name, 1, naming.MaxService},
		{"namespace", q.Service.Namespace, 1, naming.MaxNamespace},
		{"instance", q.Instance, 0, maxInstance},
	} {
		switch n := utf8.RuneCountInString(f.text); {
		case n < f.least:
			return naming.Errorf(naming.Invalid, f.field, "%s: must not be empty", f.field)
		case n > f.most:
			return naming.Errorf(naming.Invalid, f.field, "%s: %d characters are more than %d", f.field, n, f.most)
		}
	}
	return nil
}

// Answer has one report for each stream that the client has open.
type Answer struct {
	Revision uint64   `json:"revision"` // newest, of which this is said
	Reports  []Report `json:"reports"`
}

// Explain answers a question. Errors: Invalid; NotFound for a client that is
// not connected.
func (x *Explainer) Explain(ctx context.Context, q Question) (Answer, error) {
	if err := q.validate(); err != nil {
		return Answer{}, err
	}
	x.settle(ctx)
	streams, err := find(q.Client, slices.DeleteFunc(x.Clients.Clients(), func(c ads.ClientStatus) bool {
		return q.Shown != nil && !q.Shown.Client(c.Sees.Scope())
	}))
	if err != nil {
		return Answer{}, err
	}
	served := q.Service
	if st := naming.Resolve(x.World(), served); st != nil {
		served = st.Service.Key
	}
	refs := x.Touched(served) // those of its aliases among them
	var out Answer
	for _, c := range streams {
		h, ok := x.Clients.Holding(c.ID, refs)
		if !ok {
			continue // it ended meanwhile
		}
		// Loaded after the status: what the client has is never newer than this.
		w := x.World()
		out.Revision = uint64(w.Revision())
		r := reporter{
			Question: q, world: w, holding: h, scope: h.Client.Sees.Scope(), lease: x.Lease, now: x.Now(),
		}
		out.Reports = append(out.Reports, r.report())
	}
	if len(out.Reports) == 0 {
		return Answer{}, unknownClient(q.Client, nil) // it was there a moment ago
	}
	return out, nil
}

// settleTime bounds how long an answer waits for the newest change.
const settleTime = time.Second

// settle lets what changed before the question reach the cache. When that takes
// too long the answer shows how far it is.
func (x *Explainer) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	_ = x.Settle(ctx)
}

// Find lists the streams of a client, oldest first. An id of a node goes before
// the number of a stream. Error: NotFound.
func (x *Explainer) Find(client string) ([]ads.ClientStatus, error) {
	return find(client, x.Clients.Clients())
}

func find(client string, all []ads.ClientStatus) ([]ads.ClientStatus, error) {
	for _, is := range []func(ads.ClientStatus) bool{
		func(c ads.ClientStatus) bool { return c.NodeID == client },
		func(c ads.ClientStatus) bool { return strconv.FormatUint(c.ID, 10) == client },
	} {
		found := slices.DeleteFunc(slices.Clone(all), func(c ads.ClientStatus) bool { return !is(c) })
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, unknownClient(client, all)
}

// shown is how many names an error or a cause offers instead.
const shown = 5

func unknownClient(client string, all []ads.ClientStatus) error {
	var nodes []string
	for _, c := range all {
		if !slices.Contains(nodes, c.NodeID) && len(nodes) < shown {
			nodes = append(nodes, c.NodeID)
		}
	}
	connected := "none is connected"
	if len(nodes) > 0 {
		connected = "connected are " + strings.Join(nodes, ", ")
		if len(all) > shown {
			connected += fmt.Sprintf(" and others (%d streams)", len(all))
		}
	}
	return naming.Errorf(naming.NotFound, "client", "client: %.64q is the node or stream of no connected client; %s", client, connected)
}
