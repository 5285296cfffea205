package openapi_test

import (
	"slices"
	"strings"
	"testing"

	"polestar/naming/polaris/openapi"
)

// Whatever a body holds, the answer is one of the protocol: no failure of ours,
// and its status fits its code (send looks).
func FuzzBodies(f *testing.F) {
	for name, r := range rules() {
		f.Add(name, r.query, r.body)
	}
	f.Add("POST /v1/Discover", "", `{"type":"SERVICES","service":{"revision":"x"},"Filter":{"OnlyHealthyInstance":true}}`)
	f.Add("POST /naming/v1/instances", "", `[{"port":-1},{"metadata":{"":""}},null,{"location":{}}]`)
	f.Add("GET /naming/v1/instances", "?keys=a,b&values=c&host=*&offset=2147483648", "")
	f.Add("POST /naming/v1/service/alias", "", "\x8d")
	d := open(f)
	routes := d.Handler.(*openapi.Server).Routes()
	f.Fuzz(func(t *testing.T, name, query, body string) {
		method, path, _ := strings.Cut(name, " ")
		if !slices.Contains(routes, name) {
			return
		}
		if !strings.HasPrefix(query, "?") || strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r > '~' }) {
			query = ""
		}
		if got := d.send(t, method, path+query, body); got.Code >= 500000 {
			t.Errorf("%s%s %q: %d %s", name, query, body, got.Code, got.Info)
		}
	})
}
