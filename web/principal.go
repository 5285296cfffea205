package web

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"

	"polestar/auth"
	"polestar/internal/tlsfiles"
	"polestar/naming"
	"polestar/xds/receipt"
)

// caller is who sent a request, or why nobody could be found.
type caller struct {
	api       auth.API
	principal auth.Principal
	err       error // why nobody could be found; nil: principal holds
}

type callerKey struct{}

// knock is a request whose sender is found out when somebody asks.
type knock struct {
	gate auth.Gate
	api  auth.API

	mu     sync.Mutex // guards everything below
	asked  bool
	caller caller
}

// identified makes it possible to find out who is calling. It refuses nobody:
// each handler asks for what it needs. Who asks for nothing, as a probe's
// handler, causes no refusal to be counted.
func (s *Server) identified(next http.Handler) http.Handler { return s.through(auth.ConsoleAPI, next) }

// always is for what no switch opens: who is calling is found out also where
// the console is not checked.
func (s *Server) always(next http.Handler) http.Handler { return s.through(auth.AdminAPI, next) }

func (s *Server) through(api auth.API, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, &knock{gate: s.deps.Auth, api: api})))
	})
}

// credentials takes what a request shows: a bearer token, Polaris' own header,
// or the names in a client certificate that TLS has verified.
func credentials(r *http.Request) auth.Credentials {
	var c auth.Credentials
	if kind, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(kind, "Bearer") {
		c.Token = strings.TrimSpace(token)
	} else {
		c.Token = r.Header.Get("X-Polaris-Token")
	}
	c.Identities = tlsfiles.Verified(r.TLS)
	return c
}

// callerOf is who sent a request.
func callerOf(r *http.Request) caller {
	k, ok := r.Context().Value(callerKey{}).(*knock)
	if !ok {
		return caller{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.asked {
		k.asked = true
		k.caller.api = k.api
		k.caller.principal, k.caller.err = k.gate.Authenticate(r.Context(), k.api, credentials(r))
	}
	return k.caller
}

// world is what the caller may read of the registered world.
func (s *Server) world(r *http.Request) naming.World {
	return seen(s.deps.World(), s.deps.Auth.Scope(auth.ConsoleAPI, callerOf(r).principal))
}

// may reports whether the caller may do a to what is at key, as it is stored;
// else it has answered. A key without a namespace is the server as a whole.
func (s *Server) may(w http.ResponseWriter, r *http.Request, a auth.Action, key naming.ServiceKey) bool {
	c, on := callerOf(r), auth.ResourceOf(s.deps.World(), key)
	err := c.err
	if err == nil {
		err = s.deps.Auth.Allow(r.Context(), c.api, c.principal, a, on)
	}
	if err == nil {
		return true
	}
	s.turnDown(w, r, a, on, err)
	return false
}

// turnDown answers a refusal: 401 asks for other credentials, 403 says that
// these are understood and do not suffice.
func (s *Server) turnDown(w http.ResponseWriter, r *http.Request, a auth.Action, on auth.Resource, err error) {
	s.tell(r, a, on, err)
	status := http.StatusForbidden
	if e, ok := errors.AsType[*auth.Error](err); ok && e.Reason != auth.Forbidden {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer realm="polestar"`)
	}
	problem(w, status, "", err.Error())
}

// tell tells of a refusal.
func (s *Server) tell(r *http.Request, a auth.Action, on auth.Resource, err error) {
	refusal := &auth.Error{Reason: auth.Forbidden}
	errors.As(err, &refusal)
	s.deps.Refused(auth.Refusal{
		Principal: callerOf(r).principal, Address: actor(r).Address, Method: r.Method + " " + chi.RouteContext(r.Context()).RoutePattern(),
		Action: a, Resource: on, Reason: refusal.Reason,
	})
}

// shown is what the caller may see of clients and of what they have; nil:
// everything.
func (s *Server) shown(r *http.Request) receipt.Shown {
	if s.deps.Inspect == nil {
		return nil
	}
	return s.deps.Inspect(r.Context(), callerOf(r).principal)
}

// known reports whether it is clear who is calling; else it has answered. It
// is what a list asks for, which shows only what its reader may read.
func (s *Server) known(w http.ResponseWriter, r *http.Request) bool {
	c := callerOf(r)
	if c.err == nil {
		return true
	}
	s.turnDown(w, r, auth.Read, auth.Resource{}, c.err)
	return false
}

// maintainers lets only those on who may maintain the server.
func (s *Server) maintainers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.may(w, r, auth.Maintain, naming.ServiceKey{}) {
			next.ServeHTTP(w, r)
		}
	})
}

// metrics lets those read the metrics who may.
func (s *Server) metrics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.deps.OpenMetrics || s.may(w, r, auth.Metrics, naming.ServiceKey{}) {
			next.ServeHTTP(w, r)
		}
	})
}

// whileAllowed is a context for a long answer: it ends when the caller's
// credentials or rights do. The function that it returns waits until nothing
// of it runs any more.
func (s *Server) whileAllowed(
	ctx context.Context, shown auth.Credentials, a auth.Action, key naming.ServiceKey,
) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			changed := s.deps.Auth.Changed()
			p, err := s.deps.Auth.Authenticate(ctx, auth.ConsoleAPI, shown)
			if err == nil {
				err = s.deps.Auth.Allow(ctx, auth.ConsoleAPI, p, a, auth.ResourceOf(s.deps.World(), key))
			}
			if err != nil {
				cancel(err)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}
