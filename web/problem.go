package web

import (
	"encoding/json"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"polestar/naming"
)

// refusal is a request that is turned down: the status, the part of the
// request that is wrong (empty when it is none), and why, with the bound.
type refusal struct {
	status            int
	parameter, detail string
}

// bad is a request that breaks a bound.
func bad(parameter, detail string) *refusal {
	return &refusal{http.StatusBadRequest, parameter, detail}
}

func (f *refusal) write(w http.ResponseWriter) { problem(w, f.status, f.parameter, f.detail) }

// problem answers an error in the form of RFC 9457; parameter is the part of
// the request that is wrong, empty when it is none.
func problem(w http.ResponseWriter, status int, parameter, detail string) {
	problemWith(w, status, parameter, detail, nil)
}

// problemWith also lists what stands in the way.
func problemWith(w http.ResponseWriter, status int, parameter, detail string, blocking []string) {
	body := map[string]any{"status": status, "title": http.StatusText(status), "detail": detail}
	if parameter != "" {
		body["parameter"] = parameter
	}
	if len(blocking) > 0 {
		body["blocking"] = blocking
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone when this fails
}

// statuses of the kinds of errors.
var statuses = map[naming.ErrorKind]int{
	naming.Internal:       http.StatusInternalServerError,
	naming.Invalid:        http.StatusBadRequest,
	naming.NotFound:       http.StatusNotFound,
	naming.Conflict:       http.StatusConflict,
	naming.Denied:         http.StatusForbidden,
	naming.Overloaded:     http.StatusTooManyRequests,
	naming.StoreFailed:    http.StatusServiceUnavailable,
	naming.NotDone:        http.StatusServiceUnavailable,
	naming.OutcomeUnknown: http.StatusGatewayTimeout,
	naming.NotReady:       http.StatusServiceUnavailable,
	naming.NoHealthCheck:  http.StatusConflict,
	naming.Exists:         http.StatusConflict,
}

// parameters are the fields that this door calls otherwise than naming.
var parameters = map[string]string{naming.FieldOwner: "owner", naming.FieldTTL: "ttl_seconds", naming.FieldReason: "reason"}

// failed answers an error of a use case. Who is refused because something still
// belongs to the object is told what, as far as blocking knows.
func (s *Server) failed(w http.ResponseWriter, err error, blocking func(field string) []string) {
	e, ours := errors.AsType[*naming.Error](err)
	if !ours || e.Msg == "" {
		s.deps.Log.Error("request failed", zap.Error(err))
		problem(w, http.StatusInternalServerError, "", "the server met an error of its own; its log says more")
		return
	}
	status := statuses[e.Kind]
	if e.Kind == naming.Conflict && e.Field == naming.FieldRevision {
		status = http.StatusPreconditionFailed
	}
	if status >= http.StatusInternalServerError {
		s.deps.Log.Warn("request failed", zap.Error(err))
	}
	if e.Kind == naming.Overloaded {
		w.Header().Set("Retry-After", "1")
	}
	parameter := e.Field
	if other, ok := parameters[parameter]; ok {
		parameter = other
	}
	var still []string
	if e.Kind == naming.Conflict && blocking != nil {
		still = blocking(e.Field)
	}
	problemWith(w, status, parameter, e.Msg, still)
}
