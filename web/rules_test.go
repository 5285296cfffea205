package web

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-chi/chi/v5"

	"polestar/auth"
	"polestar/naming"
	"polestar/xds/receipt"
)

// doorman is a gate whose answers a test chooses, and that keeps what it was
// asked.
type doorman struct {
	auth.Open
	who     error // of Authenticate
	refuse  error // of Allow
	scope   auth.Scope
	changed chan struct{}

	mu    sync.Mutex
	shown []auth.Credentials
	apis  []auth.API
	asked []asked
}

type asked struct {
	Action   auth.Action
	Resource auth.Resource
}

func (d *doorman) Authenticate(_ context.Context, api auth.API, c auth.Credentials) (auth.Principal, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shown = append(d.shown, c)
	if api != auth.ConsoleAPI && api != auth.AdminAPI {
		panic("the HTTP door is the console's")
	}
	d.apis = append(d.apis, api)
	return auth.Principal{ID: "1", Name: "ann"}, d.who
}

func (d *doorman) Allow(_ context.Context, _ auth.API, _ auth.Principal, a auth.Action, r auth.Resource) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, asked{a, r})
	return d.refuse
}

func (d *doorman) Scope(auth.API, auth.Principal) auth.Scope { return d.scope }

func (d *doorman) Changed() <-chan struct{} { return d.changed }

func (d *doorman) take() []asked {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.asked
	d.asked = nil
	return out
}

// nothing is the scope of somebody who may read nothing.
var nothing = auth.Scope{Key: "nothing", See: func(*naming.Namespace, *naming.Service) bool { return false }}

// rule is what a route asks for.
type rule struct {
	path   string // of a request that reaches the question
	body   string
	action auth.Action // empty: it lists what its reader may read
	on     auth.Resource
	open   bool // for everybody
	login  bool // for everybody, and it finds out itself who that is
}

// rules are those of all routes. Who adds a route adds its rule here.
func rules() map[string]rule {
	server, ns, svc := auth.Resource{}, auth.Resource{Namespace: "ns"}, auth.Resource{Namespace: "ns", Service: "svc"}
	const reason = `"reason":"r"`
	return map[string]rule{
		"GET /healthz":                               {path: "/healthz", open: true},
		"GET /readyz":                                {path: "/readyz", open: true},
		"GET /metrics":                               {path: "/metrics", action: auth.Metrics, on: server},
		"* /debug/pprof/cmdline":                     {path: "/debug/pprof/cmdline", action: auth.Maintain, on: server},
		"* /debug/pprof/profile":                     {path: "/debug/pprof/profile", action: auth.Maintain, on: server},
		"* /debug/pprof/symbol":                      {path: "/debug/pprof/symbol", action: auth.Maintain, on: server},
		"* /debug/pprof/trace":                       {path: "/debug/pprof/trace", action: auth.Maintain, on: server},
		"* /debug/pprof/*":                           {path: "/debug/pprof/heap", action: auth.Maintain, on: server},
		"GET /api/v1/namespaces":                     {path: "/api/v1/namespaces"},
		"POST /api/v1/namespaces":                    {path: "/api/v1/namespaces", body: `{"name":"ns"}`, action: auth.Write, on: ns},
		"GET /api/v1/namespaces/{namespace}":         {path: "/api/v1/namespaces/ns"},
		"PUT /api/v1/namespaces/{namespace}":         {path: "/api/v1/namespaces/ns", body: `{}`, action: auth.Write, on: ns},
		"PATCH /api/v1/namespaces/{namespace}":       {path: "/api/v1/namespaces/ns", body: `{}`, action: auth.Write, on: ns},
		"DELETE /api/v1/namespaces/{namespace}":      {path: "/api/v1/namespaces/ns", action: auth.Write, on: ns},
		"GET /api/v1/services":                       {path: "/api/v1/services"},
		"POST /api/v1/services":                      {path: "/api/v1/services", body: `{"namespace":"ns","name":"svc"}`, action: auth.Write, on: svc},
		"GET /api/v1/services/{namespace}/{name}":    {path: "/api/v1/services/ns/svc"},
		"PUT /api/v1/services/{namespace}/{name}":    {path: "/api/v1/services/ns/svc", body: `{}`, action: auth.Write, on: svc},
		"PATCH /api/v1/services/{namespace}/{name}":  {path: "/api/v1/services/ns/svc", body: `{}`, action: auth.Write, on: svc},
		"DELETE /api/v1/services/{namespace}/{name}": {path: "/api/v1/services/ns/svc", action: auth.Write, on: svc},
		"GET /api/v1/aliases":                        {path: "/api/v1/aliases"},
		"POST /api/v1/aliases":                       {path: "/api/v1/aliases", body: `{"namespace":"ns","name":"svc","for_namespace":"a","for_service":"b"}`, action: auth.Write, on: svc},
		"GET /api/v1/aliases/{namespace}/{name}":     {path: "/api/v1/aliases/ns/svc"},
		"PUT /api/v1/aliases/{namespace}/{name}":     {path: "/api/v1/aliases/ns/svc", body: `{"for_namespace":"a","for_service":"b"}`, action: auth.Write, on: svc},
		"PATCH /api/v1/aliases/{namespace}/{name}":   {path: "/api/v1/aliases/ns/svc", body: `{}`, action: auth.Write, on: svc},
		"DELETE /api/v1/aliases/{namespace}/{name}":  {path: "/api/v1/aliases/ns/svc", action: auth.Write, on: svc},
		"GET /api/v1/instances":                      {path: "/api/v1/instances"},
		"PATCH /api/v1/instances":                    {path: "/api/v1/instances?namespace=ns&service=svc&host=10.0.0.1", body: `{"weight":1}`, action: auth.Operate, on: svc},
		"GET /api/v1/instances/{id}":                 {path: "/api/v1/instances/i1"},
		"PATCH /api/v1/instances/{id}":               {path: "/api/v1/instances/i1", body: `{"weight":1}`, action: auth.Operate, on: svc},
		"DELETE /api/v1/instances/{id}":              {path: "/api/v1/instances/i1", action: auth.Operate, on: svc},
		"GET /api/v1/overrides":                      {path: "/api/v1/overrides"},
		"DELETE /api/v1/overrides/{id}":              {path: "/api/v1/overrides/nobody", action: auth.Operate, on: server},
		"GET /api/v1/clients":                        {path: "/api/v1/clients", action: auth.Inspect, on: server},
		"GET /api/v1/clients/{id}":                   {path: "/api/v1/clients/7", action: auth.Inspect, on: server},
		"GET /api/v1/clients/{id}/resources":         {path: "/api/v1/clients/7/resources", action: auth.Inspect, on: server},
		"GET /api/v1/diff":                           {path: "/api/v1/diff", action: auth.Inspect, on: server},
		"GET /api/v1/explain":                        {path: "/api/v1/explain?client=c&namespace=ns&service=svc", action: auth.Inspect, on: svc},
		"GET /api/v1/problems":                       {path: "/api/v1/problems", action: auth.Inspect, on: server},
		"GET /api/v1/guard":                          {path: "/api/v1/guard", action: auth.Inspect, on: server},
		"POST /api/v1/guard/release":                 {path: "/api/v1/guard/release", body: `{"namespace":"ns","service":"svc",` + reason + `}`, action: auth.Maintain, on: svc},
		"GET /api/v1/receipts":                       {path: "/api/v1/receipts?namespace=ns&service=svc", action: auth.Inspect, on: svc},
		"GET /api/v1/cleanup":                        {path: "/api/v1/cleanup", action: auth.Inspect, on: server},
		"POST /api/v1/cleanup":                       {path: "/api/v1/cleanup", body: `{"job":"instances"}`, action: auth.Maintain, on: server},
		"POST /api/v1/login":                         {path: "/api/v1/login", body: `{"name":"ann","password":"wrong"}`, login: true},
		"GET /api/v1/whoami":                         {path: "/api/v1/whoami", open: true},
		"GET /api/v1/may":                            {path: "/api/v1/may?action=read&principal=anonymous", action: auth.Administer, on: server},
		"GET /api/v1/users":                          {path: "/api/v1/users", action: auth.Administer, on: server},
		"POST /api/v1/users":                         {path: "/api/v1/users", body: `{"name":"eve"}`, action: auth.Administer, on: server},
		"GET /api/v1/users/{name}":                   {path: "/api/v1/users/eve", action: auth.Administer, on: server},
		"PATCH /api/v1/users/{name}":                 {path: "/api/v1/users/eve", body: `{"comment":"x"}`, action: auth.Administer, on: server},
		"DELETE /api/v1/users/{name}":                {path: "/api/v1/users/eve", action: auth.Administer, on: server},
		"GET /api/v1/groups":                         {path: "/api/v1/groups", action: auth.Administer, on: server},
		"POST /api/v1/groups":                        {path: "/api/v1/groups", body: `{"name":"eve"}`, action: auth.Administer, on: server},
		"GET /api/v1/groups/{name}":                  {path: "/api/v1/groups/eve", action: auth.Administer, on: server},
		"PATCH /api/v1/groups/{name}":                {path: "/api/v1/groups/eve", body: `{"comment":"x"}`, action: auth.Administer, on: server},
		"DELETE /api/v1/groups/{name}":               {path: "/api/v1/groups/eve", action: auth.Administer, on: server},
		"GET /api/v1/policies":                       {path: "/api/v1/policies", action: auth.Administer, on: server},
		"POST /api/v1/policies":                      {path: "/api/v1/policies", body: `{"name":"eve"}`, action: auth.Administer, on: server},
		"GET /api/v1/policies/{name}":                {path: "/api/v1/policies/eve", action: auth.Administer, on: server},
		"PATCH /api/v1/policies/{name}":              {path: "/api/v1/policies/eve", body: `{"comment":"x"}`, action: auth.Administer, on: server},
		"DELETE /api/v1/policies/{name}":             {path: "/api/v1/policies/eve", action: auth.Administer, on: server},
		"GET /api/v1/tokens":                         {path: "/api/v1/tokens"},
		"POST /api/v1/tokens":                        {path: "/api/v1/tokens", body: `{"user":"eve"}`, action: auth.Administer, on: server},
		"GET /api/v1/tokens/{name}":                  {path: "/api/v1/tokens/1", action: auth.Administer, on: server},
		"PATCH /api/v1/tokens/{name}":                {path: "/api/v1/tokens/1", body: `{"comment":"x"}`, action: auth.Administer, on: server},
		"DELETE /api/v1/tokens/{name}":               {path: "/api/v1/tokens/1", action: auth.Administer, on: server},
		"GET /api/v1/history":                        {path: "/api/v1/history", action: auth.History, on: server},
		"GET /api/v1/events":                         {path: "/api/v1/events?follow=false&namespace=ns", action: auth.History, on: ns},
	}
}

// routesOf lists the routes of a door as "METHOD pattern"; one that takes every
// method is "* pattern".
func routesOf(t *testing.T, s *Server) map[string]string {
	t.Helper()
	methods := map[string][]string{}
	err := chi.Walk(s.http.Handler.(chi.Routes), func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		methods[pattern] = append(methods[pattern], method)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for pattern, list := range methods {
		if len(list) > 6 {
			out["* "+pattern] = http.MethodGet
			continue
		}
		for _, m := range list {
			out[m+" "+pattern] = m
		}
	}
	return out
}

func sendTo(s *Server, method, path, body string, header ...string) *httptest.ResponseRecorder {
	var r *http.Request
	if body == "" {
		r = httptest.NewRequest(method, path, nil)
	} else {
		r = httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
	for n := 0; n+1 < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, r)
	return w
}

// Every route asks, and who may nothing gets nothing through any of them.
func TestEveryRouteHasARule(t *testing.T) {
	b, all := newBackend(t), rules()
	for route, method := range routesOf(t, doorOf(b, true)) {
		want, known := all[route]
		if !known {
			t.Errorf("%s: a route without a rule", route)
			continue
		}
		delete(all, route)
		for _, who := range []error{nil, &auth.Error{Reason: auth.NoCredentials, Msg: "no token"}} {
			d := &doorman{who: who, refuse: &auth.Error{Reason: auth.Forbidden, Msg: "not yours"}, scope: nothing}
			s, told := guardedBy(b, d)
			before := b.World().Revision()
			w := sendTo(s, method, want.path, want.body)
			switch questions := d.take(); {
			case b.World().Revision() != before:
				t.Errorf("%s: changed the world though it was refused", route)
			case want.login:
				if w.Code != http.StatusUnauthorized || len(questions) != 0 || len(*told) != 1 {
					t.Errorf("%s: %d %s, told %+v", route, w.Code, w.Body, *told)
				}
			case want.open:
				if w.Code != http.StatusOK || len(*told) != 0 {
					t.Errorf("%s: %d %s, want it to be open", route, w.Code, w.Body)
				}
			case who != nil:
				if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" || len(*told) != 1 {
					t.Errorf("%s without credentials: %d %s, %d refusals told", route, w.Code, w.Body, len(*told))
				}
			case want.action == "":
				if w.Code != http.StatusNotFound && (w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"total": 0`)) {
					t.Errorf("%s shows something: %d %s", route, w.Code, w.Body)
				}
			default:
				if len(questions) == 0 || questions[0] != (asked{want.action, want.on}) {
					t.Errorf("%s asked for %v, want %v", route, questions, asked{want.action, want.on})
				}
				if w.Code != http.StatusForbidden || len(*told) != 1 || !strings.HasPrefix((*told)[0].Method, method+" /") {
					t.Errorf("%s: %d %s, told %+v", route, w.Code, w.Body, *told)
				}
			}
		}
	}
	for route := range all {
		t.Errorf("%s: a rule without a route", route)
	}
}

func TestWhoIsCalling(t *testing.T) {
	d := &doorman{}
	s, _ := guardedBy(newBackend(t), d)
	for _, c := range []struct{ name, value, want string }{
		{"Authorization", "Bearer secret", "secret"},
		{"authorization", "bearer  secret ", "secret"},
		{"X-Polaris-Token", "secret", "secret"},
		{"Authorization", "Basic c2VjcmV0", ""},
		{"Authorization", "secret", ""},
	} {
		sendTo(s, http.MethodGet, "/api/v1/services", "", c.name, c.value)
		if got := d.shown[len(d.shown)-1].Token; got != c.want {
			t.Errorf("%s: %q shows token %q, want %q", c.name, c.value, got, c.want)
		}
	}
}

// Nobody is asked who he is where that does not matter: a prober without a
// token would be counted as refused every few seconds.
func TestProbesAreNotAuthenticated(t *testing.T) {
	d := &doorman{}
	s, _ := guardedBy(newBackend(t), d)
	s.deps.OpenMetrics = true
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		sendTo(s, http.MethodGet, path, "")
	}
	if len(d.shown) != 0 {
		t.Errorf("%d times", len(d.shown))
	}
}

// The history names who did it.
func TestChangesNameTheirPrincipal(t *testing.T) {
	s, _ := guardedBy(newBackend(t), &doorman{})
	if w := sendTo(s, http.MethodPatch, "/api/v1/instances/i1", `{"weight":3}`); w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	if w := sendTo(s, http.MethodGet, "/api/v1/history?limit=1", ""); !strings.Contains(w.Body.String(), `"principal": "ann"`) {
		t.Error(w.Body)
	}
}

// What may not be read is not in any list, nor found by its name.
func TestListsShowWhatTheirReaderMayRead(t *testing.T) {
	d := &doorman{scope: auth.Scope{Key: "other", See: func(ns *naming.Namespace, s *naming.Service) bool {
		return s == nil && ns.Name == "other" || s != nil && s.Key.Namespace == "other"
	}}}
	s, _ := guardedBy(newBackend(t), d)
	for path, want := range map[string]string{
		"/api/v1/namespaces": `"total": 1`, "/api/v1/services": `"total": 1`, "/api/v1/instances": `"total": 0`,
		"/api/v1/services/ns/svc": "does not exist", "/api/v1/instances/i1": "not registered", "/api/v1/namespaces/ns": "does not exist",
	} {
		if w := sendTo(s, http.MethodGet, path, ""); !strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String(), `"svc-secret"`) {
			t.Errorf("%s: %s, want %q", path, w.Body, want)
		}
	}
	if w := sendTo(s, http.MethodGet, "/api/v1/history", ""); strings.Contains(w.Body.String(), `"namespace": "ns"`) {
		t.Errorf("the history shows what may not be read: %s", w.Body)
	}
}

// A stream of events ends when its reader may read it no more.
func TestEventsEndWithTheRight(t *testing.T) {
	d := &doorman{changed: make(chan struct{})}
	s, _ := guardedBy(newBackend(t), d)
	srv := httptest.NewServer(s.http.Handler)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	d.mu.Lock()
	d.refuse = &auth.Error{Reason: auth.Forbidden, Msg: "no more"}
	d.mu.Unlock()
	close(d.changed)
	buf := make([]byte, 1024)
	for err == nil { // until the end
		_, err = res.Body.Read(buf)
	}
}

// A receipt that is waited for is answered with a refusal as soon as its reader
// may not have it any more.
func TestReceiptsEndWithTheRight(t *testing.T) {
	d := &doorman{changed: make(chan struct{})}
	s, told := guardedBy(newBackend(t), d)
	s.deps.Receipt = func(ctx context.Context, _ receipt.Request) (receipt.Receipt, error) {
		d.mu.Lock()
		d.refuse = &auth.Error{Reason: auth.Forbidden, Msg: "no more"}
		d.mu.Unlock()
		close(d.changed)
		<-ctx.Done()
		return receipt.Receipt{}, ctx.Err()
	}
	if w := sendTo(s, http.MethodGet, "/api/v1/receipts", ""); w.Code != http.StatusForbidden || len(*told) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A stream of events judges what its reader may read by the policies, and by
// the world, of the moment: not by those of its first.
func TestEventsShowWhatTheirReaderMayReadThen(t *testing.T) {
	b := newBackend(t)
	var more atomic.Bool // he may read what ben made, too
	d := &doorman{scope: auth.Scope{Key: "anns", See: func(_ *naming.Namespace, s *naming.Service) bool {
		return s != nil && (s.Creator != "ben" || more.Load())
	}}}
	s, _ := guardedBy(b, d)
	srv := httptest.NewServer(s.http.Handler)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	until := func(name string) {
		t.Helper()
		for lines.Scan() && !strings.Contains(lines.Text(), name) {
			if strings.Contains(lines.Text(), "hush") {
				t.Errorf("it shows what may not be read: %s", lines.Text())
			}
		}
	}
	until("id:")
	put := func(name, creator string) {
		t.Helper()
		b.do(t, &naming.PutService{Key: naming.ServiceKey{Namespace: "ns", Name: name}, Actor: naming.Actor{ID: creator}})
	}
	put("hush", "ben") // was not there when the stream began
	put("open", "ann")
	until("open")
	more.Store(true)
	put("late", "ben")
	until("late")
}

// guardedBy is a door with a gate, and what it told of refusals.
func guardedBy(b backend, d *doorman) (*Server, *[]auth.Refusal) {
	s, told := doorOf(b, true), new([]auth.Refusal)
	s.deps.Auth, s.deps.OpenMetrics = d, false
	s.deps.Refused = func(r auth.Refusal) { *told = append(*told, r) }
	return s, told
}
