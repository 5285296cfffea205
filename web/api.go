package web

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"polestar/naming"
)

// The JSON forms of the admin API. Times are RFC 3339 in UTC.
type (
	// Namespace is one namespace.
	Namespace struct {
		Name     string `json:"name"`
		Comment  string `json:"comment,omitempty"`
		Owner    string `json:"owner,omitempty"`
		Created  string `json:"created"`
		Revision uint64 `json:"revision"`
	}
	// Service is one service with counts of its instances.
	Service struct {
		Namespace string            `json:"namespace"`
		Name      string            `json:"name"`
		Instances int               `json:"instances"`
		Healthy   int               `json:"healthy"`
		Isolated  int               `json:"isolated"`
		Metadata  map[string]string `json:"metadata,omitempty"`
		Created   string            `json:"created"`
		Revision  uint64            `json:"revision"` // of the last change, of instances too
	}
	// Instance is one instance.
	Instance struct {
		ID        string            `json:"id"`
		Namespace string            `json:"namespace"`
		Service   string            `json:"service"`
		Host      string            `json:"host"`
		Port      uint32            `json:"port"`
		Weight    uint32            `json:"weight"`
		Healthy   bool              `json:"healthy"`
		Isolated  bool              `json:"isolated"`
		TTL       uint32            `json:"ttl_seconds"` // 0: health is not checked
		Protocol  string            `json:"protocol,omitempty"`
		Version   string            `json:"version,omitempty"`
		Region    string            `json:"region,omitempty"`
		Zone      string            `json:"zone,omitempty"`
		Campus    string            `json:"campus,omitempty"`
		Metadata  map[string]string `json:"metadata,omitempty"`
		Created   string            `json:"created"`
		Modified  string            `json:"modified"`
		Revision  uint64            `json:"revision"`
	}
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
		UserAgent string       `json:"user_agent"`
		Peer      string       `json:"peer"`
		Protocol  string       `json:"protocol"` // sotw or delta
		Since     string       `json:"since"`
		Types     []ClientType `json:"types"`
	}
	// ClientType is what one stream has of one type of resource.
	ClientType struct {
		Type          string `json:"type"`
		Wildcard      bool   `json:"wildcard"`
		Subscribed    int    `json:"subscribed"`
		SentRevision  uint64 `json:"sent_revision"`
		SentAt        string `json:"sent_at,omitempty"`
		AckedRevision uint64 `json:"acked_revision"`
		AckedAt       string `json:"acked_at,omitempty"`
		Refused       string `json:"refused,omitempty"` // the text of the last refusal
		RefusedAt     string `json:"refused_at,omitempty"`
	}
)

// Time writes t as the API does; empty for the zero time.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func micros(m naming.Micros) string { return Time(time.UnixMicro(int64(m))) }

// list answers one page of items and their total, all of one world. Filters
// are the query parameters that it takes besides limit and offset.
func list[T any](s *Server, w http.ResponseWriter, r *http.Request, name string, filters []string, all func(naming.World, query) iter.Seq[T]) {
	q, bad := parse(r.URL.RawQuery, filters)
	if bad != nil {
		problem(w, http.StatusBadRequest, bad.parameter, bad.detail)
		return
	}
	world := s.deps.World()
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
		return namespaces(world, q.namespace)
	})
}

// namespaces walks all namespaces, or the one that is named.
func namespaces(world naming.World, only string) iter.Seq[Namespace] {
	return func(yield func(Namespace) bool) {
		for n := range world.Namespaces() {
			if only != "" && n.Name != only {
				continue
			}
			if !yield(Namespace{
				Name: n.Name, Comment: n.Comment, Owner: n.Owner, Created: micros(n.Created), Revision: uint64(n.Revision),
			}) {
				return
			}
		}
	}
}

// byService are the filters of services and of what belongs to one.
func byService() []string { return []string{"namespace", "service"} }

// selected walks the services that the query asks for.
func selected(world naming.World, q query) iter.Seq[*naming.ServiceState] {
	return func(yield func(*naming.ServiceState) bool) {
		if q.namespace != "" && q.service != "" { // one look-up instead of a walk
			if st := world.Service(naming.ServiceKey{Namespace: q.namespace, Name: q.service}); st != nil {
				yield(st)
			}
			return
		}
		for st := range world.Services(q.namespace) {
			if (q.service == "" || st.Service.Key.Name == q.service) && !yield(st) {
				return
			}
		}
	}
}

func (s *Server) services(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "services", byService(), services)
}

func services(world naming.World, q query) iter.Seq[Service] {
	return func(yield func(Service) bool) {
		for st := range selected(world, q) {
			out := Service{
				Namespace: st.Service.Key.Namespace, Name: st.Service.Key.Name, Instances: len(st.Instances),
				Metadata: st.Service.Metadata.Map(), Created: micros(st.Service.Created), Revision: uint64(st.Revision),
			}
			for _, i := range st.Instances {
				if i.Healthy {
					out.Healthy++
				}
				if i.Isolated {
					out.Isolated++
				}
			}
			if !yield(out) {
				return
			}
		}
	}
}

func (s *Server) instances(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "instances", byService(), instances)
}

func instances(world naming.World, q query) iter.Seq[Instance] {
	return func(yield func(Instance) bool) {
		for st := range selected(world, q) {
			for _, i := range st.Instances {
				if !yield(instance(i)) {
					return
				}
			}
		}
	}
}

func instance(i *naming.Instance) Instance {
	return Instance{
		ID: i.ID, Namespace: i.Service.Namespace, Service: i.Service.Name, Host: i.Host, Port: i.Port, Weight: i.Weight,
		Healthy: i.Healthy, Isolated: i.Isolated, TTL: i.TTL, Protocol: i.Protocol, Version: i.Version,
		Region: i.Location.Region, Zone: i.Location.Zone, Campus: i.Location.Campus, Metadata: i.Metadata.Map(),
		Created: micros(i.Created), Modified: micros(i.Modified), Revision: uint64(i.Revision),
	}
}

func (s *Server) problems(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "problems", nil, func(naming.World, query) iter.Seq[Problem] { return slices.Values(s.deps.Problems()) })
}

func (s *Server) clients(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "clients", nil, func(naming.World, query) iter.Seq[Client] { return slices.Values(s.deps.Clients()) })
}

// client answers one xDS stream by its number.
func (s *Server) client(w http.ResponseWriter, r *http.Request) {
	text := chi.URLParam(r, "id")
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		problem(w, http.StatusBadRequest, "id", fmt.Sprintf("id: %.32q is not the number of a stream", text))
		return
	}
	all := s.deps.Clients()
	at := slices.IndexFunc(all, func(c Client) bool { return c.Stream == id })
	if at < 0 {
		problem(w, http.StatusNotFound, "id", fmt.Sprintf("id: there is no stream %d; it may have ended", id))
		return
	}
	answer(w, http.StatusOK, all[at])
}
