package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"polestar/naming"
)

// Check is one condition of readiness.
type Check struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
	Text  string `json:"text,omitempty"` // why not
}

// Deps are what the door shows.
type Deps struct {
	World   func() naming.World
	Checks  func() []Check
	Clients func() []Client
	// Problems lists what was left out of the xDS resources that are watched.
	Problems func() []Problem
	Metrics  prometheus.Gatherer
	Log      *zap.Logger
}

// Server is the HTTP door.
type Server struct {
	deps     Deps
	addr     string
	http     *http.Server
	listener net.Listener
}

// New makes the door at addr, host:port.
func New(addr string, d Deps) *Server {
	s := &Server{deps: d, addr: addr}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      90 * time.Second, // a CPU profile takes 30 s by default
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(d.Log),
	}
	return s
}

func (s *Server) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(secure, middleware.GetHead) // balancers probe with HEAD
	r.Get("/healthz", s.healthz)
	r.Get("/readyz", s.readyz)
	r.Handle("/metrics", promhttp.HandlerFor(s.deps.Metrics, promhttp.HandlerOpts{
		ErrorLog: zap.NewStdLog(s.deps.Log), MaxRequestsInFlight: maxScrapes,
	}))
	r.Route("/debug/pprof", func(r chi.Router) {
		r.HandleFunc("/cmdline", pprof.Cmdline)
		r.HandleFunc("/profile", pprof.Profile)
		r.HandleFunc("/symbol", pprof.Symbol)
		r.HandleFunc("/trace", pprof.Trace)
		r.HandleFunc("/*", pprof.Index)
	})
	r.Route("/api/v1", func(r chi.Router) {
		r.Get("/namespaces", s.namespaces)
		r.Get("/services", s.services)
		r.Get("/instances", s.instances)
		r.Get("/clients", s.clients)
		r.Get("/clients/{id}", s.client)
		r.Get("/problems", s.problems)
	})
	r.NotFound(func(w http.ResponseWriter, req *http.Request) {
		problem(w, http.StatusNotFound, "", "there is nothing at "+req.URL.Path)
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Allow", "GET, HEAD") // all routes that refuse a method take these
		problem(w, http.StatusMethodNotAllowed, "", req.Method+" is not allowed at "+req.URL.Path)
	})
	return r
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
	go func() { served <- s.http.Serve(s.listener) }()
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

// problem answers an error in the form of RFC 9457; parameter is the part of
// the request that is wrong, empty when it is none.
func problem(w http.ResponseWriter, status int, parameter, detail string) {
	body := map[string]any{"status": status, "title": http.StatusText(status), "detail": detail}
	if parameter != "" {
		body["parameter"] = parameter
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
