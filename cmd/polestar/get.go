package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"polestar/web"
)

// table turns the items of a kind into rows.
type table struct {
	header string
	rows   func(items json.RawMessage) ([][]any, error)
}

// kinds are what `polestar get` can show.
var kinds = map[string]table{
	"namespaces": {"NAME\tOWNER\tREVISION\tCREATED", rowsOf(func(n web.Namespace) []any {
		return []any{n.Name, n.Owner, n.Revision, n.Created}
	})},
	"services": {"NAMESPACE\tNAME\tINSTANCES\tHEALTHY\tISOLATED\tREVISION", rowsOf(func(s web.Service) []any {
		return []any{s.Namespace, s.Name, s.Instances, s.Healthy, s.Isolated, s.Revision}
	})},
	"aliases": {"NAMESPACE\tNAME\tFOR\tREVISION\tCOMMENT", rowsOf(func(a web.Alias) []any {
		return []any{a.Namespace, a.Name, a.ForNamespace + "/" + a.ForService, a.Revision, a.Comment}
	})},
	"overrides": {"NAMESPACE\tSERVICE\tADDRESS\tSET\tBY\tSINCE\tREASON\tINSTANCE", rowsOf(func(o web.Override) []any {
		return []any{o.Namespace, o.Service, fmt.Sprintf("%s:%d", o.Host, o.Port), kept(&o.Set), o.Set.By, o.Set.Since, o.Set.Reason, o.Instance}
	})},
	"instances": {"NAMESPACE\tSERVICE\tADDRESS\tWEIGHT\tHEALTHY\tISOLATED\tTTL\tVERSION\tREVISION\tID", rowsOf(func(i web.Instance) []any {
		return []any{
			i.Namespace, i.Service, fmt.Sprintf("%s:%d", i.Host, i.Port), besideOwn(i, i.Weight, func(a web.Attributes) any { return a.Weight }),
			besideOwn(i, i.Healthy, func(a web.Attributes) any { return a.Healthy }),
			besideOwn(i, i.Isolated, func(a web.Attributes) any { return a.Isolated }),
			strconv.Itoa(int(i.TTL)) + "s", i.Version, i.Revision, i.ID,
		}
	})},
	"problems": {"TYPE\tRESOURCE\tINSTANCE\tLEFT OUT BECAUSE", rowsOf(func(p web.Problem) []any {
		return []any{p.Type, p.Resource, p.Instance, p.Reason}
	})},
	"clients": {clientsTable, clientRows},
	"guard": {"OF\tNAMESPACE\tSERVICE\tHELD\tLEASES\tSINCE", rowsOf(func(h web.Held) []any {
		return []any{h.Of, h.Namespace, h.Service, h.Held, h.Leases, h.Since}
	})},
	"users":    usersTable,
	"groups":   groupsTable,
	"tokens":   tokensTable,
	"policies": policiesTable,
}

// besideOwn shows what is in force and, where an operator made it otherwise,
// what the instance itself says.
func besideOwn(i web.Instance, inForce any, of func(web.Attributes) any) any {
	if i.Own == nil || of(*i.Own) == inForce {
		return inForce
	}
	return fmt.Sprintf("%v (own %v)", inForce, of(*i.Own))
}

// kept lists what an operator set.
func kept(s *web.Set) string {
	var words []string
	if s.Weight != nil {
		words = append(words, fmt.Sprint("weight=", *s.Weight))
	}
	if s.Healthy != nil {
		words = append(words, fmt.Sprint("healthy=", *s.Healthy))
	}
	if s.Isolated != nil {
		words = append(words, fmt.Sprint("isolated=", *s.Isolated))
	}
	return strings.Join(words, ",")
}

func rowsOf[T any](row func(T) []any) func(json.RawMessage) ([][]any, error) {
	return func(raw json.RawMessage) ([][]any, error) {
		var items []T
		if err := json.Unmarshal(raw, &items); err != nil {
			return nil, err
		}
		out := make([][]any, len(items))
		for n, i := range items {
			out[n] = row(i)
		}
		return out, nil
	}
}

// oneKind takes the name of one kind; a misspelt one is told the nearest.
func oneKind(_ *cobra.Command, args []string) error {
	all := slices.Sorted(maps.Keys(kinds))
	if len(args) != 1 {
		return fmt.Errorf("name one of %s", strings.Join(all, ", "))
	}
	if _, known := kinds[args[0]]; !known {
		return fmt.Errorf("unknown kind %q%s", args[0], cmp.Or(suggest(args[0], all), "; known are "+strings.Join(all, ", ")))
	}
	return nil
}

func getCommand() *cobra.Command {
	var server remote
	var output, namespace, service string
	cmd := &cobra.Command{
		Use:       "get namespaces|services|aliases|instances|overrides|clients|guard|problems|users|groups|policies|tokens",
		Short:     "Show what a running server knows",
		Args:      oneKind,
		ValidArgs: slices.Sorted(maps.Keys(kinds)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			q := url.Values{}
			for name, value := range map[string]string{"namespace": namespace, "service": service} {
				if value != "" {
					q.Set(name, value)
				}
			}
			items, err := fetchAll(cmd.Context(), &server, args[0], q)
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), output, kinds[args[0]], items)
		},
	}
	server.httpFlags(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	cmd.Flags().StringVar(&namespace, "namespace", "", "only this namespace")
	cmd.Flags().StringVar(&service, "service", "", "only this service")
	return cmd
}

func checkOutput(output string) error {
	if output != "table" && output != "json" && output != "yaml" {
		return fmt.Errorf("--output: %q is none of table, json, yaml", output)
	}
	return nil
}

// fetchAll reads all pages of a kind, which is the end of a path, as one JSON
// array.
func fetchAll(ctx context.Context, server *remote, kind string, q url.Values) (json.RawMessage, error) {
	client, err := server.client(10 * time.Second)
	if err != nil {
		return nil, err
	}
	all := []json.RawMessage{}
	q.Set("limit", "1000")
	for {
		q.Set("offset", strconv.Itoa(len(all)))
		req, err := server.request(ctx, http.MethodGet, "/"+kind+"?"+q.Encode(), nil)
		if err != nil {
			return nil, err
		}
		items, total, err := fetchPage(client, req, path.Base(kind))
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if len(items) == 0 || len(all) >= total {
			return json.Marshal(all)
		}
	}
}

// maxAnswer bounds one page in bytes: a thousand instances with the most and
// the longest metadata, in JSON, stay below it.
const maxAnswer = 512 << 20

// reason is the detail of a problem (RFC 9457) and what stands in the way, or
// the text of any other error.
func reason(body []byte) string {
	var p struct {
		Detail   string
		Blocking []string
	}
	text := strings.TrimSpace(string(body))
	if json.Unmarshal(body, &p) == nil && p.Detail != "" {
		text = p.Detail
	}
	text = fmt.Sprintf("%.500s", text)
	if len(p.Blocking) > 0 {
		text += ": " + strings.Join(p.Blocking, ", ")
	}
	return text
}

// readAnswer is the body of a successful answer.
func readAnswer(client *http.Client, req *http.Request) ([]byte, error) {
	authorise(req)
	res, err := client.Do(req)
	if err != nil {
		return nil, unanswered(req.URL.Host, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, &serverError{0, fmt.Errorf("the server at %s: %w", req.URL.Host, err)}
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("the server at %s answered more than %d bytes", req.URL.Host, maxAnswer)
	case res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated:
		return nil, &serverError{res.StatusCode, fmt.Errorf("the server at %s answered %s: %s%s", req.URL.Host, res.Status, reason(body), advice(res.StatusCode))}
	}
	return body, nil
}

// unanswered says why a request to a server failed.
func unanswered(host string, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the URL, whose host is named already
	}
	// Neither has a type: bytes that are no answer (the text holds them), and
	// bytes that came before there was a request.
	if text := err.Error(); strings.Contains(text, "malformed HTTP") || strings.Contains(text, "readLoopPeekFailLocked") {
		return &serverError{0, fmt.Errorf("what listens on %s does not speak HTTP/1: give the server's http-addr", host)}
	}
	return &serverError{0, fmt.Errorf("no answer from the server at %s: %w", host, err)}
}

func fetchPage(client *http.Client, req *http.Request, kind string) (items []json.RawMessage, total int, err error) {
	body, err := readAnswer(client, req)
	if err != nil {
		return nil, 0, err
	}
	var page map[string]json.RawMessage
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, 0, fmt.Errorf("the server at %s answered no JSON: %w", req.URL.Host, err)
	}
	if err := json.Unmarshal(page[kind], &items); err != nil {
		return nil, 0, fmt.Errorf("the server at %s answered no list of %s: %w", req.URL.Host, kind, err)
	}
	if err := json.Unmarshal(page["total"], &total); err != nil {
		return nil, 0, fmt.Errorf("the server at %s answered no total: %w", req.URL.Host, err)
	}
	return items, total, nil
}

func show(w io.Writer, output string, t table, items json.RawMessage) error {
	switch output {
	case "table":
		rows, err := t.rows(items)
		if err != nil {
			return err
		}
		return writeTable(w, t.header, rows)
	default: // json or yaml, as checked before the request
		return writeDocument(w, output, items)
	}
}

func writeTable(w io.Writer, header string, rows [][]any) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(tw, header); err != nil {
		return err
	}
	for _, r := range rows {
		format := strings.TrimSuffix(strings.Repeat("%v\t", len(r)), "\t") + "\n"
		if _, err := fmt.Fprintf(tw, format, r...); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// writeDocument writes an answer as JSON or YAML.
func writeDocument(w io.Writer, output string, answer json.RawMessage) error {
	var v any
	if err := json.Unmarshal(answer, &v); err != nil {
		return err
	}
	if output == "yaml" {
		return yaml.NewEncoder(w).Encode(v)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
