package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"polestar/xds/resource"
)

// What clients have, one of which refuses and lags.
func TestClientsOfAWholeServer(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	w := startWhole(t, t.TempDir())
	w.put(t, "cart", "10.0.0.1")
	lags := w.follow(t, "lags")
	lags.accept(lags.subscribe(resource.Endpoints, "default/cart", "default/nothing"))
	w.follow(t, "good").accepting(resource.Cluster, resource.Endpoints)
	w.settled(t)
	if out := w.command(t, "clients", "diff", "good"); !strings.Contains(out, "default/other") || !strings.Contains(out, "missing") {
		t.Errorf("nobody lacks what does not exist, but it is shown:\n%s", out)
	}
	w.put(t, "cart", "10.0.0.2")
	lags.refuse(lags.hear(), "weight is bad")
	all := func() string { return w.command(t, "clients") }
	for !strings.Contains(all(), "weight is bad") { // the refusal is on its way
		time.Sleep(time.Millisecond)
	}
	same := func() bool { return all() == w.command(t, "get", "clients") }
	for !same() && t.Context().Err() == nil { // the other one's acknowledgement is on its way
		time.Sleep(time.Millisecond)
	}
	if out, same := all(), w.command(t, "get", "clients"); out != same || !strings.Contains(out, "default/cart: weight is bad") {
		t.Errorf("polestar clients\n%spolestar get clients\n%s", out, same)
	}
	one := w.command(t, "clients", "lags")
	for _, want := range []string{"RESOURCE", "refused", "default/nothing  missing", "weight is bad"} {
		if !strings.Contains(one, want) || strings.Contains(one, "good") {
			t.Errorf("no %q in\n%s", want, one)
		}
	}
	out, err := run(t, "clients", "diff", "--server", w.http())
	if err == nil || !strings.Contains(err.Error(), "lacking at 1 of 2 clients") || !strings.Contains(out, "weight is bad") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = run(t, "clients", "nobody", "--server", w.http()); err == nil || !strings.Contains(err.Error(), `"nobody" is the node or stream of no`) {
		t.Errorf("%v\n%s", err, out)
	}
}

const diffAnswer = `{"total":2,"diff":[
	{"node":"a","stream":1,"converged":true,"resources":[]},
	{"node":"b","stream":2,"converged":false,"more":3,"resources":[
		{"type":"eds","name":"n/s","state":"refused","current":{"version":"0123456789ab","revision":7},
		 "acked":{"version":"ba9876543210","revision":0},
		 "refused":{"version":"0123456789ab","revision":7,"reason":"no"}}]}]}`

func TestDiffTable(t *testing.T) {
	for name, c := range map[string]struct{ answer, out, err string }{
		"some lack": {
			diffAnswer,
			"NODE  STREAM  TYPE  RESOURCE      STATE    CURRENT     SENT  ACKED       REFUSED BECAUSE\n" +
				"b     2       eds   n/s           refused  7 01234567  -     - ba987654  no\n" +
				"b     2       -     and 3 others  -        -           -     -           -\n",
			"something is lacking at 1 of 2 clients",
		},
		"none lacks": {`{"total":1,"diff":[{"node":"a","converged":true}]}`, "nothing is lacking: 1 client compared\n", ""},
		"nobody":     {`{"total":0,"diff":[]}`, "nothing is lacking: 0 clients compared\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			addr := admin(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/api/v1/diff" || r.URL.Query().Get("client") != "b" {
					t.Errorf("asked for %s", r.URL)
				}
				_, _ = w.Write([]byte(c.answer))
			})
			out, err := run(t, "clients", "diff", "b", "--server", addr)
			if out != c.out || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

const explainAnswer = `{"revision":9,"reports":[{
	"client":{"stream":3,"node":"envoy-1","view":"envoy in default","protocol":"delta","since":"2026-01-02T03:04:05Z"},
	"service":{"namespace":"default","name":"cart","known":true,"revision":9,"instances":2},
	"resources":[{"type":"cds","name":"default/cart","state":"synced","acked":{"version":"1","revision":4}},
		{"type":"eds","name":"default/cart","state":"stale"}],
	"causes":[{"code":"x","text":"first"},{"code":"y","text":"second"}],
	"instances":[
		{"id":"a","address":"10.0.0.1:80","at_client":"not yet","served":{"health":"healthy","weight":100,"locality":"r/z/"},"causes":[]},
		{"id":"b","address":"10.0.0.2:80","at_client":"no","causes":[{"code":"x","text":"isolated"},{"code":"y","text":"weight 0"}]}]},
	{"client":{"stream":4,"node":"envoy-1","view":"v","protocol":"sotw","since":"2026-01-02T03:04:05Z"},
	"service":{"namespace":"default","name":"cart"}}]}`

func TestExplainTable(t *testing.T) {
	addr := admin(t, func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); r.URL.Path != "/api/v1/explain" || q.Get("client") != "envoy-1" || q.Get("namespace") != "n" || q.Get("service") != "s" || q.Has("instance") {
			t.Errorf("asked for %s", r.URL)
		}
		_, _ = w.Write([]byte(explainAnswer))
	})
	out, err := run(t, "explain", "--client", "envoy-1", "--service", "n/s", "--server", addr)
	want := `client:   envoy-1, stream 3: envoy in default, delta, connected since 2026-01-02T03:04:05.000Z
service:  default/cart: revision 9, 2 instances
cds:      default/cart: synced, has revision 4
eds:      default/cart: stale, has nothing of it
but:      first
          second

ADDRESS      AT CLIENT  HEALTH   WEIGHT  LOCALITY  ID  WHY
10.0.0.1:80  not yet    healthy  100     r/z/      a   -
10.0.0.2:80  no         -        -       -         b   isolated; weight 0

client:   envoy-1, stream 4: v, sotw, connected since 2026-01-02T03:04:05.000Z
service:  default/cart: not registered
`
	if err != nil || out != want {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err = run(t, "explain", "--service", "s", "--server", addr); err == nil || !strings.Contains(err.Error(), "client") {
		t.Errorf("no client: %v", err)
	}
}
