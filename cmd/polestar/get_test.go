package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"polestar/web"
)

// admin is an HTTP door that answers every request with f.
func admin(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return s.Listener.Addr().String()
}

func TestGetReadsEveryPage(t *testing.T) {
	const total = 2500
	addr := admin(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		limit, _ := strconv.Atoi(q.Get("limit"))
		offset, _ := strconv.Atoi(q.Get("offset"))
		if r.URL.Path != "/api/v1/instances" || q.Get("namespace") != "ns" || q.Has("service") {
			t.Errorf("asked for %s", r.URL)
		}
		items := []web.Instance{}
		for n := offset; n < min(offset+limit, total); n++ {
			items = append(items, web.Instance{ID: fmt.Sprint("i-", n), Namespace: "ns", Service: "svc", Host: "10.0.0.1", Port: uint32(n), Weight: 7})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"instances": items, "total": total})
	})
	for output, read := range map[string]func([]byte, any) error{"json": json.Unmarshal, "yaml": yaml.Unmarshal} {
		out, err := run(t, "get", "instances", "--server", addr, "--namespace", "ns", "-o", output)
		if err != nil {
			t.Fatal(err)
		}
		var items []map[string]any
		if err = read([]byte(out), &items); err != nil {
			t.Fatal(err)
		}
		if len(items) != total || items[0]["id"] != "i-0" || items[total-1]["id"] != "i-2499" {
			t.Errorf("%s: %d items, want %d", output, len(items), total)
		}
	}
	out, err := run(t, "get", "instances", "--server", addr, "--namespace", "ns")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != total+1 || !strings.HasPrefix(lines[0], "NAMESPACE") || !strings.Contains(lines[1], "10.0.0.1:0") || !strings.Contains(lines[1], "i-0") {
		t.Errorf("%d lines:\n%.400s", len(lines), out)
	}
}

func TestGetShowsEveryTypeOfAClient(t *testing.T) {
	addr := admin(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"total": 1, "clients": []web.Client{{
			Node: "envoy-1", Types: []web.ClientType{
				{Type: "cds", Wildcard: true, SentRevision: 5, AckedRevision: 4},
				{Type: "eds", Subscribed: 3, Refused: "bad weight"},
			},
		}}})
	})
	out, err := run(t, "get", "clients", "--server", addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"*", "bad weight", "eds", "cds"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestGetOfAWorldThatShrinksEnds(t *testing.T) {
	asked := 0
	addr := admin(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		items := []web.Namespace{}
		if asked == 1 {
			items = append(items, web.Namespace{Name: "a"})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"namespaces": items, "total": 9})
	})
	if out, err := run(t, "get", "namespaces", "--server", addr); err != nil || asked != 2 || !strings.Contains(out, "a") {
		t.Errorf("%d requests, %v\n%s", asked, err, out)
	}
}

func TestGetSaysWhatIsWrong(t *testing.T) {
	answer := func(status int, body string) string {
		return admin(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	for name, c := range map[string]struct {
		addr string
		want []string
	}{
		"nobody listens": {"127.0.0.1:1", []string{"no answer from the server at 127.0.0.1:1", "refused"}},
		"no address":     {"%zz", []string{"--server"}},
		"a problem":      {answer(400, `{"status":400,"detail":"limit: too much"}`), []string{"400", ": limit: too much"}},
		"plain error":    {answer(503, "starting\n"), []string{"503", "starting"}},
		"no JSON":        {answer(200, "<html>"), []string{"no JSON"}},
		"other JSON":     {answer(200, `{"items":[]}`), []string{"no list of services"}},
		"no total":       {answer(200, `{"services":[]}`), []string{"no total"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, "get", "services", "--server", c.addr)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}
