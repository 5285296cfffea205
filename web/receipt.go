package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"polestar/auth"
	"polestar/naming"
	"polestar/xds/receipt"
)

// receipts answers when every xDS client that a revision concerns has it, or at
// the timeout. The parameter client may be given several times.
func (s *Server) receipts(w http.ResponseWriter, r *http.Request) {
	q, wrong := receiptRequest(r.URL.RawQuery)
	if wrong != nil {
		s.failed(w, wrong, nil)
		return
	}
	if !s.may(w, r, auth.Inspect, q.Service) {
		return
	}
	q.Shown = s.shown(r)
	// The door's own timeouts are made for answers that come at once.
	rc := http.NewResponseController(w)
	for _, set := range []func(time.Time) error{rc.SetReadDeadline, rc.SetWriteDeadline} {
		if err := set(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return // the connection is gone
		}
	}
	allowed, end := s.whileAllowed(r.Context(), credentials(r), auth.Inspect, q.Service)
	defer end()
	got, err := s.deps.Receipt(allowed, q)
	if refusal, ended := errors.AsType[*auth.Error](context.Cause(allowed)); ended {
		s.turnDown(w, r, auth.Inspect, auth.ResourceOf(s.deps.World(), q.Service), refusal)
		return
	}
	if err != nil {
		if r.Context().Err() == nil { // else nobody is left to read an answer
			s.failed(w, err, nil)
		}
		return
	}
	_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	answer(w, http.StatusOK, got)
}

func receiptRequest(raw string) (receipt.Request, error) {
	var q receipt.Request
	values, err := readQuery(raw, "revision", "timeout", "namespace", "service", "client")
	if err != nil {
		return q, err
	}
	if text := values.Get("revision"); text != "" {
		if q.Revision, err = strconv.ParseUint(text, 10, 64); err != nil {
			return q, naming.Errorf(naming.Invalid, "revision", "revision: %.32q is not a number between 0 and 2^64-1", text)
		}
	}
	if text := values.Get("timeout"); text != "" {
		if q.Timeout, err = time.ParseDuration(text); err != nil {
			return q, naming.Errorf(naming.Invalid, "timeout", "timeout: %.32q is not a duration as 10s or 1m", text)
		}
	}
	q.Service = serviceOf(values)
	q.Clients = slices.DeleteFunc(values["client"], func(c string) bool { return c == "" })
	return q, nil
}

// serviceOf is the service that is asked for: in the default namespace unless
// another one is named.
func serviceOf(values url.Values) naming.ServiceKey {
	key := naming.ServiceKey{Namespace: values.Get("namespace"), Name: values.Get("service")}
	if key.Namespace == "" && key.Name != "" {
		key.Namespace = naming.DefaultNamespace
	}
	return key
}

// readQuery reads a query of which only the named parameters may be there, and
// only client more than once.
func readQuery(raw string, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, naming.Errorf(naming.Invalid, "query", "query: %s", err)
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // the same query gives the same answer
	for _, name := range names {
		switch {
		case !slices.Contains(known, name):
			return nil, naming.Errorf(naming.Invalid, name, "%.32q: unknown parameter; known here: %s", name, strings.Join(known, ", "))
		case len(values[name]) > 1 && name != "client":
			return nil, naming.Errorf(naming.Invalid, name, "%s: given more than once", name)
		}
	}
	return values, nil
}
