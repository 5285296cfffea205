package web

import (
	"iter"
	"net/http"
	"slices"

	"polestar/auth"
	"polestar/naming"
)

// The JSON forms of what xDS clients have. Times are RFC 3339 in UTC.
type (
	// Problem is something that was left out of an xDS resource, and why.
	Problem struct {
		Type     string `json:"type"`
		Resource string `json:"resource"`
		Service  string `json:"service"`
		Instance string `json:"instance,omitempty"`
		Reason   string `json:"reason"`
	}
	// Client is one xDS stream.
	Client struct {
		Stream    uint64       `json:"stream"`
		Node      string       `json:"node"`
		View      string       `json:"view"`
		Principal string       `json:"principal,omitempty"` // name of the user or group; none: anonymous
		UserAgent string       `json:"user_agent"`
		Peer      string       `json:"peer"`
		Protocol  string       `json:"protocol"` // sotw or delta
		Since     string       `json:"since"`
		Types     []ClientType `json:"types"`
		Unserved  []string     `json:"unserved,omitempty"` // type URLs that it asked for and that are not served
	}
	// ClientType is what one stream has of one type of resource.
	ClientType struct {
		Type          string `json:"type"`
		Wildcard      bool   `json:"wildcard"`
		Subscribed    int    `json:"subscribed"`
		SentRevision  uint64 `json:"sent_revision"`
		SentAt        string `json:"sent_at,omitempty"`
		InFlight      bool   `json:"in_flight"` // it is not answered yet
		AckedRevision uint64 `json:"acked_revision"`
		AckedAt       string `json:"acked_at,omitempty"`
		// The last refusal: its text, and what was new or changed in the response,
		// at most 32 names.
		Refused          string   `json:"refused,omitempty"`
		RefusedRevision  uint64   `json:"refused_revision,omitempty"`
		RefusedAt        string   `json:"refused_at,omitempty"`
		RefusedResources []string `json:"refused_resources,omitempty"`
		Refusals         uint64   `json:"refusals"` // so far
		Withheld         int      `json:"withheld"` // forms that it refused and is not sent again
	}
)

// list answers one page of items and their total, all of one world. Filters
// are the query parameters that it takes besides limit and offset.
func list[T any](s *Server, w http.ResponseWriter, r *http.Request, name string, filters []string, all func(naming.World, query) iter.Seq[T]) {
	q, wrong := parse(r, paging(filters...)...)
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.known(w, r) {
		return
	}
	world := s.world(r)
	total, items := 0, []T{}
	for item := range all(world, q) {
		if total >= q.offset && len(items) < q.limit {
			items = append(items, item)
		}
		total++
	}
	answer(w, http.StatusOK, map[string]any{name: items, "total": total, "revision": world.Revision()})
}

func (s *Server) namespaces(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "namespaces", []string{"namespace"}, func(world naming.World, q query) iter.Seq[Namespace] {
		return func(yield func(Namespace) bool) {
			for n := range world.Namespaces() {
				if (q.text["namespace"] == "" || n.Name == q.text["namespace"]) && !yield(namespace(n)) {
					return
				}
			}
		}
	})
}

// byService are the filters of services and of what belongs to one.
func byService() []string { return []string{"namespace", "service"} }

// selected walks the services and aliases that the query asks for.
func selected(world naming.World, key naming.ServiceKey) iter.Seq[*naming.ServiceState] {
	return func(yield func(*naming.ServiceState) bool) {
		if key.Namespace != "" && key.Name != "" { // one look-up instead of a walk
			if st := world.Service(key); st != nil {
				yield(st)
			}
			return
		}
		for st := range world.Services(key.Namespace) {
			if (key.Name == "" || st.Service.Key.Name == key.Name) && !yield(st) {
				return
			}
		}
	}
}

func (s *Server) services(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "services", byService(), func(world naming.World, q query) iter.Seq[Service] {
		return func(yield func(Service) bool) {
			for st := range selected(world, q.key()) {
				if !st.Service.IsAlias() && !yield(service(st)) {
					return
				}
			}
		}
	})
}

// aliases match by their own name or by that of their service.
func (s *Server) aliases(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "aliases", byService(), func(world naming.World, q query) iter.Seq[Alias] {
		return func(yield func(Alias) bool) {
			for st := range world.Services("") {
				a, one := st.Service, q.key()
				if a.IsAlias() && (one.Namespace == "" || one.Namespace == a.Key.Namespace || one.Namespace == a.AliasFor.Namespace) &&
					(one.Name == "" || one.Name == a.Key.Name || one.Name == a.AliasFor.Name) && !yield(alias(a)) {
					return
				}
			}
		}
	})
}

func (s *Server) instances(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "instances", append(byService(), "host"), func(world naming.World, q query) iter.Seq[Instance] {
		return func(yield func(Instance) bool) {
			for st := range selected(world, q.key()) {
				for _, i := range st.Instances {
					if (q.text["host"] == "" || i.Host == q.text["host"]) && !yield(instance(i)) {
						return
					}
				}
			}
		}
	})
}

func (s *Server) overrides(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "overrides", byService(), func(world naming.World, q query) iter.Seq[Override] {
		return func(yield func(Override) bool) {
			for o := range world.Overrides() {
				if (q.text["namespace"] == "" || o.Service.Namespace == q.text["namespace"]) &&
					(q.text["service"] == "" || o.Service.Name == q.text["service"]) && !yield(override(o)) {
					return
				}
			}
		}
	})
}

func (s *Server) problems(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r, auth.Inspect, naming.ServiceKey{}) {
		return
	}
	list(s, w, r, "problems", nil, func(naming.World, query) iter.Seq[Problem] { return slices.Values(s.deps.Problems()) })
}

func (s *Server) clients(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r, auth.Inspect, naming.ServiceKey{}) {
		return
	}
	list(s, w, r, "clients", nil, func(naming.World, query) iter.Seq[Client] { return slices.Values(s.deps.Clients()) })
}
