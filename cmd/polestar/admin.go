package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"polestar/internal/buildinfo"
	"polestar/web"
)

// The exit codes of failures; scripts rely on them.
const (
	exitFailed  = 1 // everything else, wrong command lines first
	exitRefused = 4 // the server refused the request; nothing was done
	exitServer  = 5 // the server could not do it, or did not answer
)

// exitCode is the exit code for the error of a command.
func exitCode(err error) int {
	e, ok := errors.AsType[*serverError](err)
	switch {
	case !ok:
		return exitFailed
	case e.status >= 400 && e.status < 500:
		return exitRefused
	default:
		return exitServer
	}
}

// serverError is an answer of a server that is no success; status 0 means that
// there was none.
type serverError struct {
	status int
	err    error
}

func (e *serverError) Error() string { return e.err.Error() }

func (e *serverError) Unwrap() error { return e.err }

// adminClient writes through the HTTP door of a server.
type adminClient struct {
	server remote
	output string
}

func (a *adminClient) flags(fs *pflag.FlagSet) {
	a.server.httpFlags(fs)
	fs.StringVarP(&a.output, "output", "o", "table", "table, json or yaml")
}

// check is a command's PreRunE: what is wrong shows before anything is done.
func (a *adminClient) check(*cobra.Command, []string) error {
	return checkOutput(a.output)
}

// request is one write.
type request struct {
	method string
	path   string // below /api/v1, escaped
	query  url.Values
	body   map[string]any // nil: none
	// If is the revision that the object must have; 0: any.
	If uint64
	// patience is how long the answer may take; 0: 10 s.
	patience time.Duration
}

// write sends one write and returns the answer.
func (a *adminClient) write(ctx context.Context, r request) (json.RawMessage, error) {
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	at := r.path
	if len(r.query) > 0 {
		at += "?" + r.query.Encode()
	}
	client, err := a.server.client(cmp.Or(r.patience, 10*time.Second))
	if err != nil {
		return nil, err
	}
	req, err := a.server.request(ctx, r.method, at, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "polestar/"+buildinfo.Version())
	if r.If > 0 {
		req.Header.Set("If-Match", fmt.Sprintf(`"%d"`, r.If))
	}
	return readAnswer(client, req)
}

// print shows what writes did: a line for each object, or the answers.
func (a *adminClient) print(w io.Writer, answers []json.RawMessage) error {
	if a.output == "table" {
		for _, raw := range answers {
			var m web.Mutation
			if err := json.Unmarshal(raw, &m); err != nil {
				return fmt.Errorf("the server answered no result: %w", err)
			}
			for _, line := range told(&m) {
				if _, err := fmt.Fprintln(w, line); err != nil {
					return err
				}
			}
		}
		return nil
	}
	var all json.RawMessage
	var err error
	if len(answers) == 1 {
		all = answers[0]
	} else if all, err = json.Marshal(answers); err != nil {
		return err
	}
	return writeDocument(w, a.output, all)
}

// told says what a write did, in a line for each object.
func told(m *web.Mutation) []string {
	did := fmt.Sprintf("%s at revision %d", m.Outcome, m.Revision)
	switch {
	case m.Namespace != nil:
		return []string{fmt.Sprintf("namespace %s %s", m.Namespace.Name, did)}
	case m.Service != nil:
		return []string{fmt.Sprintf("service %s/%s %s", m.Service.Namespace, m.Service.Name, did)}
	case m.Alias != nil:
		return []string{fmt.Sprintf("alias %s/%s for %s/%s %s", m.Alias.Namespace, m.Alias.Name, m.Alias.ForNamespace, m.Alias.ForService, did)}
	case m.User != nil || m.Group != nil || m.Policy != nil || m.Token != nil:
		return accessTold(m, did)
	case m.Instance != nil:
		m.Instances = []web.Instance{*m.Instance}
	}
	if len(m.Instances) == 0 {
		return []string{did}
	}
	out := make([]string, len(m.Instances))
	for n := range m.Instances {
		i := &m.Instances[n]
		out[n] = fmt.Sprintf("instance %s, %s:%d of %s/%s, %s: %s", i.ID, i.Host, i.Port, i.Namespace, i.Service, did, inForce(i))
	}
	return out
}

// inForce says what an instance's three attributes are, and where an operator
// set one, what its client says.
func inForce(i *web.Instance) string {
	words := []string{fmt.Sprint("weight ", i.Weight), state(i.Healthy, "healthy"), state(i.Isolated, "isolated")}
	if i.Set != nil && i.Own != nil {
		for n, c := range []struct {
			set bool
			own string
		}{
			{i.Set.Weight != nil, fmt.Sprint(i.Own.Weight)},
			{i.Set.Healthy != nil, state(i.Own.Healthy, "healthy")},
			{i.Set.Isolated != nil, state(i.Own.Isolated, "isolated")},
		} {
			if c.set {
				words[n] += " (its own: " + c.own + ")"
			}
		}
	}
	return strings.Join(words, ", ")
}

func state(is bool, word string) string {
	if is {
		return word
	}
	return "not " + word
}
