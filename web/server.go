package web

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"polestar/auth"
	"polestar/naming"
	"polestar/xds/explain"
	"polestar/xds/receipt"
)

// Check is one condition of readiness.
type Check struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
	Text  string `json:"text,omitempty"` // why not
}

// Deps are what the door shows.
type Deps struct {
	World func() naming.World
	// Loaded reports whether World has all that is stored; before, nothing of it
	// is shown or changed.
	Loaded func() bool
	Admin  Admin
	// ChangeLog, and what bounds it; the reach's revisions are filled in here.
	ChangeLog Log
	LogBounds Reach
	// Await returns when a revision is visible here, or with ctx's error.
	Await   func(ctx context.Context, rev naming.Revision) error
	Cleanup Cleanup
	Checks  func() []Check
	Clients func() []Client
	// Problems lists what was left out of the xDS resources that are watched.
	Problems func() []Problem
	Explain  *explain.Explainer
	Guard    Guard
	// Receipt waits until every xDS client that a revision concerns has it.
	Receipt func(context.Context, receipt.Request) (receipt.Receipt, error)
	// Inspect is what somebody may see of clients and of what they have; nil:
	// everything.
	Inspect func(context.Context, auth.Principal) receipt.Shown
	Metrics prometheus.Gatherer
	// OpenMetrics answers /metrics to everybody.
	OpenMetrics bool
	Auth        auth.Gate
	Access      Access
	// Pace reports whether a peer may ask now, and if not, when; nil: always.
	Pace func(ip string) (ok bool, wait time.Duration)
	// Bound bounds the connections of the door; nil: nothing does.
	Bound func(net.Listener) net.Listener
	// Refused is told of every request that was turned down for who sent it; it
	// must not block.
	Refused func(auth.Refusal)
	// Polaris answers the paths of Polaris' own protocol, which begin with one of
	// PolarisAt; nil: nothing does.
	Polaris   http.Handler
	PolarisAt []string
	// TLS of the door, for h2 and http/1.1; nil: plain text.
	TLS *tls.Config
	Log *zap.Logger
}

// Server is the HTTP door.
type Server struct {
	deps     Deps
	addr     string
	http     *http.Server
	listener net.Listener
	streams  chan struct{} // one for each stream of events

	mu   sync.Mutex                   // guards everything below
	ends map[*byte]context.CancelFunc // of streams; nil once the server stops
}

// writeTimeout bounds an answer; a CPU profile takes 30 s by default.
const writeTimeout = 90 * time.Second

// New makes the door at addr, host:port.
func New(addr string, d Deps) *Server {
	s := &Server{deps: d, addr: addr, streams: make(chan struct{}, maxEventStreams), ends: map[*byte]context.CancelFunc{}}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		TLSConfig:         d.TLS,
		ErrorLog:          zap.NewStdLog(d.Log),
	}
	s.http.RegisterOnShutdown(s.endStreams)
	return s
}

func (s *Server) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(secure, s.paced, middleware.GetHead, s.identified) // balancers probe with HEAD
	r.Get("/healthz", s.healthz)
	r.Get("/readyz", s.readyz)
	r.Method(http.MethodGet, "/metrics", s.metrics(promhttp.HandlerFor(s.deps.Metrics, promhttp.HandlerOpts{
		ErrorLog: zap.NewStdLog(s.deps.Log), MaxRequestsInFlight: maxScrapes,
	})))
	r.Route("/debug/pprof", func(r chi.Router) {
		r.Use(s.maintainers)
		r.HandleFunc("/cmdline", pprof.Cmdline)
		r.HandleFunc("/profile", pprof.Profile)
		r.HandleFunc("/symbol", pprof.Symbol)
		r.HandleFunc("/trace", pprof.Trace)
		r.HandleFunc("/*", pprof.Index)
	})
	r.Route("/api/v1", func(r chi.Router) {
		r.Use(guarded, s.loaded)
		s.manage(r)
		r.Group(s.administer)
		r.Get("/clients", s.clients)
		r.Get("/clients/{id}", s.client)
		r.Get("/clients/{id}/resources", s.clientResources)
		r.Get("/diff", s.diff)
		r.Get("/explain", s.explain)
		r.Get("/problems", s.problems)
		r.Get("/guard", s.guard)
		r.Post("/guard/release", s.release)
		r.Get("/receipts", s.receipts)
		r.Get("/cleanup", s.cleanups)
		r.Post("/cleanup", s.runCleanup)
		r.Get("/history", s.history)
		r.Get("/events", s.events)
	})
	for _, prefix := range s.deps.PolarisAt {
		r.With(guarded).Handle(prefix+"*", s.deps.Polaris)
	}
	r.NotFound(func(w http.ResponseWriter, req *http.Request) {
		problem(w, http.StatusNotFound, "", "there is nothing at "+req.URL.Path)
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Allow", strings.Join(allowed(r, req), ", "))
		problem(w, http.StatusMethodNotAllowed, "", req.Method+" is not allowed at "+req.URL.Path)
	})
	return r
}

// manage are the routes to what is registered.
func (s *Server) manage(r chi.Router) {
	item := func(path string, get, put, del http.HandlerFunc) {
		r.Get(path, get)
		r.Put(path, put)
		r.Patch(path, put)
		r.Delete(path, del)
	}
	r.Get("/namespaces", s.namespaces)
	r.Post("/namespaces", s.putNamespace)
	item("/namespaces/{namespace}", s.namespace, s.putNamespace, s.deleteNamespace)
	r.Get("/services", s.services)
	r.Post("/services", s.putService)
	item("/services/{namespace}/{name}", s.service, s.putService, s.deleteService)
	r.Get("/aliases", s.aliases)
	r.Post("/aliases", s.putAlias)
	item("/aliases/{namespace}/{name}", s.alias, s.putAlias, s.deleteAlias)
	r.Get("/instances", s.instances)
	r.Patch("/instances", s.patchInstances)
	r.Get("/instances/{id}", s.instance)
	r.Patch("/instances/{id}", s.patchInstance)
	r.Delete("/instances/{id}", s.deleteInstance)
	r.Get("/overrides", s.overrides)
	r.Delete("/overrides/{id}", s.deleteOverride)
}

// allowed lists the methods that a path takes.
func allowed(routes chi.Routes, r *http.Request) (out []string) {
	path := cmp.Or(r.URL.RawPath, r.URL.Path)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		asked := method
		if method == http.MethodHead { // answered as GET
			asked = http.MethodGet
		}
		if routes.Match(chi.NewRouteContext(), asked, path) {
			out = append(out, method)
		}
	}
	return out
}

// maxScrapes bounds the readings of /metrics at one time; more get 503.
const maxScrapes = 4

// secure sets what every answer has. Nothing here is a page for browsers, but
// pprof's index, which brings a style of its own.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		next.ServeHTTP(w, r)
	})
}

// Listen opens the port.
func (s *Server) Listen(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("http address %s is already in use: %w", s.addr, err)
	case err != nil:
		return fmt.Errorf("http address %s cannot be listened on: %w", s.addr, err)
	}
	s.listener = l
	if s.deps.Bound != nil {
		s.listener = s.deps.Bound(l)
	}
	return nil
}

// Addr is the address that the door listens on; nil before [Server.Listen].
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() {
		if s.deps.TLS != nil {
			served <- s.http.ServeTLS(s.listener, "", "")
			return
		}
		served <- s.http.Serve(s.listener)
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := s.http.Shutdown(bounded); err != nil {
		_ = s.http.Close() // a profile may still run; it is not worth waiting for
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte("ok\n"))
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	checks := s.deps.Checks()
	status := http.StatusOK
	for _, c := range checks {
		if !c.Ready {
			status = http.StatusServiceUnavailable
		}
	}
	if r.URL.Query().Has("verbose") {
		answer(w, status, map[string]any{"ready": status == http.StatusOK, "checks": checks})
		return
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, http.StatusText(status))
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(body) // the client is gone when this fails
}
