package web

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/auth"
)

// managedDoor is a door at which everybody is the main user.
func managedDoor(t *testing.T) *Server {
	t.Helper()
	s := door(t, true)
	s.deps.Auth = chief{}
	return s
}

// chief takes everybody for the main user.
type chief struct{ auth.Open }

func TestUsersAndGroupsAreManaged(t *testing.T) {
	s := managedDoor(t)
	w := send(s, "POST", "/api/v1/users", `{"name":"ann","comment":"c","password":"correct horse","identities":["spiffe://x/ann","a.example"],"reason":"new"}`)
	made := must[Mutation](t, w, 201)
	at := w.Header().Get("Location")
	if at != "/api/v1/users/ann" || made.Outcome != "created" || !made.User.Password || len(made.User.ID) != 32 ||
		!cmp.Equal(made.User.Identities, []string{"a.example", "spiffe://x/ann"}) || strings.Contains(w.Body.String(), "argon2") {
		t.Errorf("%s %s", at, w.Body)
	}
	must[refused](t, send(s, "POST", "/api/v1/users", `{"name":"ann"}`), 409)
	if p := must[refused](t, send(s, "POST", "/api/v1/users", `{"name":"ben","password":"short"}`), 400); p.Parameter != "password" {
		t.Errorf("%+v", p)
	}
	if p := must[refused](t, send(s, "PATCH", "/api/v1/users/nobody", `{"comment":"x"}`), 404); p.Parameter != "user" {
		t.Errorf("%+v", p)
	}
	if p := must[refused](t, send(s, "PATCH", at, `{"coment":"x"}`), 400); p.Parameter != "coment" {
		t.Errorf("%+v", p)
	}
	patched := must[Mutation](t, send(s, "PATCH", at, `{"password":"","disabled":true}`, "If-Match", w.Header().Get("ETag")), 200)
	if patched.User.Password || !patched.User.Disabled || patched.User.Comment != "c" {
		t.Errorf("%+v", patched.User)
	}
	must[refused](t, send(s, "PATCH", at, `{"comment":"x"}`, "If-Match", w.Header().Get("ETag")), http.StatusPreconditionFailed)
	group := must[Mutation](t, send(s, "POST", "/api/v1/groups", `{"name":"team","members":["ann"]}`), 201)
	if !cmp.Equal(group.Group.Members, []string{"ann"}) {
		t.Errorf("%+v", group.Group)
	}
	if p := must[refused](t, send(s, "PATCH", "/api/v1/groups/team", `{"members":["ann","eve"]}`), 400); p.Parameter != "members" || !strings.Contains(p.Detail, "eve") {
		t.Errorf("%+v", p)
	}
	if u := must[User](t, get(s, at), 200); !cmp.Equal(u.Groups, []string{"team"}) {
		t.Errorf("%+v", u)
	}
	for path, want := range map[string]string{
		"/api/v1/users": `"total": 1`, "/api/v1/users?name=ben": `"total": 0`, "/api/v1/groups?user=ann": `"total": 1`, "/api/v1/groups?user=ben": `"total": 0`,
		"/api/v1/policies?user=ann": `"total": 1`, "/api/v1/policies?group=team": `"default-group-team"`,
	} {
		if w := get(s, path); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
	gone := must[Mutation](t, send(s, "DELETE", at+"?reason=left", ""), 200)
	if gone.Outcome != "deleted" || gone.User.Name != "ann" {
		t.Errorf("%+v", gone)
	}
	must[refused](t, get(s, at), 404)
	must[refused](t, send(s, "DELETE", at, ""), 404)
	if g := must[Group](t, get(s, "/api/v1/groups/team"), 200); len(g.Members) != 0 {
		t.Errorf("a deleted user is a member: %+v", g)
	}
	must[Mutation](t, send(s, "DELETE", "/api/v1/groups/team", ""), 200)
}

func TestPoliciesAreManaged(t *testing.T) {
	s := managedDoor(t)
	must[Mutation](t, send(s, "POST", "/api/v1/users", `{"name":"ann"}`), 201)
	made := must[Mutation](t, send(s, "POST", "/api/v1/policies",
		`{"name":"shops","users":["ann","*","anonymous"],"actions":["read","register"],"resources":[{"namespace":"shop","service":"cart*"},{"created":true}]}`), 201)
	want := Policy{
		Name: "shops", Users: []string{"*", "ann", "anonymous"}, Groups: []string{}, Actions: []string{"read", "register"},
		Resources: []Selector{{Namespace: "shop", Service: "cart*"}, {Created: true}},
	}
	got := *made.Policy
	got.ID, got.Created, got.Modified, got.Revision = "", "", "", 0
	if diff := cmp.Diff(want, got, cmp.Transformer("set", func(l []string) map[string]bool {
		out := map[string]bool{}
		for _, s := range l {
			out[s] = true
		}
		return out
	})); diff != "" {
		t.Error(diff)
	}
	for body, parameter := range map[string]string{
		`{"name":"x","actions":["regster"]}`:                "actions",
		`{"name":"x","users":["nobody"]}`:                   "users",
		`{"name":"x","groups":["*"]}`:                       "groups",
		`{"name":"x","resources":[{"namspace":"shop"}]}`:    "resources",
		`{"name":"x","resources":"*"}`:                      "resources",
		`{"name":"not a name","actions":["*"]}`:             "policy",
		`{"name":"default-user-x","actions":["*"]}`:         "policy",
		`{"name":"x","deny":"yes"}`:                         "deny",
		`{"name":"x","actions":["*"],"deny":true,"id":"1"}`: "id",
	} {
		if p := must[refused](t, send(s, "POST", "/api/v1/policies", body), 400); p.Parameter != parameter {
			t.Errorf("%s: %+v", body, p)
		}
	}
	patched := must[Mutation](t, send(s, "PATCH", "/api/v1/policies/shops", `{"deny":true,"users":["ann"]}`), 200)
	if !patched.Policy.Deny || !cmp.Equal(patched.Policy.Users, []string{"ann"}) || len(patched.Policy.Actions) != 2 {
		t.Errorf("%+v", patched.Policy)
	}
	must[refused](t, send(s, "DELETE", "/api/v1/policies/default-user-ann", ""), 409)
	must[Mutation](t, send(s, "DELETE", "/api/v1/policies/shops", ""), 200)
	must[refused](t, get(s, "/api/v1/policies/shops"), 404)
}

func TestTokensAreManaged(t *testing.T) {
	s := managedDoor(t)
	must[Mutation](t, send(s, "POST", "/api/v1/users", `{"name":"ann"}`), 201)
	must[Mutation](t, send(s, "POST", "/api/v1/groups", `{"name":"team"}`), 201)
	made := must[Mutation](t, send(s, "POST", "/api/v1/tokens", `{"user":"ann","comment":"ci","expires_in":"1h"}`), 201)
	at := "/api/v1/tokens/" + made.Token.ID
	if !strings.HasPrefix(made.Token.Text, auth.TokenPrefix) || made.Token.User != "ann" || made.Token.Expires == "" {
		t.Errorf("%+v", made.Token)
	}
	w := get(s, at)
	if again := must[Token](t, w, 200); again.Text != "" || strings.Contains(w.Body.String(), auth.HashToken(made.Token.Text)) {
		t.Errorf("a token is shown twice, or its hash: %s", w.Body)
	}
	if of := must[Mutation](t, send(s, "POST", "/api/v1/tokens", `{"group":"team"}`), 201); of.Token.Group != "team" || of.Token.Expires != "" {
		t.Errorf("%+v", of.Token)
	}
	if w := get(s, "/api/v1/tokens?user=ann"); !strings.Contains(w.Body.String(), `"total": 1`) {
		t.Error(w.Body)
	}
	if off := must[Mutation](t, send(s, "PATCH", at, `{"disabled":true}`), 200); !off.Token.Disabled || off.Token.Comment != "ci" {
		t.Errorf("%+v", off.Token)
	}
	for body, want := range map[string]struct {
		status    int
		parameter string
	}{
		`{"user":"ann","group":"team"}`:          {400, "group"},
		`{"user":"nobody"}`:                      {404, "user"},
		`{"group":"nobody"}`:                     {404, "group"},
		`{"user":"ann","expires_in":"tomorrow"}`: {400, "expires_in"},
		`{"user":"ann","expires_in":"0s"}`:       {400, "expires_in"},
		`{"user":"ann","text":"mine"}`:           {400, "text"},
	} {
		if p := must[refused](t, send(s, "POST", "/api/v1/tokens", body), want.status); p.Parameter != want.parameter {
			t.Errorf("%s: %+v", body, p)
		}
	}
	must[Mutation](t, send(s, "DELETE", at, ""), 200)
	must[refused](t, get(s, at), 404)
}

// What no switch opens is asked as what is never open.
func TestAdministrationIsAnAPIOfItsOwn(t *testing.T) {
	d := &doorman{}
	s, _ := guardedBy(newBackend(t), d)
	for path, want := range map[string]auth.API{"/api/v1/users": auth.AdminAPI, "/api/v1/whoami": auth.AdminAPI, "/api/v1/services": auth.ConsoleAPI} {
		d.apis = nil
		sendTo(s, http.MethodGet, path, "")
		if len(d.apis) != 1 || d.apis[0] != want {
			t.Errorf("%s asked %v, want %v once", path, d.apis, want)
		}
	}
}

func TestWhoamiAndMay(t *testing.T) {
	d := &doorman{who: &auth.Error{Reason: auth.BadToken, Msg: "no such token"}}
	s, _ := guardedBy(newBackend(t), d)
	must[refused](t, get(s, "/api/v1/whoami"), 401)
	d.who = nil
	if c := must[Caller](t, get(s, "/api/v1/whoami"), 200); c.Name != "ann" || c.Anonymous || !c.Checked["console"] {
		t.Errorf("%+v", c)
	}
	var asked auth.Resource
	s.deps.Access.Explain = func(_ auth.API, id string, _ auth.Action, r auth.Resource) auth.Decision {
		asked = r
		return auth.Decision{Allowed: id == "1", Why: "text"}
	}
	if v := must[Verdict](t, get(s, "/api/v1/may?action=read&namespace=ns&service=svc"), 200); !v.Allowed || asked.Service != "svc" {
		t.Errorf("%+v of %+v", v, asked)
	}
	for query, want := range map[string]string{
		"": "action", "action=reed": "action", "action=read&api=x": "api", "action=read&who=x": "who",
	} {
		if p := must[refused](t, get(s, "/api/v1/may?"+query), 400); p.Parameter != want {
			t.Errorf("%s: %+v", query, p)
		}
	}
	if p := must[refused](t, get(s, "/api/v1/may?action=read&principal=nobody"), 404); p.Parameter != "principal" {
		t.Errorf("%+v", p)
	}
}

// Authenticate implements [auth.Gate].
func (chief) Authenticate(context.Context, auth.API, auth.Credentials) (auth.Principal, error) {
	return auth.Principal{ID: strings.Repeat("0", 32), Name: "admin", Main: true}, nil
}
