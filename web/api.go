package web

import (
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

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

// maxPage bounds one answer.
const maxPage = 1000

// page reads limit and offset.
func page(q url.Values) (limit, offset int, err error) {
	limit = 100
	for _, p := range []struct {
		name string
		into *int
		most int
	}{{"limit", &limit, maxPage}, {"offset", &offset, 1 << 31}} {
		text := q.Get(p.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > p.most {
			return 0, 0, fmt.Errorf("%s: %.32q is not a number between 0 and %d", p.name, text, p.most)
		}
		*p.into = n
	}
	return limit, offset, nil
}

// list answers one page of items and their total.
func list[T any](s *Server, w http.ResponseWriter, r *http.Request, name string, all iter.Seq[T]) {
	limit, offset, err := page(r.URL.Query())
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	total, items := 0, []T{}
	for item := range all {
		if total >= offset && len(items) < limit {
			items = append(items, item)
		}
		total++
	}
	answer(w, http.StatusOK, map[string]any{name: items, "total": total, "revision": s.deps.World().Revision()})
}

func (s *Server) namespaces(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "namespaces", func(yield func(Namespace) bool) {
		for n := range s.deps.World().Namespaces() {
			if !yield(Namespace{
				Name: n.Name, Comment: n.Comment, Owner: n.Owner, Created: micros(n.Created), Revision: uint64(n.Revision),
			}) {
				return
			}
		}
	})
}

// selected walks the services that the query asks for.
func (s *Server) selected(q url.Values) iter.Seq[*naming.ServiceState] {
	ns, name := q.Get("namespace"), q.Get("service")
	return func(yield func(*naming.ServiceState) bool) {
		for st := range s.deps.World().Services(ns) {
			if (name == "" || st.Service.Key.Name == name) && !yield(st) {
				return
			}
		}
	}
}

func (s *Server) services(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "services", func(yield func(Service) bool) {
		for st := range s.selected(r.URL.Query()) {
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
	})
}

func (s *Server) instances(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "instances", func(yield func(Instance) bool) {
		for st := range s.selected(r.URL.Query()) {
			for _, i := range st.Instances {
				if !yield(instance(i)) {
					return
				}
			}
		}
	})
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
	list(s, w, r, "problems", slices.Values(s.deps.Problems()))
}

func (s *Server) clients(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, "clients", slices.Values(s.deps.Clients()))
}
