package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

// send makes one request as a program would; headers are name, value, …
func send(s *Server, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "test/1")
	for n := 0; n+1 < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, r)
	return w
}

// must decodes an answer of this status.
func must[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (out T) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("%d %s, want %d", w.Code, w.Body, status)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return out
}

// refused is the form of every refusal.
type refused struct {
	Status            int
	Parameter, Detail string
	Blocking          []string
}

func TestServicesAreManaged(t *testing.T) {
	s := door(t, true)
	if p := must[refused](t, send(s, "POST", "/api/v1/services", `{"namespace":"new","name":"a/b"}`), 404); p.Parameter != "namespace" {
		t.Errorf("no such namespace: %+v", p)
	}
	ns := must[Mutation](t, send(s, "POST", "/api/v1/namespaces", `{"name":"new","comment":"text","service_export_to":["b","a"]}`), 201)
	if ns.Outcome != "created" || ns.Revision != 3 || !cmp.Equal(ns.Namespace.ServiceExportTo, []string{"a", "b"}) {
		t.Errorf("%+v", ns)
	}
	w := send(s, "POST", "/api/v1/services", `{"namespace":"new","name":"a/b","metadata":{"team":"x","polestar/retries":"2"},"cmdb":["x"],"export_to":["*"],"reason":"why"}`)
	made := must[Mutation](t, w, 201)
	at := w.Header().Get("Location")
	if at != "/api/v1/services/new/a%2Fb" || made.Service.Metadata["team"] != "x" || made.Service.Cmdb[0] != "x" || made.Service.OwnRevision != 4 {
		t.Errorf("%s %+v", at, made.Service)
	}
	must[refused](t, send(s, "POST", "/api/v1/services", `{"namespace":"new","name":"a/b"}`), 409)
	if got := must[Service](t, get(s, at), 200); got.Name != "a/b" {
		t.Errorf("%+v", got)
	}
	// PATCH changes what it names, key by key; null removes one.
	patched := must[Mutation](t, send(s, "PATCH", at, `{"metadata":{"team":null,"k":"v"},"ports":"80"}`), 200)
	if diff := cmp.Diff(map[string]string{"k": "v", "polestar/retries": "2"}, patched.Service.Metadata); diff != "" || patched.Outcome != "updated" || patched.Service.Cmdb == nil {
		t.Errorf("%s %+v", diff, patched)
	}
	if p := must[refused](t, send(s, "PATCH", at, `{"metadata":{"polestar/retires":"2"}}`), 400); p.Parameter != "metadata.polestar/retires" || !strings.Contains(p.Detail, "polestar/retries?") {
		t.Errorf("a wrong setting: %+v", p)
	}
	if again := must[Mutation](t, send(s, "PATCH", at, `{"ports":"80"}`), 200); again.Outcome != "unchanged" || again.Revision != 5 {
		t.Errorf("%+v", again)
	}
	// PUT leaves nothing else.
	whole := must[Mutation](t, send(s, "PUT", at, `{"comment":"text"}`), 200)
	if whole.Service.Metadata["k"] != "" || whole.Service.Ports != "" || whole.Service.Cmdb != nil || whole.Service.ExportTo != nil || whole.Service.Comment != "text" {
		t.Errorf("%+v", whole.Service)
	}
	must[refused](t, send(s, "PATCH", "/api/v1/services/new/none", `{}`), 404)
	if gone := must[Mutation](t, send(s, "DELETE", at+"?reason=old", ""), 200); gone.Outcome != "deleted" || gone.Service.Name != "a/b" {
		t.Errorf("%+v", gone)
	}
	must[refused](t, send(s, "DELETE", at, ""), 404)
	must[refused](t, get(s, at), 404)
}

func TestDeletionsSayWhatStandsInTheWay(t *testing.T) {
	s := door(t, true)
	must[Mutation](t, send(s, "POST", "/api/v1/aliases", `{"namespace":"other","name":"nick","for_namespace":"ns","for_service":"svc"}`), 201)
	for path, want := range map[string]string{
		"/api/v1/services/ns/svc":  "instance 10.0.0.1:80 (i1)",
		"/api/v1/namespaces/ns":    "service ns/svc",
		"/api/v1/namespaces/other": "alias other/nick",
	} {
		p := must[refused](t, send(s, "DELETE", path, ""), 409)
		if len(p.Blocking) == 0 || p.Blocking[0] != want || p.Detail == "" {
			t.Errorf("%s: %+v", path, p)
		}
	}
	must[Mutation](t, send(s, "DELETE", "/api/v1/instances/i1?reason=gone", ""), 200)
	if p := must[refused](t, send(s, "DELETE", "/api/v1/services/ns/svc", ""), 409); p.Parameter != "aliases" || p.Blocking[0] != "alias other/nick" {
		t.Errorf("%+v", p)
	}
	must[Mutation](t, send(s, "DELETE", "/api/v1/aliases/other/nick", ""), 200)
	must[Mutation](t, send(s, "DELETE", "/api/v1/services/ns/svc", ""), 200)
	must[Mutation](t, send(s, "DELETE", "/api/v1/namespaces/ns", ""), 200)
}

func TestAliases(t *testing.T) {
	s := door(t, true)
	for body, field := range map[string]string{
		`{"namespace":"ns","name":"nick"}`: "for_service", `{"namespace":"ns","name":"nick","for_namespace":"ns","for_service":"none"}`: "service",
		`{"namespace":"ns","name":"","for_namespace":"ns","for_service":"svc"}`: "service",
	} {
		w := send(s, "POST", "/api/v1/aliases", body)
		if p := must[refused](t, w, w.Code); w.Code < 400 || p.Parameter != field {
			t.Errorf("%s: %+v", body, p)
		}
	}
	made := must[Mutation](t, send(s, "POST", "/api/v1/aliases", `{"namespace":"ns","name":"nick","for_namespace":"ns","for_service":"svc","comment":"old"}`), 201)
	if made.Alias.ForService != "svc" {
		t.Errorf("%+v", made.Alias)
	}
	const at = "/api/v1/aliases/ns/nick"
	if kept := must[Mutation](t, send(s, "PATCH", at, `{"comment":"new"}`), 200); kept.Alias.ForService != "svc" || kept.Alias.Comment != "new" {
		t.Errorf("a comment moved the alias: %+v", kept.Alias)
	}
	if moved := must[Mutation](t, send(s, "PATCH", at, `{"for_namespace":"other","for_service":"svc"}`), 200); moved.Alias.ForNamespace != "other" || moved.Alias.Comment != "new" {
		t.Errorf("%+v", moved.Alias)
	}
	if got := must[Alias](t, get(s, at), 200); got.ForNamespace != "other" {
		t.Errorf("%+v", got)
	}
	for path, total := range map[string]string{
		"/api/v1/aliases": `"total": 1`, "/api/v1/aliases?namespace=other&service=svc": `"total": 1`, "/api/v1/aliases?service=nick": `"total": 1`,
		"/api/v1/aliases?service=none": `"total": 0`, "/api/v1/services": `"total": 2`,
	} {
		if w := get(s, path); !strings.Contains(w.Body.String(), total) {
			t.Errorf("%s: %s, want %s", path, w.Body, total)
		}
	}
	if p := must[refused](t, get(s, "/api/v1/services/ns/nick"), 404); !strings.Contains(p.Detail, "alias for") {
		t.Errorf("%+v", p)
	}
	if p := must[refused](t, get(s, "/api/v1/aliases/ns/svc"), 404); !strings.Contains(p.Detail, "is a service") {
		t.Errorf("%+v", p)
	}
	must[refused](t, send(s, "DELETE", "/api/v1/services/ns/nick", ""), 409)
}

// What an operator sets is shown beside what the client says, with who, why and
// since when, until it is cleared; also while the instance is away.
func TestInstancesAreChanged(t *testing.T) {
	s := door(t, true)
	const at = "/api/v1/instances/i1"
	m := must[Mutation](t, send(s, "PATCH", at, `{"weight":0,"isolated":true,"version":"2","metadata":{"k":"v"},"zone":"z","reason":"disk"}`), 200)
	i := m.Instance
	if m.Revision != 3 || i.Weight != 0 || !i.Isolated || i.Version != "2" || i.Metadata["k"] != "v" || i.Zone != "z" {
		t.Errorf("%+v", i)
	}
	if i.Set == nil || *i.Set.Weight != 0 || !*i.Set.Isolated || i.Set.Healthy != nil || i.Set.By != "192.0.2.1" || i.Set.Reason != "disk" || i.Set.Since == "" {
		t.Errorf("set: %+v", i.Set)
	}
	if i.Own == nil || *i.Own != (Attributes{Weight: 7, Healthy: true}) {
		t.Errorf("own: %+v", i.Own)
	}
	must[Mutation](t, send(s, "DELETE", at, ""), 200)
	must[refused](t, get(s, at), 404)
	kept := must[struct{ Overrides []Override }](t, get(s, "/api/v1/overrides?service=svc"), 200)
	if len(kept.Overrides) != 1 || kept.Overrides[0].Instance != "i1" || kept.Overrides[0].Set.Reason != "disk" {
		t.Fatalf("%+v", kept)
	}
	if m = must[Mutation](t, send(s, "PATCH", at, `{"clear":["weight"]}`), 200); m.Outcome != "updated" || m.Instance != nil {
		t.Errorf("%+v", m)
	}
	must[Mutation](t, send(s, "DELETE", "/api/v1/overrides/i1", ""), 200)
	must[refused](t, send(s, "DELETE", "/api/v1/overrides/i1", ""), 404)
	must[refused](t, send(s, "PATCH", at, `{"weight":1}`), 404)
}

func TestAHostIsChangedInOneRevision(t *testing.T) {
	s := door(t, true)
	const at = "/api/v1/instances?namespace=ns&service=svc&host=10.0.0.1"
	m := must[Mutation](t, send(s, "PATCH", at, `{"isolated":true,"reason":"kernel"}`), 200)
	if m.Revision != 3 || len(m.Instances) != 1 || !m.Instances[0].Isolated {
		t.Errorf("%+v", m)
	}
	if m = must[Mutation](t, send(s, "PATCH", at+"&port=80", `{"clear":["isolated"]}`), 200); m.Instances[0].Isolated {
		t.Errorf("%+v", m)
	}
	must[refused](t, send(s, "PATCH", at+"&port=81", `{"isolated":true}`), 404)
	for path, field := range map[string]string{"&port=x": "port", "&hst=x": "hst", "": "request"} {
		if p := must[refused](t, send(s, "PATCH", at+path, `{"version":"2"}`), 400); p.Parameter != field {
			t.Errorf("%s: %+v", path, p)
		}
	}
	if p := must[refused](t, send(s, "PATCH", "/api/v1/instances?namespace=ns&service=svc", `{"isolated":true}`), 400); p.Parameter != "host" {
		t.Errorf("%+v", p)
	}
}

func TestIfMatch(t *testing.T) {
	s := door(t, true)
	for at, body := range map[string]string{
		"/api/v1/instances/i1": `{"weight":3}`, "/api/v1/services/ns/svc": `{"comment":"c"}`, "/api/v1/namespaces/ns": `{"comment":"c"}`,
	} {
		for header, status := range map[string]int{`"99"`: 412, "soon": 400, "*": 400, "0": 400} {
			if p := must[refused](t, send(s, "PATCH", at, body, "If-Match", header), status); p.Parameter == "" {
				t.Errorf("%s: %+v", at, p)
			}
			must[refused](t, send(s, "DELETE", at, "", "If-Match", header), status)
		}
		w := send(s, "PATCH", at, body, "If-Match", get(s, at).Header().Get("ETag"))
		must[Mutation](t, w, 200)
		if tag := get(s, at).Header().Get("ETag"); tag != w.Header().Get("ETag") || tag == "" {
			t.Errorf("%s: tag %s, then %s", at, w.Header().Get("ETag"), tag)
		}
	}
}

func TestBodiesAreReadStrictly(t *testing.T) {
	s := door(t, true)
	for body, want := range map[string][2]string{
		``:                                {"body", "empty"},
		`[]`:                              {"body", "object"},
		`{`:                               {"body", "JSON"},
		`{"weight":1} x`:                  {"body", "JSON"},
		`{"weight":1} {}`:                 {"body", "more after"},
		"{\"reason\":\"\xff\"}":           {"body", "UTF-8"},
		`{"wieght":1}`:                    {"wieght", "weight"},
		`{"weight":1,"weight":2}`:         {"weight", "twice"},
		`{"weight":null}`:                 {"weight", "null"},
		`{"weight":-1}`:                   {"weight", "whole number"},
		`{"weight":65536}`:                {"weight", "65535"},
		`{"weight":"1"}`:                  {"weight", "whole number"},
		`{"healthy":1}`:                   {"healthy", "true or false"},
		`{"version":1}`:                   {"version", "text"},
		`{"metadata":{"k":1}}`:            {"metadata.k", "text or null"},
		`{"metadata":{"k":"","k":""}}`:    {"k", "twice"},
		`{"metadata":[]}`:                 {"metadata", "object"},
		`{"clear":"weight"}`:              {"clear", "list"},
		`{"clear":["weihgt"]}`:            {"clear", "isolated"},
		`{"clear":["weight"],"weight":1}`: {"clear", "also set"},
		`{"reason":"x"}`:                  {"body", "nothing to set"},
		`{"ttl_seconds":3601}`:            {"ttl_seconds", "3600"},
		`{"reason":"` + strings.Repeat("x", 513) + `","weight":1}`: {"reason", "512"},
	} {
		if p := must[refused](t, send(s, "PATCH", "/api/v1/instances/i1", body), 400); p.Parameter != want[0] || !strings.Contains(p.Detail, want[1]) {
			t.Errorf("%s: %+v, want %v", body, p, want)
		}
	}
	if p := must[refused](t, send(s, "PATCH", "/api/v1/instances/i1", `{"reason":"`+strings.Repeat("x", 1<<20)), 413); !strings.Contains(p.Detail, "1048576") {
		t.Errorf("%+v", p)
	}
	if w := get(s, "/api/v1/services"); !strings.Contains(w.Body.String(), `"revision": 2`) {
		t.Error("a refused request changed something")
	}
}

// A page of another origin must not change anything through a browser.
func TestWritesOfBrowsers(t *testing.T) {
	s := door(t, true)
	for name, c := range map[string]struct {
		host    string
		headers []string
		status  int
	}{
		"a program":           {"polestar.example:8090", nil, 200},
		"another site":        {"127.0.0.1:8090", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a sibling":           {"127.0.0.1:8090", []string{"Sec-Fetch-Site", "same-site"}, 403},
		"an old browser":      {"127.0.0.1:8090", []string{"Origin", "http://evil.example"}, 403},
		"its own page":        {"127.0.0.1:8090", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:8090"}, 200},
		"localhost":           {"localhost:8090", []string{"Origin", "http://localhost:8090"}, 200},
		"IPv6":                {"[::1]:8090", []string{"Origin", "http://[::1]:8090"}, 200},
		"a name pointed here": {"evil.example:8090", []string{"Origin", "http://evil.example:8090"}, 403},
		"a form":              {"127.0.0.1:8090", []string{"Content-Type", "text/plain"}, 415},
		"no type":             {"127.0.0.1:8090", []string{"Content-Type", ""}, 415},
		"with a charset":      {"127.0.0.1:8090", []string{"Content-Type", "application/json; charset=utf-8"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := send(s, "PATCH", "http://"+c.host+"/api/v1/instances/i1", `{"weight":9}`, c.headers...)
			if w.Code != c.status {
				t.Errorf("%d %s, want %d", w.Code, w.Body, c.status)
			}
		})
	}
}

func TestNothingIsShownOrChangedBeforeTheWorldIsLoaded(t *testing.T) {
	s := door(t, true)
	s.deps.Loaded = func() bool { return false }
	for _, w := range []*httptest.ResponseRecorder{get(s, "/api/v1/services"), send(s, "PATCH", "/api/v1/instances/i1", `{"weight":1}`)} {
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

func TestEveryKindOfErrorHasAStatus(t *testing.T) {
	for _, k := range naming.ErrorKinds() {
		if statuses[k] < 400 {
			t.Errorf("%v has no status", k)
		}
	}
	s := door(t, true)
	w := httptest.NewRecorder()
	s.failed(w, errors.New("secret"), nil)
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	s.failed(w, &naming.Error{Kind: naming.Overloaded, Msg: "full"}, nil)
	if w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d", w.Code)
	}
}
