package web

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/registry"
)

func door(t *testing.T, ready bool) *Server {
	t.Helper()
	r := registry.New()
	i := &naming.Instance{ID: "i1", Service: naming.ServiceKey{Namespace: "ns", Name: "svc"}, Host: "10.0.0.1", Port: 80, Healthy: true, Weight: 7}
	err := r.Apply(naming.Commit{Revision: 1, Changes: []naming.Change{
		{After: &naming.Namespace{Name: "ns"}},
		{After: &naming.Service{Key: i.Service}},
		{After: i},
		{After: &naming.Service{Key: naming.ServiceKey{Namespace: "other", Name: "svc"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return New("127.0.0.1:0", Deps{
		World: r.World, Checks: func() []Check { return []Check{{Name: "registry", Ready: ready}} },
		Clients:  func() []Client { return []Client{{Node: "envoy-1"}} },
		Problems: func() []Problem { return []Problem{{Service: "ns/svc", Reason: "no address"}} }, Metrics: prometheus.NewRegistry(), Log: zap.NewNop(),
	})
}

func get(s *Server, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestAnswers(t *testing.T) {
	s := door(t, true)
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "OK", "/readyz?verbose": `"registry"`, "/metrics": "", "/debug/pprof/cmdline": "",
		"/api/v1/namespaces": `"name": "ns"`, "/api/v1/services?namespace=ns": `"total": 1`, "/api/v1/services": `"total": 2`,
		"/api/v1/instances": `"weight": 7`, "/api/v1/instances?namespace=other": `"total": 0`, "/api/v1/clients": "envoy-1", "/api/v1/problems": "no address",
		"/api/v1/instances?limit=0": `"total": 1`, "/debug/pprof/": "goroutine",
	} {
		if w := get(s, path); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %q", path, w.Code, w.Body, want)
		}
	}
}

func TestNotReady(t *testing.T) {
	s := door(t, false)
	if w := get(s, "/readyz"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("readyz = %d", w.Code)
	}
	if w := get(s, "/healthz"); w.Code != http.StatusOK {
		t.Errorf("healthz = %d: the process is alive", w.Code)
	}
}

func TestBadInputIsNamed(t *testing.T) {
	s := door(t, true)
	for path, want := range map[string]string{
		"/api/v1/services?limit=x": "limit", "/api/v1/services?limit=100000": "1000", "/api/v1/instances?offset=-1": "offset",
	} {
		w := get(s, path)
		var p struct{ Detail string }
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusBadRequest || !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := get(s, "/nowhere"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "/nowhere") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Every route answers without a panic and with the headers that all have.
func TestEveryRoute(t *testing.T) {
	s := door(t, true)
	err := chi.Walk(s.http.Handler.(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if method != http.MethodGet || strings.HasSuffix(route, "/profile") || strings.HasSuffix(route, "/trace") {
			return nil
		}
		if w := get(s, strings.TrimSuffix(route, "*")); w.Code >= 500 || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", route, w.Code, w.Header())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
