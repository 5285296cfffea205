package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/health"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
	"polestar/xds/explain"
	"polestar/xds/receipt"
	"polestar/xds/resource"
)

// backend is a whole registry in memory behind the door: what is written is
// shown at once.
type backend struct {
	*memory.Store
	*registry.Registry
}

// Do implements naming.Writer.
func (b backend) Do(ctx context.Context, w naming.Write) (naming.Result, error) {
	commit, results, err := b.Store.Apply(ctx, []naming.Write{w})
	if err != nil {
		return naming.Result{}, err
	}
	return results[0], b.Registry.Apply(commit)
}

func newBackend(t *testing.T) backend { return newBackendOf(t, store.DefaultLogBounds()) }

func newBackendOf(t *testing.T, bounds store.LogBounds) backend {
	t.Helper()
	b := backend{memory.New(bounds), registry.New()}
	b.do(t,
		&naming.Register{AutoCreate: true, Instance: naming.Instance{
			ID: "i1", Service: naming.ServiceKey{Namespace: "ns", Name: "svc"}, Host: "10.0.0.1", Port: 80, Weight: 7,
		}},
		&naming.PutService{Key: naming.ServiceKey{Namespace: "other", Name: "svc"}, AutoCreate: true})
	return b
}

// do makes one commit of each write.
func (b backend) do(t *testing.T, writes ...naming.Write) {
	t.Helper()
	for _, w := range writes {
		if res, err := b.Do(t.Context(), w); err != nil || res.Err != nil {
			t.Fatal(err, res.Err)
		}
	}
}

func door(t *testing.T, ready bool) *Server {
	t.Helper()
	return doorOf(newBackend(t), ready)
}

func doorOf(b backend, ready bool) *Server {
	return New("127.0.0.1:0", Deps{
		World: b.World, Checks: func() []Check { return []Check{{Name: "registry", Ready: ready}} }, Loaded: func() bool { return true },
		Admin:     naming.NewRegistrar(naming.Config{}, naming.Deps{Writer: b, World: b}),
		ChangeLog: b, LogBounds: Reach{MaxRevisions: 9}, Await: b.Await, Cleanup: &cleaned{},
		Clients:  func() []Client { return []Client{{Stream: 7, Node: "envoy-1"}, {Stream: 9, Node: "envoy-2"}} },
		Problems: func() []Problem { return []Problem{{Service: "ns/svc", Reason: "no address"}} },
		Explain: explain.New(explain.Deps{
			World: b.World, Clients: fleet{}, Touched: func(k naming.ServiceKey) []resource.Ref { return resource.Affected(k, true) },
			Lease: func(string) (health.State, bool) { return health.State{}, false }, Settle: func(context.Context) error { return nil }, Now: time.Now,
		}),
		Guard: &holding{},
		Receipt: func(context.Context, receipt.Request) (receipt.Receipt, error) {
			return receipt.Receipt{Converged: true}, nil
		},
		Access: Access{
			Admin: naming.NewRegistrar(naming.Config{}, naming.Deps{Writer: b, World: b}), Passwords: auth.NewPasswords(), Attempts: auth.NewAttempts(),
			Checked: func(auth.API) bool { return true }, Count: func(auth.API, auth.Reason) {},
			Explain: func(auth.API, string, auth.Action, auth.Resource) auth.Decision {
				return auth.Decision{Why: "no policy allows it"}
			},
		},
		Auth: auth.Open{}, Refused: func(auth.Refusal) {}, Metrics: prometheus.NewRegistry(), Log: zap.NewNop(),
	})
}

func get(s *Server, path string) *httptest.ResponseRecorder { return ask(s, http.MethodGet, path) }

func ask(s *Server, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestAnswers(t *testing.T) {
	s := door(t, true)
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "OK", "/readyz?verbose": `"registry"`, "/metrics": "", "/debug/pprof/cmdline": "",
		"/api/v1/namespaces": `"name": "ns"`, "/api/v1/services?namespace=ns": `"total": 1`, "/api/v1/services": `"total": 2`,
		"/api/v1/instances": `"weight": 7`, "/api/v1/instances?namespace=other": `"total": 0`, "/api/v1/clients": "envoy-1", "/api/v1/problems": "no address",
		"/api/v1/instances?limit=0": `"total": 1`, "/debug/pprof/": "goroutine", "/api/v1/clients/9": "envoy-2",
		"/api/v1/namespaces?namespace=none": `"total": 0`, "/api/v1/services?namespace=other&service=svc": `"total": 1`,
		"/api/v1/services?namespace=other&service=none": `"total": 0`, "/api/v1/instances?service=svc&namespace=": `"total": 1`,
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
		"/api/v1/services?namspace=ns": "namespace", "/api/v1/clients?service=x": "limit, offset", "/api/v1/services?limit=1&limit=2": "more than once",
		"/api/v1/services?%zz": "query", "/api/v1/instances?namespace=" + strings.Repeat("n", 65): "64",
		"/api/v1/instances?service=" + strings.Repeat("é", 129): "129 characters are more than 128", "/api/v1/clients/x": "number of a stream",
		"/api/v1/instances?offset=9999999999": "2147483648",
	} {
		w := get(s, path)
		var p struct {
			Status            int
			Detail, Parameter string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusBadRequest || p.Status != w.Code ||
			!strings.Contains(p.Detail, want) || p.Parameter == "" || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := get(s, "/api/v1/clients/8"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "no stream 8") {
		t.Errorf("%d %s", w.Code, w.Body)
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
		for _, none := range []string{"aliases", "users", "groups", "policies", "tokens"} {
			if strings.HasPrefix(route, "/api/v1/"+none+"/{") {
				return nil // there is none; its own test asks
			}
		}
		route = strings.Replace(route, "/events", "/events?follow=false", 1) // else it does not end
		path := strings.NewReplacer("clients/{id}", "clients/7", "/explain", "/explain?client=7&namespace=ns&service=svc", "/may", "/may?action=read&principal=anonymous", "{id}", "i1", "{namespace}", "ns", "{name}", "svc", "*", "").Replace(route)
		if w := get(s, path); w.Code != http.StatusOK ||
			w.Header().Get("Content-Security-Policy") == "" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", route, w.Code, w.Header())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMethods(t *testing.T) {
	s := door(t, true)
	for path, allow := range map[string]string{
		"/healthz": "GET, HEAD", "/readyz": "GET, HEAD", "/api/v1/services": "GET, HEAD, POST", "/api/v1/instances": "GET, HEAD, PATCH",
	} {
		if w := ask(s, http.MethodHead, path); w.Code != http.StatusOK {
			t.Errorf("HEAD %s: %d", path, w.Code)
		}
		if w := ask(s, http.MethodDelete, path); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != allow {
			t.Errorf("DELETE %s: %d, Allow %q", path, w.Code, w.Header().Get("Allow"))
		}
	}
}

// A page and the revision beside it are of one world, even if the world
// changes while the page is built.
func TestAPageIsOfOneWorld(t *testing.T) {
	s := door(t, true)
	first, asked := s.deps.World(), 0
	later := registry.New()
	if err := later.Apply(naming.Commit{Revision: 1}); err != nil {
		t.Fatal(err)
	}
	s.deps.World = func() naming.World {
		if asked++; asked > 1 {
			return later.World()
		}
		return first
	}
	for _, path := range []string{"/api/v1/namespaces", "/api/v1/services", "/api/v1/instances"} {
		asked = 0
		if get(s, path); asked != 1 {
			t.Errorf("%s looked at %d worlds", path, asked)
		}
	}
}

func TestPagesMeet(t *testing.T) {
	s := door(t, true)
	var names []string
	for offset := range 3 {
		var page struct{ Services []Service }
		if err := json.Unmarshal(get(s, "/api/v1/services?limit=1&offset="+strconv.Itoa(offset)).Body.Bytes(), &page); err != nil {
			t.Fatal(err)
		}
		for _, svc := range page.Services {
			names = append(names, svc.Namespace+"/"+svc.Name)
		}
	}
	if diff := cmp.Diff([]string{"ns/svc", "other/svc"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
