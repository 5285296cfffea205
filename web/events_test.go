package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
)

// message is one server-sent event.
type message struct{ id, event, data, comment string }

// readMessage reads one; the error is the stream's end.
func readMessage(r *bufio.Reader) (m message, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return m, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "":
			if value == "" && line == "\n" {
				return m, nil
			}
			m.comment = value
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "data":
			m.data = value
		}
	}
}

// subscribe opens a stream on a served door; the first message, a greeting, is
// read already.
func subscribe(t *testing.T, client *http.Client, s *Server, query, last string) (*bufio.Reader, io.Closer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String()+"/api/v1/events?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	r := bufio.NewReader(res.Body)
	if m, err := readMessage(r); err != nil || m.comment == "" {
		t.Fatalf("%+v %v", m, err)
	}
	return r, res.Body
}

func served(t *testing.T, b backend) (*Server, *http.Client) {
	t.Helper()
	s := doorOf(b, true)
	stop := started(t, s)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return s, client
}

// A reader that loses its connection after every event, and resumes with the
// last id, gets each event of the log once and in order.
func TestNoEventIsLostOrDoubledOverReconnects(t *testing.T) {
	b := newBackend(t)
	b.do(t, &naming.Modify{ID: "i1", Set: naming.Setting{Healthy: new(false), Isolated: new(true), Weight: new(uint32(1))}}) // three events of one change
	s, client := served(t, b)
	var want, got []string
	log, err := b.Since(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range log {
		for _, e := range naming.Events(c) {
			want = append(want, fmt.Sprintf("%d:%d %s", e.Revision, e.Index, e.Type))
		}
	}
	for last := "0"; len(got) < len(want); {
		r, body := subscribe(t, client, s, "", last)
		m, err := readMessage(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.id+" "+m.event)
		last = m.id
		_ = body.Close()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEventsFollowWhatHappens(t *testing.T) {
	b := newBackend(t)
	s, client := served(t, b)
	r, body := subscribe(t, client, s, "service=svc&type=InstanceOpenIsolate,InstanceOffline", "")
	defer func() { _ = body.Close() }()
	must[Mutation](t, send(s, "PATCH", "/api/v1/instances/i1", `{"weight":3}`), 200)
	must[Mutation](t, send(s, "PATCH", "/api/v1/instances/i1", `{"isolated":true,"reason":"disk"}`), 200)
	must[Mutation](t, send(s, "DELETE", "/api/v1/instances/i1", ""), 200)
	for _, want := range []string{"4:0 InstanceOpenIsolate", "5:0 InstanceOffline"} {
		m, err := readMessage(r)
		if err != nil || m.id+" "+m.event != want {
			t.Fatalf("%+v %v, want %s", m, err, want)
		}
		var e Event
		if err := json.Unmarshal([]byte(m.data), &e); err != nil || e.Type != m.event || e.ID != "i1" || e.Host != "10.0.0.1" || e.Actor.Address == "" || len(e.Fields) == 0 {
			t.Errorf("%v %+v", err, e)
		}
	}
}

func TestEventsWithoutFollowingEnd(t *testing.T) {
	s := door(t, true)
	for query, want := range map[string]int{
		"since=0": 5, "since=1": 2, "since=2": 0, "": 0, "since=0&kind=namespace": 2, "since=0&namespace=other": 2, "since=0&type=InstanceOnline": 1, "since=0&instance=i1": 1,
	} {
		w := get(s, "/api/v1/events?follow=false&"+query)
		if got := strings.Count(w.Body.String(), "\nevent: "); w.Code != 200 || got != want {
			t.Errorf("%s: %d events, want %d: %s", query, got, want, w.Body)
		}
	}
	if w := ask(s, http.MethodHead, "/api/v1/events"); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("HEAD: %d %s", w.Code, w.Body)
	}
	for query, want := range map[string]string{
		"since=x": "since", "since=99": "since", "follow=maybe": "follow", "type=Instance": "type", "limit=1": "limit", "kind=x": "kind",
	} {
		if p := must[refused](t, get(s, "/api/v1/events?"+query), 400); p.Parameter != want {
			t.Errorf("%s: %+v", query, p)
		}
	}
	if p := must[refused](t, send(s, "GET", "/api/v1/events", "", "Last-Event-ID", "soon"), 400); p.Parameter != "Last-Event-ID" {
		t.Errorf("%+v", p)
	}
	if len(s.streams) != 0 {
		t.Errorf("%d streams are still counted", len(s.streams))
	}
}

// What the log no longer has is said, not skipped in silence.
func TestAGapIsAnEvent(t *testing.T) {
	b := newBackendOf(t, store.LogBounds{MaxRevisions: 2, MaxBytes: 1 << 20})
	for n := range 3 {
		b.do(t, &naming.Modify{ID: "i1", Set: naming.Setting{Weight: new(uint32(n + 100))}})
	}
	w := get(doorOf(b, true), "/api/v1/events?follow=false&since=1")
	r := bufio.NewReader(w.Body)
	var got []string
	for {
		m, err := readMessage(r)
		if err != nil {
			break
		}
		if m.comment == "" {
			got = append(got, m.id+" "+m.event+" "+map[bool]string{true: m.data}[m.event == "gap"])
		}
	}
	if diff := cmp.Diff([]string{`3 gap {"from":2,"to":3}`, "4:0 InstanceUpdate ", "5:0 InstanceUpdate "}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A restored store has a world, but no log of how it came about.
func TestEventsOfARestoredStore(t *testing.T) {
	from, to := newBackend(t), backend{memory.New(store.DefaultLogBounds()), registry.New()}
	if err := to.Restore(t.Context(), from.Store.Load); err != nil {
		t.Fatal(err)
	}
	l := to.Registry.Load()
	head, err := to.Store.Load(t.Context(), l.Add, l.Touched)
	if err == nil {
		err = l.Publish(head)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := doorOf(to, true)
	if w := get(s, "/api/v1/events?follow=false&since=0"); !strings.Contains(w.Body.String(), `{"from":1,"to":2}`) {
		t.Errorf("%s", w.Body)
	}
	to.do(t, &naming.Modify{ID: "i1", Set: naming.Setting{Weight: new(uint32(1))}})
	if w := get(s, "/api/v1/events?follow=false&since=2"); strings.Contains(w.Body.String(), "gap") || !strings.Contains(w.Body.String(), "id: 3:0") {
		t.Errorf("%s", w.Body)
	}
	if got := must[historyPage](t, get(s, "/api/v1/history"), 200); len(got.History) != 1 || got.Log.OldestRevision != 3 {
		t.Errorf("%+v", got)
	}
}

func TestStreamsOfEventsAreBounded(t *testing.T) {
	s := door(t, true)
	for range maxEventStreams {
		s.streams <- struct{}{}
	}
	if p := must[refused](t, get(s, "/api/v1/events"), 503); !strings.Contains(p.Detail, "64") {
		t.Errorf("%+v", p)
	}
}

// bubble serves a door on pipes, whose time is the test's.
func bubble(t *testing.T, b backend) (s *Server, connect func() net.Conn, stop func() time.Duration) {
	t.Helper()
	s = doorOf(b, true)
	p := pipe{make(chan net.Conn), make(chan struct{})}
	s.listener = p
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	connect = func() net.Conn {
		client, server := net.Pipe()
		p.conn <- server
		if _, err := client.Write([]byte("GET /api/v1/events HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		return client
	}
	stop = func() time.Duration {
		start := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return time.Since(start)
	}
	return s, connect, stop
}

// A quiet stream outlives the timeouts of the door, says that it lives, tells
// where it stands, and ends with the server at once.
func TestAQuietStreamLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		_, connect, stop := bubble(t, b)
		client := connect()
		res, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		r := bufio.NewReader(res.Body)
		if m, err := readMessage(r); err != nil || m.comment == "" {
			t.Fatal(m, err)
		}
		start := time.Now()
		for n := range 20 { // five minutes
			m, err := readMessage(r)
			if err != nil || m.comment != "heartbeat" || m.id != "2" || m.event != "" || time.Since(start) != time.Duration(n+1)*eventBeat {
				t.Fatalf("%+v %v after %s", m, err, time.Since(start))
			}
		}
		b.do(t, &naming.Modify{ID: "i1", Set: naming.Setting{Weight: new(uint32(1))}})
		if m, err := readMessage(r); err != nil || m.id != "3:0" || m.event != "InstanceUpdate" {
			t.Errorf("%+v %v", m, err)
		}
		synctest.Wait()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		if took := stop(); took > time.Second {
			t.Errorf("an open stream held the stop for %s", took)
		}
		_ = client.Close()
	})
}

// A reader that takes nothing is cut off; nobody waits for it.
func TestASlowReaderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		s, connect, stop := bubble(t, b)
		client := connect()
		synctest.Wait()
		if len(s.streams) != 1 {
			t.Fatalf("%d streams", len(s.streams))
		}
		time.Sleep(eventWrite + time.Nanosecond)
		synctest.Wait()
		if len(s.streams) != 0 {
			t.Error("it still holds its place")
		}
		_ = client.Close()
		stop()
	})
}

// Who has seen more than this server shows is waited for a little.
func TestAReaderFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		s := doorOf(b, true)
		go func() {
			time.Sleep(eventPatience / 2)
			b.do(t, &naming.Modify{ID: "i1", Set: naming.Setting{Weight: new(uint32(1))}})
		}()
		if w := get(s, "/api/v1/events?follow=false&since=3"); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		start := time.Now()
		if p := must[refused](t, get(s, "/api/v1/events?since=9"), 400); !strings.Contains(p.Detail, "the newest is 3") || time.Since(start) != eventPatience {
			t.Errorf("%+v after %s", p, time.Since(start))
		}
	})
}
