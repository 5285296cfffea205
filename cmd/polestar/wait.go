package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"polestar/web"
	"polestar/xds/receipt"
)

// slack is what an answer may take beyond what it was asked to wait.
const slack = 10 * time.Second

func waitCommand() *cobra.Command {
	var (
		server                     remote
		output, namespace, service string
		revision                   uint64
		timeout                    time.Duration
		clients                    []string
	)
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "Wait until every xDS client has a revision",
		Long: `Wait until every xDS client that a revision concerns has accepted it, or
something newer. Who has not at the timeout, or refused it, is listed, and the
exit code is 1.

The revision is that of a change, as polestar get services and polestar get
instances show it; without one it is the newest now.`,
		Example: `  polestar wait
  polestar wait --service cart --timeout 30s
  polestar wait --revision 57 --client envoy-1 --client envoy-2`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			q := url.Values{"timeout": {timeout.String()}, "client": clients}
			if revision > 0 {
				q.Set("revision", strconv.FormatUint(revision, 10))
			}
			of := ""
			if service != "" {
				ns, name := key(namespace, service)
				q.Set("namespace", ns)
				q.Set("service", name)
				of = " of " + ns + "/" + name
			}
			body, err := ask(cmd.Context(), &server, "receipts", q, timeout+slack)
			if err != nil {
				return err
			}
			return showReceipt(cmd.OutOrStdout(), output, body, of)
		},
	}
	server.httpFlags(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	cmd.Flags().Uint64Var(&revision, "revision", 0, "revision to wait for; 0: the newest now")
	cmd.Flags().StringVar(&namespace, "namespace", "", "namespace of the service, when its name has slashes")
	cmd.Flags().StringVar(&service, "service", "", "only what this service touches: namespace/service, or service in the namespace default")
	cmd.Flags().StringArrayVar(&clients, "client", nil, "only this client: the id of its node or the number of its stream; may be repeated")
	cmd.Flags().DurationVar(&timeout, "timeout", receipt.DefaultTimeout, "how long to wait, at most 10m")
	return cmd
}

// ask reads one document of the admin API.
func ask(ctx context.Context, server *remote, path string, q url.Values, timeout time.Duration) (json.RawMessage, error) {
	client, err := server.client(timeout)
	if err != nil {
		return nil, err
	}
	req, err := server.request(ctx, http.MethodGet, "/"+path+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	return readAnswer(client, req)
}

// showReceipt prints a receipt; it is an error when not everybody has it.
func showReceipt(w io.Writer, output string, body json.RawMessage, of string) error {
	var r receipt.Receipt
	if err := json.Unmarshal(body, &r); err != nil {
		return fmt.Errorf("the server answered no receipt: %w", err)
	}
	switch {
	case output != "table":
		if err := writeDocument(w, output, body); err != nil {
			return err
		}
	case r.Converged && r.Clients == 0:
		if _, err := fmt.Fprintf(w, "revision %d%s concerns no connected client\n", r.Revision, of); err != nil {
			return err
		}
	case r.Converged:
		if _, err := fmt.Fprintf(w, "revision %d%s is at every client that it concerns: %s\n", r.Revision, of, plural(r.Clients, "client")); err != nil {
			return err
		}
	case len(r.Laggards) > 0:
		if err := writeTable(w, "NODE\tSTREAM\tTYPE\tRESOURCE\tSTATE\tHAS\tWANTS\tSINCE\tREASON", laggardRows(r.Laggards)); err != nil {
			return err
		}
	}
	switch {
	case r.Converged:
		return nil
	case r.Published < r.Revision:
		return fmt.Errorf("revision %d is not here yet; the newest is %d", r.Revision, r.Published)
	case len(r.Laggards) == 0:
		return fmt.Errorf("revision %d%s is not sent yet: the server is still building what changed", r.Revision, of)
	default:
		return fmt.Errorf("revision %d%s is not at every client; lacking it: %s", r.Revision, of, plural(len(r.Laggards)+r.More, "resource"))
	}
}

func laggardRows(all []receipt.Laggard) [][]any {
	out := make([][]any, len(all))
	for n, l := range all {
		out[n] = []any{
			l.Node, count(l.Stream), dash(l.Type), dash(l.Resource), l.State, count(l.Has), count(l.Wants), dash(web.Time(l.Since)), dash(l.Reason),
		}
	}
	return out
}

// plural is a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// dash stands for what is not there.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// count writes a number of which 0 means that there is none.
func count(n uint64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatUint(n, 10)
}
