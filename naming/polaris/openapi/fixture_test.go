package openapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris"
	"polestar/naming/polaris/openapi"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a store in memory and the registry that follows it. A group is one
// write.
type backend struct {
	*registry.Registry
	store store.Store
	mu    sync.Mutex // one commit at a time, as the batch does it
}

// Do implements naming.Writer.
func (b *backend) Do(ctx context.Context, w naming.Write) (naming.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	commit, results, err := b.store.Apply(ctx, []naming.Write{w})
	if err != nil {
		return naming.Result{}, err
	}
	if err := b.Apply(commit); err != nil {
		return naming.Result{}, err
	}
	return results[0], nil
}

// Beat implements naming.Beats: who is registered with a TTL has a lease.
func (b *backend) Beat(id string) bool {
	i := b.World().Instance(id)
	return i != nil && i.TTL > 0
}

// asked is one question to a gate.
type asked struct {
	API      auth.API
	Action   auth.Action
	Resource auth.Resource
}

// doorman is a gate whose answers a test chooses.
type doorman struct {
	auth.Open
	mu     sync.Mutex
	who    error // of Authenticate
	refuse error // of Allow
	scope  auth.Scope
	shown  []auth.Credentials
	asked  []asked
	told   []auth.Refusal
}

func (d *doorman) Authenticate(_ context.Context, _ auth.API, c auth.Credentials) (auth.Principal, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shown = append(d.shown, c)
	return auth.Principal{ID: "1", Name: "ann"}, d.who
}

func (d *doorman) Allow(_ context.Context, api auth.API, _ auth.Principal, a auth.Action, r auth.Resource) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, asked{api, a, r})
	return d.refuse
}

func (d *doorman) Scope(auth.API, auth.Principal) auth.Scope { return d.scope }

func (d *doorman) note(r auth.Refusal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, r)
}

// door is the handler over a backend.
type door struct {
	http.Handler
	backend *backend
	gate    *doorman
	loading atomic.Bool
}

func open(t testing.TB) *door {
	t.Helper()
	d := &door{backend: &backend{Registry: registry.New(), store: memory.New(store.DefaultLogBounds())}, gate: &doorman{}}
	use := naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: d.backend, World: d.backend, Beats: d.backend})
	ready := func() bool { return !d.loading.Load() }
	log := zap.NewNop() // a fuzz target may not write to its parent
	d.Handler = openapi.New(openapi.Deps{
		Client: polaris.New(polaris.Deps{Registry: use, World: d.backend, Auth: d.gate, Refused: d.gate.note, Log: log, Ready: ready}),
		Admin:  use, World: d.backend, Auth: d.gate, Checked: func(a auth.API) bool { return a == auth.ConsoleAPI },
		Refused: d.gate.note, Ready: ready, Log: log,
		Login: func(_ context.Context, _ naming.Actor, _, name, password string) (*naming.User, string, error) {
			if password != "right" {
				return nil, "", &auth.Error{Reason: auth.NoCredentials, Msg: "wrong"}
			}
			return &naming.User{ID: "1", Name: name, Main: true}, "text", nil
		},
	})
	return d
}

// result is an answer as a script sees it.
type result struct {
	Status int
	Header http.Header
	Code   int
	Info   string
	// Codes are those of the items of a batch.
	Codes []int
	Body  map[string]any
}

// send is one request, as curl sends it.
func (d *door) send(t testing.TB, method, path, body string, headers ...string) result {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for n := 0; n+1 < len(headers); n += 2 {
		req.Header.Set(headers[n], headers[n+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, req)
	res := w.Result()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	out := result{Status: res.StatusCode, Header: res.Header}
	if err := json.Unmarshal(text, &out.Body); err != nil {
		t.Fatalf("%s %s: %v in %q", method, path, err, text)
	}
	out.Code, out.Info = int(out.Body["code"].(float64)), out.Body["info"].(string)
	if all, batch := out.Body["responses"].([]any); batch {
		for _, one := range all {
			out.Codes = append(out.Codes, int(one.(map[string]any)["code"].(float64)))
		}
	}
	if out.Status != out.Code/1000 {
		t.Errorf("%s %s: status %d does not fit code %d", method, path, out.Status, out.Code)
	}
	if got := res.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("%s %s: content type %q", method, path, got)
	}
	return out
}

// must is send for what has to succeed.
func (d *door) must(t testing.TB, method, path, body string) result {
	t.Helper()
	out := d.send(t, method, path, body)
	if out.Code != 200000 {
		t.Fatalf("%s %s %s: %d %s", method, path, body, out.Code, out.Info)
	}
	return out
}

// items are the objects of one list of an answer.
func (r result) items(t testing.TB, list string) (out []map[string]any) {
	t.Helper()
	all, ok := r.Body[list].([]any)
	if !ok {
		t.Fatalf("no list %q in %v", list, r.Body)
	}
	for _, one := range all {
		out = append(out, one.(map[string]any))
	}
	return out
}

// column are the values of one field of a list.
func (r result) column(t testing.TB, list, field string) (out []any) {
	t.Helper()
	for _, one := range r.items(t, list) {
		out = append(out, one[field])
	}
	return out
}
