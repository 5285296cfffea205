package openapi_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris/openapi"
)

// rule is what a route asks for.
type rule struct {
	query, body string // that reach the question
	api         auth.API
	action      auth.Action // empty: it shows what its reader may read
	on          auth.Resource
	open        bool // for everybody
}

// rules are those of all routes. Who adds a route adds its rule here.
func rules() map[string]rule {
	server, ns, svc := auth.Resource{}, auth.Resource{Namespace: "ns"}, auth.Resource{Namespace: "ns", Service: "svc"}
	const one = `{"namespace":"ns","service":"svc","host":"10.0.0.1","port":1,"isolate":true}`
	write, operate := auth.Write, auth.Operate
	console := func(a auth.Action, on auth.Resource, body string) rule {
		return rule{api: auth.ConsoleAPI, action: a, on: on, body: body}
	}
	list := rule{api: auth.ConsoleAPI}
	out := map[string]rule{
		"POST /v1/RegisterInstance":              {api: auth.ClientAPI, action: auth.Register, on: svc, body: one},
		"POST /v1/DeregisterInstance":            {api: auth.ClientAPI, action: auth.Deregister, on: svc, body: one},
		"POST /v1/Heartbeat":                     {api: auth.ClientAPI, action: auth.Heartbeat, on: svc, body: one},
		"POST /v1/ReportClient":                  {api: auth.ClientAPI, action: auth.Report, on: server, body: `{"id":"c"}`},
		"POST /v1/Discover":                      {api: auth.ClientAPI, action: auth.Discover, on: svc, body: `{"type":1,"service":{"namespace":"ns","name":"svc"}}`},
		"GET /naming/v1/services":                list,
		"GET /naming/v1/services/all":            list,
		"GET /naming/v1/services/count":          list,
		"POST /naming/v1/services":               console(write, svc, `[{"namespace":"ns","name":"svc"}]`),
		"PUT /naming/v1/services":                console(write, svc, `[{"namespace":"ns","name":"svc"}]`),
		"POST /naming/v1/services/delete":        console(write, svc, `[{"namespace":"ns","name":"svc"}]`),
		"GET /naming/v1/service/aliases":         list,
		"POST /naming/v1/service/alias":          console(write, svc, `{"namespace":"o","service":"p","alias":"svc","alias_namespace":"ns"}`),
		"PUT /naming/v1/service/alias":           console(write, svc, `{"alias":"svc","alias_namespace":"ns"}`),
		"POST /naming/v1/service/aliases/delete": console(write, svc, `[{"alias":"svc","alias_namespace":"ns"}]`),
		"GET /naming/v1/instances":               list,
		"GET /naming/v1/instances/count":         list,
		"GET /naming/v1/instances/labels":        {api: auth.ConsoleAPI, query: "?namespace=ns&service=svc"},
		"POST /naming/v1/instances":              console(operate, svc, "["+one+"]"),
		"PUT /naming/v1/instances":               console(operate, svc, "["+one+"]"),
		"POST /naming/v1/instances/delete":       console(operate, svc, "["+one+"]"),
		"PUT /naming/v1/instances/isolate/host":  console(operate, svc, "["+one+"]"),
		"POST /naming/v1/instances/delete/host":  console(operate, svc, "["+one+"]"),
		"GET /core/v1/auth/status":               {open: true},
		"POST /core/v1/user/login":               {open: true, body: `{"name":"ann","password":"right"}`},
		"GET /naming/v1/service/token":           list,
		"PUT /naming/v1/service/token":           list,
		"GET /naming/v1/namespaces/token":        list,
		"PUT /naming/v1/namespaces/token":        list,
	}
	for _, at := range []string{"/naming/v1/namespaces", "/core/v1/namespaces"} {
		out["GET "+at] = list
		out["POST "+at] = console(write, ns, `[{"name":"ns"}]`)
		out["PUT "+at] = console(write, ns, `[{"name":"ns"}]`)
		out["POST "+at+"/delete"] = console(write, ns, `[{"name":"ns"}]`)
	}
	return out
}

func TestEveryRouteHasARule(t *testing.T) {
	want := make([]string, 0, len(rules()))
	for name := range rules() {
		want = append(want, name)
	}
	got := open(t).Handler.(*openapi.Server).Routes()
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes with a rule and routes that are served differ (-rules +served):\n%s", diff)
	}
}

// Who may not is told so with Polaris' code, and told of; nothing is written.
func TestRefusals(t *testing.T) {
	for name, r := range rules() {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			method, path, _ := strings.Cut(name, " ")
			d := open(t)
			d.gate.refuse = &auth.Error{Reason: auth.Forbidden, Msg: "no"}
			got := d.send(t, method, path+r.query, r.body, "X-Polaris-Token", "secret")
			switch {
			case r.action != "":
				if got.Code != 401001 {
					t.Errorf("without the right: %d %s", got.Code, got.Info)
				}
				if want := (asked{r.api, r.action, r.on}); len(d.gate.asked) == 0 || d.gate.asked[0] != want {
					t.Errorf("asked %v, want %v", d.gate.asked, want)
				}
				if len(d.gate.told) == 0 || d.gate.told[0].Action != r.action || d.gate.told[0].Principal.Name != "ann" {
					t.Errorf("told %v", d.gate.told)
				}
			case len(d.gate.asked) > 0:
				t.Errorf("asked %v", d.gate.asked)
			}
			if !r.open && (len(d.gate.shown) == 0 || d.gate.shown[0].Token != "secret") {
				t.Errorf("shown %v", d.gate.shown)
			}
			d.gate.refuse, d.gate.who, d.gate.told = nil, &auth.Error{Reason: auth.NoCredentials, Msg: "who are you?"}, nil
			got = d.send(t, method, path+r.query, r.body)
			if r.open {
				if got.Code != 200000 {
					t.Errorf("for everybody: %d %s", got.Code, got.Info)
				}
				return
			}
			if got.Code != 401000 || got.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("nobody knows who: %d %s %v", got.Code, got.Info, got.Header)
			}
			if len(d.gate.told) != 1 || d.gate.told[0].Reason != auth.NoCredentials {
				t.Errorf("told %v", d.gate.told)
			}
			if rev := d.backend.World().Revision(); rev != 0 {
				t.Errorf("something was written: revision %d", rev)
			}
		})
	}
}

// A list shows what its reader may read, and numbers of nothing else.
func TestScope(t *testing.T) {
	d := open(t)
	d.must(t, "POST", "/naming/v1/instances", `[{"namespace":"a","service":"mine","host":"10.0.0.1","port":1},{"namespace":"a","service":"other","host":"10.0.0.1","port":1},
		{"namespace":"b","service":"other","host":"10.0.0.1","port":1}]`)
	d.must(t, "POST", "/naming/v1/service/alias", `{"namespace":"a","service":"other","alias":"hidden"}`)
	d.gate.scope = auth.Scope{Key: "mine", See: func(n *naming.Namespace, s *naming.Service) bool {
		return n != nil && n.Name == "a" && (s == nil || s.Key.Name == "mine")
	}}
	for path, want := range map[string]float64{
		"/naming/v1/namespaces": 1, "/naming/v1/services": 1, "/naming/v1/services/all": 1, "/naming/v1/services/count": 1, "/naming/v1/instances": 1,
		"/naming/v1/instances/count": 1, "/naming/v1/service/aliases": 0, "/naming/v1/instances?namespace=a&service=other": 0,
		"/naming/v1/services?namespace=b&name=other": 0, "/naming/v1/service/aliases?alias=hidden&alias_namespace=a": 0,
	} {
		if got := d.must(t, "GET", path, ""); got.Body["amount"] != want {
			t.Errorf("%s: %v, want %v", path, got.Body["amount"], want)
		}
	}
	if n := d.must(t, "GET", "/naming/v1/namespaces", "").items(t, "namespaces")[0]; n["total_instance_count"] != 1.0 {
		t.Errorf("numbers of a namespace: %v", n)
	}
	if got := d.send(t, "GET", "/naming/v1/instances/labels?namespace=a&service=other", ""); got.Code != 400301 {
		t.Errorf("labels of a service that is not seen: %d", got.Code)
	}
}

// An instance is judged by the service that it is stored under, whatever is
// written beside its id.
func TestInstanceIsJudgedAsStored(t *testing.T) {
	d := open(t)
	d.must(t, "POST", "/naming/v1/instances", `[{"id":"i1","namespace":"a","service":"theirs","host":"10.0.0.1","port":1}]`)
	d.must(t, "POST", "/naming/v1/service/alias", `{"namespace":"a","service":"theirs","alias":"nick","alias_namespace":"b"}`)
	for _, c := range [][3]string{
		{"PUT", "", `[{"id":"i1","namespace":"b","service":"mine","weight":1}]`},
		{"PUT", "/isolate/host", `[{"namespace":"b","service":"nick","host":"10.0.0.1","isolate":true}]`},
		{"POST", "/delete", `[{"id":"i1","namespace":"b","service":"mine"}]`},
		{"POST", "/delete/host", `[{"namespace":"b","service":"nick","host":"10.0.0.1"}]`},
	} {
		d.gate.asked = nil
		d.must(t, c[0], "/naming/v1/instances"+c[1], c[2])
		if len(d.gate.asked) != 1 || d.gate.asked[0].Resource.Namespace != "a" || d.gate.asked[0].Resource.Service != "theirs" {
			t.Errorf("%v: asked %v, want a/theirs", c, d.gate.asked)
		}
	}
}
