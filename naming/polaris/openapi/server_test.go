package openapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

// Each step is one request to one world; what it leaves behind is what the next
// one finds.
func TestPathsAndCodes(t *testing.T) {
	d := open(t)
	const (
		ns, svc, inst = "/naming/v1/namespaces", "/naming/v1/services", "/naming/v1/instances"
		alias         = "/naming/v1/service/alias"
		cart          = `"namespace":"shop","service":"cart"`
	)
	for _, step := range []struct {
		method, path, body string
		code               int
		codes              []int // of the items
	}{
		{"POST", ns, `[{"name":"shop","owners":"","comment":"c"},{"name":"a b"}]`, 400110, []int{200000, 400110}},
		{"POST", ns, `[{"name":"shop"}]`, 400201, []int{400201}},
		{"POST", "/core/v1/namespaces", `[{"name":"core"}]`, 200000, []int{200000}},
		{"POST", ns, `[{"name":"linked","user_ids":["1"]}]`, 400103, []int{400103}},
		{"PUT", ns, `[{"name":"shop","comment":"d"},{"name":"shop","comment":"d"}]`, 200000, []int{200000, 200002}},
		{"PUT", ns, `[{"name":"nowhere","comment":"d"}]`, 400305, []int{400305}},
		{"POST", svc, `[{"namespace":"shop","name":"cart","metadata":{"a":"b"}},{"namespace":"shop","name":"über"}]`, 400120, []int{200000, 400120}},
		{"POST", svc, `[{"namespace":"shop","name":"cart"}]`, 400201, []int{400201}},
		{"POST", svc, `[{"namespace":"shop","name":"x","platform_id":"p"}]`, 400103, []int{400103}},
		{"PUT", svc, `[{"namespace":"shop","name":"cart","cmdb_mod2":"two"}]`, 200000, []int{200000}},
		{"PUT", svc, `[{"namespace":"shop","name":"cart","metadata":{"a":"b"},"cmdb_mod2":"two"}]`, 200000, []int{200002}},
		{"PUT", svc, `[{"namespace":"shop","name":"none"}]`, 400301, []int{400301}},
		{"POST", alias, `{"namespace":"shop","service":"cart","alias":"basket","alias_namespace":"core"}`, 200000, nil},
		{"POST", alias, `{"namespace":"shop","service":"cart","alias":"basket","alias_namespace":"core"}`, 400201, nil},
		{"POST", alias, `{"namespace":"core","service":"basket","alias":"b2"}`, 400504, nil},
		{"POST", alias, `{"namespace":"shop","service":"none","alias":"b2"}`, 400301, nil},
		{"POST", alias, `{"namespace":"shop","service":"cart","alias":"b3","type":1}`, 400103, nil},
		{"PUT", alias, `{"alias":"basket","alias_namespace":"core","comment":"c"}`, 200000, nil},
		{"PUT", alias, `{"alias":"basket","alias_namespace":"core","comment":"c"}`, 200002, nil},
		{"PUT", alias, `{"alias":"none","alias_namespace":"core","comment":"c"}`, 400304, nil},
		{"PUT", svc, `[{"namespace":"core","name":"basket","comment":"c"}]`, 400501, []int{400501}},
		{"POST", inst, `[{` + cart + `,"host":"10.0.0.1","port":1},{` + cart + `,"host":"10.0.0.1","port":2},{` + cart + `,"host":"10.0.0.2"}]`, 400132, []int{200000, 200000, 400132}},
		{"POST", inst, `[{` + cart + `,"host":"10.0.0.1","port":1},{` + cart + `,"host":"10.0.0.1","port":1}]`, 400208, []int{200000, 400208}},
		{"POST", inst, `[{"namespace":"core","service":"basket","host":"10.0.0.1","port":1}]`, 400502, []int{400502}},
		{"PUT", inst, `[{` + cart + `,"host":"10.0.0.1","port":1,"weight":7},{` + cart + `,"host":"10.0.0.1","port":2}]`, 200000, []int{200000, 200002}},
		{"PUT", inst, `[{` + cart + `,"host":"10.0.0.9","port":1,"weight":7}]`, 400202, []int{400202}},
		{"PUT", inst, `[{"id":"nobody"},{"id":""},{` + cart + `,"host":"10.0.0.1","port":1,"weight":70000}]`, 400202, []int{400202, 400130, 400103}},
		{"PUT", inst + "/isolate/host", `[{` + cart + `,"host":"10.0.0.1","isolate":true}]`, 200000, []int{200000}},
		{"PUT", inst + "/isolate/host", `[{` + cart + `,"host":"10.0.0.1","isolate":true}]`, 200000, []int{200002}},
		{"PUT", inst + "/isolate/host", `[{` + cart + `,"host":"10.0.0.1"},{` + cart + `,"host":"10.0.0.7","isolate":true}]`, 400303, []int{400139, 400303}},
		{"POST", svc + "/delete", `[{"namespace":"shop","name":"cart"}]`, 400204, []int{400204}},
		{"POST", inst + "/delete", `[{` + cart + `,"host":"10.0.0.1","port":1},{` + cart + `,"host":"10.0.0.1","port":9}]`, 200000, []int{200000, 200000}},
		{"POST", inst + "/delete/host", `[{` + cart + `,"host":""},{` + cart + `,"host":"10.0.0.1"},{` + cart + `,"host":"10.0.0.9"}]`, 400131, []int{400131, 200000, 200000}},
		{"GET", inst + "?namespace=shop&service=cart", "", 200000, nil},
		{"POST", svc + "/delete", `[{"namespace":"shop","name":"cart"}]`, 400210, []int{400210}},
		{"POST", "/naming/v1/service/aliases/delete", `[{"alias":"cart","alias_namespace":"shop"},{"alias":"basket","alias_namespace":"core"}]`, 400304, []int{400304, 200000}},
		{"POST", ns + "/delete", `[{"name":"shop"}]`, 400203, []int{400203}},
		{"POST", svc + "/delete", `[{"namespace":"shop","name":"cart"},{"namespace":"shop","name":"cart"}]`, 200000, []int{200000, 200000}},
		{"POST", ns + "/delete", `[{"name":"shop"},{"name":"shop"}]`, 200000, []int{200000, 200000}},
		{"GET", "/naming/v1/service/token?name=a", "", 400000, nil},
		{"POST", "/v1/RegisterInstance", `{"namespace":"sdk","service":"s","host":"10.0.0.1","port":1,"healthCheck":{"type":1,"heartbeat":{"ttl":3}}}`, 200000, nil},
		{"POST", "/v1/Heartbeat", `{"namespace":"sdk","service":"s","host":"10.0.0.1","port":1}`, 200000, nil},
		{"POST", "/v1/Heartbeat", `{"namespace":"sdk","service":"s","host":"10.0.0.1","port":2}`, 400202, nil},
		{"POST", "/v1/Discover", `{"type":"INSTANCE","service":{"namespace":"sdk","name":"s"}}`, 200000, nil},
		{"POST", "/v1/Discover", `{"type":1,"service":{"namespace":"sdk","name":"none"}}`, 400202, nil},
		{"POST", "/v1/Discover", `{"type":"NO_SUCH_TYPE","service":{"namespace":"sdk","name":"s"}}`, 400004, nil},
		{"POST", "/v1/Discover", `{}`, 400004, nil},
		{"POST", "/v1/DeregisterInstance", `{"namespace":"sdk","service":"s","host":"10.0.0.1","port":1}`, 200000, nil},
		{"POST", "/v1/ReportClient", `{"host":"10.0.0.1","type":"SDK","id":"c1"}`, 200000, nil},
		{"GET", "/v1/Discover", "", 405000, nil},
		{"DELETE", ns, "", 405000, nil},
		{"GET", "/naming/v1/routings", "", 404000, nil},
		{"GET", "/core/v1/auth/status", "", 200000, nil},
		{"POST", "/core/v1/user/login", `{"name":"ann","password":"right","owner":"x"}`, 200000, nil},
		{"POST", "/core/v1/user/login", `{"name":"ann","password":"wrong"}`, 401000, nil},
		{"POST", "/core/v1/user/login", `{"name":1}`, 400001, nil},
	} {
		got := d.send(t, step.method, step.path, step.body)
		if got.Code != step.code || step.codes != nil && !slices.Equal(got.Codes, step.codes) {
			t.Errorf("%s %s %s: %d %v (%s), want %d %v", step.method, step.path, step.body, got.Code, got.Codes, got.Info, step.code, step.codes)
		}
		if got.Info == "" {
			t.Errorf("%s %s: code %d has no text", step.method, step.path, got.Code)
		}
	}
}

func TestHeaders(t *testing.T) {
	d := open(t)
	got := d.send(t, "GET", "/naming/v1/services?größe=1", "", "Request-Id", "r-1")
	for name, want := range map[string]string{"Request-Id": "r-1", "X-Polaris-Code": "400103"} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	if m := got.Header.Get("X-Polaris-Message"); !strings.Contains(m, "unknown filter") || strings.ContainsFunc(m, func(r rune) bool { return r > '~' }) {
		t.Errorf("X-Polaris-Message: %q", m)
	}
	got = d.must(t, "POST", "/v1/RegisterInstance", `{"namespace":"n","service":"s","host":"10.0.0.1","port":1}`)
	if got.Header.Get("X-Polaris-Code") != "" || got.Header.Get("Polestar-Revision") == "" {
		t.Errorf("of a success: %v", got.Header)
	}
	if got := d.send(t, "DELETE", "/naming/v1/services", ""); got.Header.Get("Allow") != "GET, HEAD, POST, PUT" {
		t.Errorf("Allow: %q", got.Header.Get("Allow"))
	}
}

// The form of an answer is part of the protocol: names, nulls and empty lists.
func TestForm(t *testing.T) {
	d := open(t)
	d.must(t, "POST", "/naming/v1/instances", `[{"namespace":"n","service":"s","host":"10.0.0.1","port":1,"version":"v2","metadata":{"k":"v"},
		"enableHealthCheck":true,"healthCheck":{"type":"HEARTBEAT","heartbeat":{"ttl":7}},"location":{"zone":"z"},"service_token":"secret"}]`)
	one := d.must(t, "GET", "/naming/v1/instances?namespace=n", "")
	got := one.items(t, "instances")[0]
	for _, volatile := range []string{"ctime", "mtime", "revision"} {
		if got[volatile] == "" {
			t.Errorf("%s is empty", volatile)
		}
		delete(got, volatile)
	}
	want := map[string]any{
		"id":   naming.InstanceID(naming.ServiceKey{Namespace: "n", Name: "s"}, "", "10.0.0.1", 1),
		"host": "10.0.0.1", "port": 1.0, "namespace": "n", "service": "s", "vpc_id": "", "protocol": "", "version": "v2", "priority": 0.0,
		"weight": 100.0, "enableHealthCheck": true, "healthy": true, "isolate": false, "logic_set": "", "service_token": nil,
		"healthCheck": map[string]any{"type": "HEARTBEAT", "heartbeat": map[string]any{"ttl": 7.0}},
		"location":    map[string]any{"region": "", "zone": "z", "campus": ""}, "metadata": map[string]any{"k": "v"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("instance (-want +got):\n%s", diff)
	}
	if list, ok := one.Body["services"].([]any); !ok || len(list) != 0 {
		t.Errorf("a list without items: %v", one.Body["services"])
	}
}

func TestBodies(t *testing.T) {
	d := open(t)
	many := strings.Repeat(`{"name":"x"},`, 101)
	for name, c := range map[string]struct {
		body string
		code int
	}{
		"nothing": {"", 400001}, "no JSON": {"[", 400001}, "an object": {`{"name":"x"}`, 400001}, "a wrong type": {`[{"name":{}}]`, 400001},
		"a null": {`null`, 400002}, "no item": {`[]`, 400002}, "too many": {"[" + strings.TrimSuffix(many, ",") + "]", 400003},
		"too large": {`[{"name":"` + strings.Repeat("x", 1<<20) + `"}]`, 413000}, "a second value": {`[{"name":"x"}] []`, 400001},
		"not UTF-8": {"[{\"name\":\"\xff\"}]", 400001},
	} {
		if got := d.send(t, "POST", "/naming/v1/namespaces", c.body); got.Code != c.code {
			t.Errorf("%s: %d %s, want %d", name, got.Code, got.Info, c.code)
		}
		if c.code == 400002 || c.code == 400003 {
			continue
		}
		if got := d.send(t, "POST", "/v1/RegisterInstance", c.body); got.Code < 400000 || got.Code >= 500000 {
			t.Errorf("client, %s: %d %s", name, got.Code, got.Info)
		}
	}
	if w := d.backend.World(); w.Revision() != 0 {
		t.Errorf("something was written: revision %d", w.Revision())
	}
}

func TestNotReady(t *testing.T) {
	d := open(t)
	d.loading.Store(true)
	for _, c := range [][3]string{
		{"GET", "/naming/v1/services", ""},
		{"POST", "/naming/v1/services", `[{"namespace":"n","name":"s"}]`},
		{"POST", "/v1/Heartbeat", `{"id":"i"}`},
		{"POST", "/v1/Discover", `{"type":1,"service":{"name":"s"}}`},
	} {
		if got := d.send(t, c[0], c[1], c[2]); got.Code != 500000 {
			t.Errorf("%v: %d %s", c, got.Code, got.Info)
		}
	}
}

func TestPagesAndFilters(t *testing.T) {
	d := open(t)
	d.must(t, "POST", "/naming/v1/namespaces", `[{"name":"one","owners":"ann"},{"name":"two","owners":"bob"}]`)
	d.must(t, "POST", "/naming/v1/services", `[{"namespace":"one","name":"cart","business":"b","metadata":{"k":"v","l":"w"}},
		{"namespace":"one","name":"cart-old","department":"d"},{"namespace":"two","name":"pay","cmdb_mod1":"m"}]`)
	var all []string
	for n := range 5 {
		all = append(all, fmt.Sprintf(`{"namespace":"one","service":"cart","host":"10.0.0.%d","port":%d,"weight":%d,"healthy":%t,"isolate":%t,
			"protocol":"http","version":"v%d","logic_set":"ls","priority":%d,"metadata":{"n":"%d"},"location":{"region":"r","zone":"z%d","campus":"c"}}`,
			n%2, 100+n, n, n != 0, n == 4, n, n, n, n))
	}
	d.must(t, "POST", "/naming/v1/instances", "["+strings.Join(all, ",")+"]")
	const ns, svc, inst = "namespaces", "services", "instances"
	for _, c := range []struct {
		list, query string
		amount      float64
		size        int
	}{
		{ns, "", 2, 2},
		{ns, "name=on*", 1, 1},
		{ns, "owner=bob", 1, 1},
		{ns, "name=*n*", 1, 1},
		{ns, "limit=1", 2, 1},
		{ns, "limit=1&offset=2", 2, 0},
		{svc, "", 3, 3},
		{svc, "namespace=one", 2, 2},
		{svc, "name=cart*", 2, 2},
		{svc, "name=*art*", 2, 2},
		{svc, "namespace=one&name=cart", 1, 1},
		{svc, "namespace=o*", 2, 2},
		{svc, "business=b", 1, 1},
		{svc, "department=d", 1, 1},
		{svc, "cmdb_mod1=m", 1, 1},
		{svc, "keys=k,l&values=v,w", 1, 1},
		{svc, "keys=k&values=x", 0, 0},
		{svc, "host=10.0.0.1&port=101", 1, 1},
		{svc, "host=10.0.0.1&port=100", 0, 0},
		{svc, "instance_keys=n&instance_values=3", 1, 1},
		{svc, "only_exist_health_instance=true", 1, 1},
		{svc, "platform_id=p", 0, 0},
		{svc, "lang=en", 3, 3},
		{inst, "service=cart", 5, 5},
		{inst, "host=10.0.0.0", 3, 3},
		{inst, "host=10.*&limit=2&offset=4", 5, 1},
		{inst, "port=101", 1, 1},
		{inst, "weight=3", 1, 1},
		{inst, "healthy=false", 1, 1},
		{inst, "health_status=1", 4, 4},
		{inst, "isolate=true", 1, 1},
		{inst, "protocol=http&version=v2", 1, 1},
		{inst, "logic_set=ls&priority=2", 1, 1},
		{inst, "cmdb_region=r&cmdb_zone=z1&cmdb_idc=c", 1, 1},
		{inst, "keys=n&values=4", 1, 1},
		{inst, "id=none", 0, 0},
		{inst, "limit=100000", 5, 5},
	} {
		got := d.must(t, "GET", "/naming/v1/"+c.list+"?"+c.query, "")
		if n := len(got.items(t, c.list)); got.Body["amount"] != c.amount || n != c.size || got.Body["size"] != float64(n) {
			t.Errorf("%s?%s: amount %v, %d items, want %v, %d", c.list, c.query, got.Body["amount"], n, c.amount, c.size)
		}
	}
	for _, wrong := range []string{"foo=1", "name=", "limit=x", "offset=-1", "keys=a,b&values=a", "name=a&name=b", "only_exist_health_instance=maybe", "port=x", "%zz", "%ff=1&%ff=2", "%ff=1"} {
		if got := d.send(t, "GET", "/naming/v1/services?"+wrong, ""); got.Code != 400103 {
			t.Errorf("services?%s: %d %s", wrong, got.Code, got.Info)
		}
	}
	for path, want := range map[string]float64{"services/count": 3, "instances/count": 5, "instances/count?healthy=true": 4} {
		if got := d.must(t, "GET", "/naming/v1/"+path, ""); got.Body["amount"] != want || got.Body["size"] != 0.0 {
			t.Errorf("%s: %v", path, got.Body["amount"])
		}
	}
	if got := d.must(t, "GET", "/naming/v1/services/all?namespace=one", "").column(t, svc, "name"); !slices.Equal(got, []any{"cart", "cart-old"}) {
		t.Errorf("all services: %v", got)
	}
	s := d.must(t, "GET", "/naming/v1/services?name=cart", "").items(t, svc)[0]
	if s["total_instance_count"] != 5.0 || s["healthy_instance_count"] != 3.0 || s["isolate_instance_count"] != 1.0 {
		t.Errorf("numbers of a service: %v", s)
	}
	n := d.must(t, "GET", "/naming/v1/namespaces?name=one", "").items(t, ns)[0]
	if n["total_service_count"] != 2.0 || n["total_instance_count"] != 5.0 || n["total_health_instance_count"] != 3.0 {
		t.Errorf("numbers of a namespace: %v", n)
	}
	got := d.must(t, "GET", "/naming/v1/instances/labels?namespace=one&service=cart", "").Body["instanceLabels"].(map[string]any)["labels"]
	want := map[string]any{"n": map[string]any{"values": []any{"0", "1", "2", "3", "4"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if got := d.send(t, "GET", "/naming/v1/instances/labels?service=cart", ""); got.Code != 400104 {
		t.Errorf("labels without a namespace: %d", got.Code)
	}
}
