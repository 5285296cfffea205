package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"polestar/web"
)

// What happened is told with who, why, and what differs.
func TestHistoryAndEventsOfAWholeServer(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.register(t, 50)
	w.cli(t, "isolate", "--service", "cart", "--host", "10.0.0.1", "--reason", "disk")
	w.register(t, 60)
	out := w.cli(t, "history")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 6 || !strings.HasPrefix(lines[1], "3 ") || !strings.HasPrefix(lines[5], "1 ") {
		t.Fatalf("%s", out)
	}
	for n, words := range map[int][]string{
		1: {"127.0.0.1", "client", "instance 10.0.0.1:80 of default/cart", "updated: weight 50→60"},
		2: {"operator", "isolated false→true, set.isolated -→true", "disk"},
		3: {"created: weight=50, healthy=true"},
		4: {"auto-created", "service default/cart"},
	} {
		for _, word := range words {
			if !strings.Contains(lines[n], word) {
				t.Errorf("line %d %q does not say %q", n, lines[n], word)
			}
		}
	}
	var all []web.Change
	if err := json.Unmarshal([]byte(w.cli(t, "history", "--cause", "operator", "--service", "default/cart", "--since", "1h", "-o", "json")), &all); err != nil || len(all) != 1 || all[0].Reason != "disk" {
		t.Errorf("%v %+v", err, all)
	}
	for _, args := range [][]string{{"--until", "1h"}, {"--instance", "none"}, {"--revision", "99"}, {"--actor", "10.0.0.9"}, {"--kind", "alias"}} {
		if got := w.cli(t, append([]string{"history", "-o", "json"}, args...)...); strings.TrimSpace(got) != "[]" {
			t.Errorf("%v: %s", args, got)
		}
	}
	if got := w.cli(t, "history", "--limit", "2"); strings.Count(got, "\n") != 3 {
		t.Errorf("--limit 2:\n%s", got)
	}
	w.refuse(t, []string{"cause", "lease-expired"}, "history", "--cause", "magic")

	out = w.cli(t, "events")
	for _, want := range []string{"NamespaceCreated", "ServiceCreated", "InstanceOnline", "InstanceOpenIsolate", "InstanceUpdate", "(disk)"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	var ev web.Event
	if err := json.Unmarshal([]byte(w.cli(t, "events", "--since", "1", "--type", "InstanceOpenIsolate", "-o", "json")), &ev); err != nil || ev.Type != "InstanceOpenIsolate" || ev.Revision != 2 {
		t.Errorf("%v %+v", err, ev)
	}
	w.refuse(t, []string{"type", "InstanceOnline"}, "events", "--type", "Online")
}

// A followed stream shows what happens from now on and ends with an interrupt.
func TestFollowedEvents(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.register(t, 50)
	r, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := root()
	cmd.SetArgs([]string{"events", "--follow", "--since", "1", "--server", w.web.Addr().String()})
	cmd.SetOut(out)
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	lines := bufio.NewReader(r)
	for weight := uint32(51); weight < 55; weight++ {
		w.register(t, weight)
		if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, fmt.Sprintf("weight %d→%d", weight-1, weight)) {
			t.Fatalf("%q %v", line, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("an interrupt is no failure: %v", err)
	}
}

// A stream that breaks is taken up where it was; what the server no longer has
// is said; a refusal ends it.
func TestABrokenStreamIsTakenUp(t *testing.T) {
	asked := []string{}
	addr := admin(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		switch len(asked) {
		case 1:
			_, _ = io.WriteString(w, ": hello\nid: 4\n\nid: 5:0\nevent: ServiceCreated\ndata: {\"type\":\"ServiceCreated\",\"revision\":5,\"kind\":\"service\"}\n\nid: 6:0\nevent: torn")
		case 2:
			_, _ = io.WriteString(w, "id: 8\nevent: gap\ndata: {\"from\":6,\"to\":8}\n\n")
		default:
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"detail":"no more"}`)
		}
	})
	var out, notes bytes.Buffer
	cmd := root()
	cmd.SetArgs([]string{"events", "--follow", "--server", addr})
	cmd.SetOut(&out)
	cmd.SetErr(&notes)
	err := cmd.ExecuteContext(t.Context())
	if err == nil || exitCode(err) != exitRefused || strings.Join(asked, ",") != ",5:0,8" {
		t.Errorf("%v, asked after %q", err, asked)
	}
	if !strings.Contains(out.String(), "ServiceCreated") || !strings.Contains(out.String(), "revisions 6 to 8 are not in the change log") ||
		strings.Contains(out.String(), "torn") || !strings.Contains(notes.String(), "taken up again") {
		t.Errorf("%s\n%s", out.String(), notes.String())
	}
}

func TestHistoryReadsPages(t *testing.T) {
	asked := 0
	addr := admin(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		next := map[int]string{1: "9:3", 2: "5:0"}[asked] // the second finds nothing
		if want := map[int]string{2: "9:3", 3: "5:0"}[asked]; r.URL.Query().Get("before") != want {
			t.Errorf("request %d asks before %q, want %q", asked, r.URL.Query().Get("before"), want)
		}
		page := []web.Change{}
		if asked != 2 {
			page = append(page, web.Change{Revision: uint64(10 - asked)})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"history": page, "next": next, "log": web.Reach{}})
	})
	var all []web.Change
	out, err := run(t, "history", "--server", addr, "-o", "json")
	if err != nil || json.Unmarshal([]byte(out), &all) != nil || len(all) != 2 || asked != 3 {
		t.Errorf("%v, %d requests: %s", err, asked, out)
	}
	if _, err := run(t, "history", "--server", admin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) })); err == nil || !strings.Contains(err.Error(), "no history") {
		t.Errorf("%v", err)
	}
}

func TestTextsCannotSteerATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "two words": "two words", "\x1b[31mred": `"\x1b[31mred"`, "two\nlines": `"two\nlines"`, strings.Repeat("é", 61): strings.Repeat("é", 60) + "…",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestWrongHistoryCommands(t *testing.T) {
	for args, want := range map[string]string{
		"history --since yesterday": "--since", "history --until -1h": "--until", "history --limit 0": "--limit", "history -o xml": `"xml"`,
		"events -o yaml": `"yaml"`, "events --since -5": "--since", "histroy": "did you mean history?",
	} {
		if _, err := run(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitFailed {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
