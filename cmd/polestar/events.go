package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polestar/web"
)

// eventsReader reads the events of a server.
type eventsReader struct {
	adminClient
	changeFilter
	types  []string
	since  int64 // -1: from now on, or without follow all that the log has
	follow bool
	last   string // id of the last message
}

func eventsCommand() *cobra.Command {
	var e eventsReader
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened to instances, services and the rest, in order",
		Long: `Show what happened to instances, services and the rest, in order: registered,
removed, healthy, unhealthy, isolated, changed. Events come from the change log,
so none is lost: a connection that breaks is taken up again where it was, and
what the log does not have any more is said.

With -o json there is one event a line.`,
		Example: `  polestar events --follow
  polestar events --follow --service default/cart --type InstanceTurnUnHealth,InstanceOffline
  polestar events --since 800 -o json`,
		Args: cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if e.output != "table" && e.output != "json" {
				return fmt.Errorf("--output: %q is neither table nor json", e.output)
			}
			if e.since < -1 {
				return fmt.Errorf("--since: %d is not a revision", e.since)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	fs := cmd.Flags()
	e.adminClient.flags(fs)
	e.changeFilter.flags(fs)
	fs.Lookup("output").Usage = "table or json"
	fs.StringSliceVar(&e.types, "type", nil, "only events of these types")
	fs.Int64Var(&e.since, "since", -1, "events after this revision (default: with --follow from now on, else all)")
	fs.BoolVarP(&e.follow, "follow", "f", false, "go on with what happens, until interrupted")
	return cmd
}

// retryEvents is the wait before a broken connection is taken up again.
const retryEvents = time.Second

func (e *eventsReader) run(cmd *cobra.Command) error {
	q := e.query()
	q.Set("follow", strconv.FormatBool(e.follow))
	if len(e.types) > 0 {
		q.Set("type", strings.Join(e.types, ","))
	}
	switch {
	case e.since >= 0:
		q.Set("since", strconv.FormatInt(e.since, 10))
	case !e.follow:
		q.Set("since", "0")
	}
	for cmd.Context().Err() == nil { // an interrupt is how it is meant to end
		err := e.stream(cmd, q)
		answer, answered := errors.AsType[*serverError](err)
		switch {
		case cmd.Context().Err() != nil:
			continue
		case err == nil && !e.follow:
			return nil
		case e.last == "" || answered && answer.status >= 400 && answer.status < 500:
			return err // it never worked, or will not
		}
		if err == nil {
			err = fmt.Errorf("the server at %s ended it", e.server.addr)
		}
		cmd.PrintErrln("the stream broke and is taken up again:", err)
		timer := time.NewTimer(retryEvents)
		select {
		case <-timer.C:
		case <-cmd.Context().Done():
			timer.Stop()
		}
	}
	return nil
}

// stream reads one connection to its end.
func (e *eventsReader) stream(cmd *cobra.Command, q url.Values) error {
	// A server that says nothing for three heartbeats is gone.
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	silence := time.AfterFunc(maxSilence, func() { cancel(fmt.Errorf("silent for %s", maxSilence)) })
	defer silence.Stop()

	req, err := e.server.request(ctx, http.MethodGet, "/events?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	with, err := e.server.config()
	if err != nil {
		return err
	}
	if e.last != "" {
		req.Header.Set("Last-Event-ID", e.last)
	}
	authorise(req)
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, ResponseHeaderTimeout: 10 * time.Second,
		TLSClientConfig: with, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
	}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return unanswered(e.server.addr, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
		return &serverError{res.StatusCode, fmt.Errorf("the server at %s answered %s: %s%s", e.server.addr, res.Status, reason(body), advice(res.StatusCode))}
	}
	in := bufio.NewReader(res.Body)
	var m message
	for {
		line, err := in.ReadString('\n')
		silence.Reset(maxSilence)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &serverError{0, fmt.Errorf("the server at %s: %w", e.server.addr, cmp.Or(context.Cause(ctx), err))}
		}
		if m.take(strings.TrimSuffix(line, "\n")) {
			continue
		}
		if m.data != "" {
			if err := e.print(cmd.OutOrStdout(), &m); err != nil {
				return err
			}
		}
		if m.id != "" {
			e.last = m.id
		}
		m = message{}
	}
}

// maxSilence is how long a stream may say nothing; the server sends a heartbeat
// every 15 s.
const maxSilence = 45 * time.Second

// message is one server-sent event.
type message struct{ id, event, data string }

// take adds a line; false when the message is complete.
func (m *message) take(line string) bool {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch {
	case line == "":
		return false
	case name == "id":
		m.id = value
	case name == "event":
		m.event = value
	case name == "data":
		m.data = value
	}
	return true // comments and fields that are not known
}

func (e *eventsReader) print(w io.Writer, m *message) error {
	if e.output == "json" {
		if m.event == "gap" {
			m.data = strings.Replace(m.data, "{", `{"type":"gap",`, 1)
		}
		_, err := fmt.Fprintln(w, m.data)
		return err
	}
	if m.event == "gap" {
		var gap struct{ From, To uint64 }
		if err := json.Unmarshal([]byte(m.data), &gap); err != nil {
			return fmt.Errorf("the server at %s sent no gap: %w", e.server.addr, err)
		}
		_, err := fmt.Fprintf(w, "revisions %d to %d are not in the change log any more\n", gap.From, gap.To)
		return err
	}
	var ev web.Event
	if err := json.Unmarshal([]byte(m.data), &ev); err != nil {
		return fmt.Errorf("the server at %s sent no event: %w", e.server.addr, err)
	}
	text := fmt.Sprintf("%s  %7d  %-20s  %s  %s by %s", ev.Time, ev.Revision, ev.Type, objectOf(&ev.Change), ev.Cause, by(&ev.Change))
	if f := fieldsText(&ev.Change); f != "" {
		text += f
	}
	if ev.Reason != "" {
		text += " (" + printable(ev.Reason) + ")"
	}
	_, err := fmt.Fprintln(w, text)
	return err
}
