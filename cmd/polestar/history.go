package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"polestar/web"
)

// changeFilter chooses changes or events.
type changeFilter struct {
	namespace, service, instance, kind, actor, cause string
}

func (f *changeFilter) flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.namespace, "namespace", "", "only of this namespace")
	fs.StringVar(&f.service, "service", "", "only of this service: name, or namespace/name")
	fs.StringVar(&f.instance, "instance", "", "only of the instance with this id")
	fs.StringVar(&f.kind, "kind", "", "only namespace, service, alias, instance, override, contract, client, user, group, token, policy or refusal")
	fs.StringVar(&f.actor, "actor", "", "only by this principal or address")
	fs.StringVar(&f.cause, "cause", "", "only client, lease-expired, beat, operator, auto-created, clean-up or refused")
}

func (f *changeFilter) query() url.Values {
	namespace, service := f.namespace, f.service
	if ns, name, found := strings.Cut(service, "/"); found && namespace == "" {
		namespace, service = ns, name
	}
	q := url.Values{}
	for name, value := range map[string]string{
		"namespace": namespace, "service": service, "instance": f.instance, "kind": f.kind, "actor": f.actor, "cause": f.cause,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// pageTime bounds one page of the history.
const pageTime = 30 * time.Second

func historyCommand() *cobra.Command {
	var (
		a            adminClient
		f            changeFilter
		since, until string
		revision     uint64
		limit        int
	)
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show who changed what, when and why, the newest first",
		Example: `  polestar history --service default/cart --since 1h
  polestar history --cause operator --actor 10.0.0.7
  polestar history --revision 812 -o yaml`,
		Args: cobra.NoArgs, PreRunE: a.check,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return fmt.Errorf("--limit: %d is not above 0", limit)
			}
			q := f.query()
			for name, text := range map[string]string{"since": since, "until": until} {
				t, err := moment(text)
				if err != nil {
					return fmt.Errorf("--%s: %w", name, err)
				}
				if t != "" {
					q.Set(name, t)
				}
			}
			if revision != 0 {
				q.Set("revision", strconv.FormatUint(revision, 10))
			}
			return a.history(cmd, q, limit)
		},
	}
	a.flags(cmd.Flags())
	f.flags(cmd.Flags())
	cmd.Flags().StringVar(&since, "since", "", "only since then: a time (RFC 3339), or how long ago as 90m")
	cmd.Flags().StringVar(&until, "until", "", "only before then")
	cmd.Flags().Uint64Var(&revision, "revision", 0, "only of this revision")
	cmd.Flags().IntVar(&limit, "limit", 100, "changes at most")
	return cmd
}

// moment reads a time, or how long ago it was, and writes it as the API does.
func moment(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return web.Time(time.Now().Add(-ago)), nil
	}
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return "", fmt.Errorf("%q is neither a time as 2006-01-02T15:04:05Z nor a duration as 90m", text)
	}
	return text, nil
}

// history reads pages until enough is found or the log ends.
func (a *adminClient) history(cmd *cobra.Command, q url.Values, limit int) error {
	var all []json.RawMessage
	var page struct {
		History []json.RawMessage
		Next    string
		Log     *web.Reach
	}
	for {
		q.Set("limit", strconv.Itoa(min(limit-len(all), 1000)))
		body, err := ask(cmd.Context(), &a.server, "history", q, pageTime)
		if err != nil {
			return err
		}
		page.Next = ""
		if err := json.Unmarshal(body, &page); err != nil || page.Log == nil {
			return errors.Join(fmt.Errorf("the server at %s answered no history", a.server.addr), err)
		}
		all = append(all, page.History...)
		if page.Next == "" || len(all) >= limit {
			break
		}
		q.Set("before", page.Next)
	}
	raw, err := json.Marshal(append([]json.RawMessage{}, all...))
	if err != nil {
		return err
	}
	if err := show(cmd.OutOrStdout(), a.output, changeTable, raw); err != nil || a.output != "table" {
		return err
	}
	cmd.PrintErrln(reachText(page.Log))
	return nil
}

// reachText says how far back the log goes.
func reachText(r *web.Reach) string {
	text := fmt.Sprintf("the change log reaches from revision %d back to %d; it keeps at most %d revisions and %d bytes",
		r.NewestRevision, r.OldestRevision, r.MaxRevisions, r.MaxBytes)
	if r.OldestRevision == 0 {
		text = fmt.Sprintf("the change log has nothing: it begins after revision %d", r.NewestRevision)
	}
	if r.MaxAge != "" {
		text += ", and nothing older than " + r.MaxAge
	}
	return text
}

var changeTable = table{"REVISION\tTIME\tBY\tCAUSE\tOBJECT\tCHANGE\tREASON", rowsOf(func(c web.Change) []any {
	return []any{c.Revision, c.Time, by(&c), c.Cause, objectOf(&c), c.Action + fieldsText(&c), printable(c.Reason)}
})}

// by is who asked for a change.
func by(c *web.Change) string {
	switch {
	case c.Actor.Principal != "":
		return c.Actor.Principal
	case c.Actor.Address != "":
		return c.Actor.Address
	default:
		return "server"
	}
}

// objectOf names what a change is about.
func objectOf(c *web.Change) string {
	switch c.Kind {
	case "namespace":
		return "namespace " + c.Namespace
	case "instance", "override":
		return fmt.Sprintf("%s %s:%d of %s/%s", c.Kind, c.Host, c.Port, c.Namespace, c.Service)
	case "contract":
		return fmt.Sprintf("contract %.8s of %s/%s", c.ID, c.Namespace, c.Service)
	case "client", "user", "group", "token", "policy":
		return c.Kind + " " + c.ID
	default:
		return fmt.Sprintf("%s %s/%s", c.Kind, c.Namespace, c.Service)
	}
}

// fieldsText lists the first fields that differ.
func fieldsText(c *web.Change) string {
	const most = 6
	var words []string
	for n, d := range c.Fields {
		switch {
		case n == most:
			words = append(words, fmt.Sprintf("%d more", len(c.Fields)-most))
		case n > most:
		case c.Action == "created":
			words = append(words, printable(d.Field)+"="+valueText(d.After))
		case c.Action == "deleted":
			words = append(words, printable(d.Field)+"="+valueText(d.Before))
		default:
			words = append(words, fmt.Sprintf("%s %s→%s", printable(d.Field), valueText(d.Before), valueText(d.After)))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return ": " + strings.Join(words, ", ")
}

func valueText(v any) string {
	switch x := v.(type) {
	case nil:
		return "-"
	case string:
		if x == "" {
			return `""`
		}
		return printable(x)
	default:
		return fmt.Sprint(x)
	}
}

// printable cuts a text to what a table can hold, and quotes what a terminal
// would take for more than text.
func printable(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
