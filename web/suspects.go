package web

import (
	"fmt"
	"iter"
	"net/http"
	"slices"

	"polestar/auth"
	"polestar/naming"
)

// Guard is the mass-loss guard over the leases of this server.
type Guard interface {
	// Held lists whose leases are held, most of them first.
	Held() []Held
	// Release lets what is held expire now and returns how many leases that
	// were. Error: StoreFailed while changes of health cannot be written.
	Release(r Release) (int, error)
}

// What leases are of.
const (
	OfInstances = "instances"
	OfClients   = "clients"
)

// Held is a service too many of whose instances fell silent at once: their
// leases are late, and held as if they were not.
type Held struct {
	Of        string `json:"of"`        // instances, or clients: the records of all SDK processes
	Namespace string `json:"namespace"` // empty for clients
	Service   string `json:"service"`
	Held      int    `json:"held"`
	Leases    int    `json:"leases"` // of the service in all
	Since     string `json:"since"`  // when the first of those still held fell silent for too long
}

// Release is an operator's word that who is held is gone indeed.
type Release struct {
	Of      string
	Service naming.ServiceKey // of instances only
	Actor   naming.Actor
	Reason  string
}

// Released answers a release.
type Released struct {
	Released int `json:"released"`
}

func (s *Server) guard(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r, auth.Inspect, naming.ServiceKey{}) {
		return
	}
	list(s, w, r, "guard", byService(), func(_ naming.World, q query) iter.Seq[Held] {
		return func(yield func(Held) bool) {
			for h := range slices.Values(s.deps.Guard.Held()) {
				namespace, service := q.text["namespace"], q.text["service"]
				if (namespace == "" || h.Namespace == namespace) && (service == "" || h.Service == service) && !yield(h) {
					return
				}
			}
		}
	})
}

// release lets held leases expire. The reason is kept in the history of each
// instance, so there must be one.
func (s *Server) release(w http.ResponseWriter, r *http.Request) {
	in := Release{Of: OfInstances, Actor: actor(r)}
	_, wrong := decode(r, fields{"of": &in.Of, "namespace": &in.Service.Namespace, "service": &in.Service.Name, "reason": &in.Reason})
	if wrong == nil {
		wrong = in.check()
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.may(w, r, auth.Maintain, in.Service) {
		return
	}
	n, err := s.deps.Guard.Release(in)
	switch {
	case err != nil:
		s.failed(w, err, nil)
	case n == 0:
		problem(w, http.StatusNotFound, "service", "nothing of "+in.what()+" is held by the guard")
	default:
		answer(w, http.StatusOK, Released{Released: n})
	}
}

func (r *Release) what() string {
	if r.Of == OfClients {
		return "the clients"
	}
	return fmt.Sprintf("service %q", r.Service)
}

func (r *Release) check() *refusal {
	switch {
	case r.Of != OfInstances && r.Of != OfClients:
		return bad("of", fmt.Sprintf("of: %.64q is neither %s nor %s", r.Of, OfInstances, OfClients))
	case r.Of == OfInstances && r.Service.Namespace == "":
		return bad("namespace", "namespace: must not be empty")
	case r.Of == OfInstances && r.Service.Name == "":
		return bad("service", "service: must not be empty")
	case r.Of == OfClients && r.Service != (naming.ServiceKey{}):
		return bad("service", "service: clients belong to none")
	case r.Reason == "":
		return bad("reason", "reason: must not be empty")
	}
	if err := naming.CheckReason(r.Reason); err != nil {
		return bad("reason", err.Error())
	}
	return nil
}
