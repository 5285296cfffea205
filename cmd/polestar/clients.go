package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"polestar/web"
	"polestar/xds/explain"
)

// clientsTable has one row per client and type.
const clientsTable = "NODE\tSTREAM\tVIEW\tPRINCIPAL\tPROTOCOL\tTYPE\tNAMES\tSENT\tACKED\tREFUSED\tSINCE"

func clientsCommand() *cobra.Command {
	var server remote
	var output string
	cmd := &cobra.Command{
		Use:   "clients [CLIENT]",
		Short: "Show what xDS clients have",
		Long: `Show, for each xDS client and type of resource, what it subscribed to, was sent,
accepted and refused: the same as polestar get clients. For one client, the id
of its node or the number of its stream, show each resource.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			clients, err := fetchAll(cmd.Context(), &server, "clients", url.Values{})
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return show(cmd.OutOrStdout(), output, kinds["clients"], clients)
			}
			all, err := holdings(cmd.Context(), &server, clients, args[0])
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), output, table{
				"NODE\tSTREAM\tTYPE\tRESOURCE\tSTATE\tCURRENT\tSENT\tACKED\tSINCE\tREFUSED", holdingRows,
			}, all)
		},
	}
	server.httpFlags(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	cmd.AddCommand(clientsDiffCommand())
	return cmd
}

// clientRows has one row per client and type.
func clientRows(raw json.RawMessage) ([][]any, error) {
	var clients []web.Client
	if err := json.Unmarshal(raw, &clients); err != nil {
		return nil, err
	}
	var out [][]any
	for _, c := range clients {
		for _, t := range c.Types {
			names := strconv.Itoa(t.Subscribed)
			if t.Wildcard {
				names = "*"
			}
			refused := "-"
			if t.Refused != "" {
				refused = fmt.Sprintf("%d %s: %s", t.RefusedRevision, strings.Join(t.RefusedResources, " "), t.Refused)
			}
			out = append(out, []any{c.Node, c.Stream, c.View, dash(c.Principal), c.Protocol, t.Type, names, t.SentRevision, t.AckedRevision, refused, c.Since})
		}
	}
	return out, nil
}

// holding is one stream with all its resources.
type holding struct {
	web.Client
	Resources []explain.Resource `json:"resources"`
}

// holdings reads the resources of the streams of one client.
func holdings(ctx context.Context, server *remote, clients json.RawMessage, client string) (json.RawMessage, error) {
	var all []web.Client
	if err := json.Unmarshal(clients, &all); err != nil {
		return nil, err
	}
	var out []holding
	for _, is := range []func(web.Client) bool{
		func(c web.Client) bool { return c.Node == client },
		func(c web.Client) bool { return strconv.FormatUint(c.Stream, 10) == client },
	} {
		for _, c := range slices.DeleteFunc(slices.Clone(all), func(c web.Client) bool { return !is(c) }) {
			h := holding{Client: c}
			raw, err := fetchAll(ctx, server, fmt.Sprintf("clients/%d/resources", c.Stream), url.Values{})
			if err == nil {
				err = json.Unmarshal(raw, &h.Resources)
			}
			if err != nil {
				return nil, err
			}
			out = append(out, h)
		}
		if len(out) > 0 {
			return json.Marshal(out)
		}
	}
	return nil, fmt.Errorf("%.64q is the node or stream of no connected client; polestar clients lists them", client)
}

func holdingRows(raw json.RawMessage) ([][]any, error) {
	var all []holding
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	var out [][]any
	for _, h := range all {
		for _, r := range h.Resources {
			since := ""
			if r.Acked != nil {
				since = web.Time(r.Acked.At)
			}
			out = append(out, []any{
				h.Node, h.Stream, r.Type, r.Name, r.State, formText(r.Current), formText(r.Sent), formText(r.Acked), dash(since), refusalText(r.Refused),
			})
		}
	}
	return out, nil
}

// formText is a revision and the beginning of a version.
func formText(f *explain.Form) string {
	if f == nil {
		return "-"
	}
	return count(f.Revision) + " " + f.Version[:min(8, len(f.Version))]
}

func refusalText(r *explain.Refusal) string {
	if r == nil {
		return "-"
	}
	return formText(&r.Form) + " at " + web.Time(r.At) + ": " + r.Reason
}

func clientsDiffCommand() *cobra.Command {
	var server remote
	var output string
	cmd := &cobra.Command{
		Use:   "diff [CLIENT]",
		Short: "Show what xDS clients lack",
		Long: `Compare what each xDS client accepted with what is there for it now, and list
what differs. The exit code is 0 when no client lacks anything. A name that
does not exist is listed as missing; nobody lacks it.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			q := url.Values{}
			if len(args) > 0 {
				q.Set("client", args[0])
			}
			raw, err := fetchAll(cmd.Context(), &server, "diff", q)
			if err != nil {
				return err
			}
			return showDiff(cmd.OutOrStdout(), output, raw)
		},
	}
	server.httpFlags(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	return cmd
}

// showDiff prints differences; it is an error when a client lacks something.
func showDiff(w io.Writer, output string, raw json.RawMessage) error {
	var all []explain.Diff
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	lacking := 0
	var rows [][]any
	for _, d := range all {
		if !d.Converged {
			lacking++
		}
		for _, r := range d.Resources {
			reason := "-"
			if r.Refused != nil {
				reason = r.Refused.Reason
			}
			rows = append(rows, []any{d.Node, d.Stream, r.Type, r.Name, r.State, formText(r.Current), formText(r.Sent), formText(r.Acked), reason})
		}
		if d.More > 0 {
			rows = append(rows, []any{d.Node, d.Stream, "-", fmt.Sprintf("and %d others", d.More), "-", "-", "-", "-", "-"})
		}
	}
	var err error
	switch {
	case output != "table":
		err = writeDocument(w, output, raw)
	case len(rows) == 0:
		_, err = fmt.Fprintf(w, "nothing is lacking: %s compared\n", plural(len(all), "client"))
	default:
		err = writeTable(w, "NODE\tSTREAM\tTYPE\tRESOURCE\tSTATE\tCURRENT\tSENT\tACKED\tREFUSED BECAUSE", rows)
	}
	if err == nil && lacking > 0 {
		err = fmt.Errorf("something is lacking at %d of %s", lacking, plural(len(all), "client"))
	}
	return err
}
