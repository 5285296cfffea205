package web

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-chi/chi/v5"

	"polestar/auth"
	"polestar/naming"
	"polestar/xds/explain"
)

// streamOf reads the number of a stream from the path.
func streamOf(r *http.Request) (uint64, *refusal) {
	text := chi.URLParam(r, "id")
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, bad("id", fmt.Sprintf("id: %.32q is not the number of a stream", text))
	}
	return id, nil
}

func noStream(id uint64) *refusal {
	return &refusal{http.StatusNotFound, "id", fmt.Sprintf("id: there is no stream %d; it may have ended", id)}
}

// client answers one xDS stream by its number.
func (s *Server) client(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r, auth.Inspect, naming.ServiceKey{}) {
		return
	}
	id, wrong := streamOf(r)
	if wrong != nil {
		wrong.write(w)
		return
	}
	all := s.deps.Clients()
	at := slices.IndexFunc(all, func(c Client) bool { return c.Stream == id })
	if at < 0 {
		noStream(id).write(w)
		return
	}
	answer(w, http.StatusOK, all[at])
}

// clientResources lists what one xDS stream has of every resource.
func (s *Server) clientResources(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r, auth.Inspect, naming.ServiceKey{}) {
		return
	}
	id, wrong := streamOf(r)
	if wrong != nil {
		wrong.write(w)
		return
	}
	_, names, ok := s.deps.Explain.Clients.Client(id)
	if !ok {
		noStream(id).write(w)
		return
	}
	list(s, w, r, "resources", nil, func(naming.World, query) iter.Seq[explain.Resource] {
		return func(yield func(explain.Resource) bool) {
			for _, n := range names {
				if !yield(explain.ResourceOf(n)) {
					return
				}
			}
		}
	})
}

// diff lists what clients lack.
func (s *Server) diff(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r, auth.Inspect, naming.ServiceKey{}) {
		return
	}
	q, wrong := parse(r, paging("client")...)
	if wrong != nil {
		wrong.write(w)
		return
	}
	items, total, err := s.deps.Explain.Diffs(r.Context(), q.text["client"], q.offset, q.limit)
	if err != nil {
		if r.Context().Err() == nil { // else nobody is left to read an answer
			s.failed(w, err, nil)
		}
		return
	}
	answer(w, http.StatusOK, map[string]any{"diff": items, "total": total, "revision": s.deps.World().Revision()})
}

// explain says why an instance is, or is not, at a client.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	values, err := readQuery(r.URL.RawQuery, "client", "namespace", "service", "instance")
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	if len(values["client"]) > 1 {
		bad("client", "client: given more than once").write(w)
		return
	}
	key := serviceOf(values)
	if !s.may(w, r, auth.Inspect, key) {
		return
	}
	// Another name does not widen what somebody may see.
	if st := s.deps.World().Service(key); st != nil && st.Service.IsAlias() && !s.may(w, r, auth.Inspect, st.Service.AliasFor) {
		return
	}
	got, err := s.deps.Explain.Explain(r.Context(), explain.Question{
		Client: values.Get("client"), Service: key, Instance: values.Get("instance"), Shown: s.shown(r),
	})
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	answer(w, http.StatusOK, got)
}
