package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"polestar/xds/receipt"
	"polestar/xds/resource"
)

// A wait by the command line returns when the last client accepts, names who
// lacks what at the timeout, and knows a refusal at once.
func TestWaitOnAWholeServer(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	w := startWhole(t, t.TempDir())
	w.put(t, "cart", "10.0.0.1")
	c := w.follow(t, "envoy-1")
	c.accept(c.subscribe(resource.Endpoints, "default/cart"))
	wait := func(args ...string) (string, error) {
		return run(t, append([]string{"wait", "--server", w.http()}, args...)...)
	}
	if out, err := wait(); err != nil || !strings.HasSuffix(out, " is at every client that it concerns: 1 client\n") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := wait("--service", "other"); err != nil || !strings.Contains(out, " of default/other concerns no connected client") {
		t.Errorf("%q, %v", out, err)
	}

	w.put(t, "cart", "10.0.0.2")
	rev := strconv.FormatUint(w.pipeline.Revision(), 10)
	r := c.hear()
	out, err := wait("--revision", rev, "--service", "cart", "--timeout", "10ms")
	if err == nil || !strings.Contains(err.Error(), "revision "+rev+" of default/cart is not at every client") {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"NODE", "envoy-1", "eds", "default/cart", "stale", rev} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	waiting := make(chan error, 1)
	go func() {
		_, failed := wait("--revision", rev, "--timeout", "1m")
		waiting <- failed
	}()
	c.accept(r)
	if err = <-waiting; err != nil {
		t.Error(err)
	}

	w.put(t, "cart", "10.0.0.3")
	c.refuse(c.hear(), "too many")
	out, err = wait("--client", "envoy-1", "--timeout", "1m", "-o", "json")
	var got receipt.Receipt
	if json.Unmarshal([]byte(out), &got) != nil || err == nil || got.Converged || len(got.Laggards) != 1 ||
		got.Laggards[0].State != "refused" || got.Laggards[0].Reason != "too many" || got.Laggards[0].Since.IsZero() {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err = wait("--revision", "999", "--timeout", "10ms"); err == nil || !strings.Contains(err.Error(), "not here yet") {
		t.Errorf("%v", err)
	}
	if _, err = wait("--timeout", "1h"); err == nil || !strings.Contains(err.Error(), "timeout: 1h0m0s is not between") {
		t.Errorf("%v", err)
	}
}

func TestWaitTable(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		out    string
		err    string
	}{
		"nobody": {`{"revision":5,"published":6,"converged":true}`, "revision 5 concerns no connected client\n", ""},
		"laggards": {
			`{"revision":5,"published":6,"clients":2,"more":1,"laggards":[
				{"stream":3,"node":"e1","type":"eds","resource":"default/a","state":"stale","has":4,"wants":5,"since":"2026-01-02T03:04:05.678Z"},
				{"node":"e2","state":"not connected"}]}`,
			"NODE  STREAM  TYPE  RESOURCE   STATE          HAS  WANTS  SINCE                     REASON\n" +
				"e1    3       eds   default/a  stale          4    5      2026-01-02T03:04:05.678Z  -\n" +
				"e2    -       -     -          not connected  -    -      -                         -\n",
			"revision 5 is not at every client; lacking it: 3 resources",
		},
		"not built": {`{"revision":5,"published":5}`, "", "still building"},
		"no JSON":   {`<html>`, "", "no receipt"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := admin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, c.answer) })
			out, err := run(t, "wait", "--server", addr)
			if out != c.out || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
