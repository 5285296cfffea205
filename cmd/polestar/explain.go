package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"polestar/web"
	"polestar/xds/explain"
)

func explainCommand() *cobra.Command {
	var server remote
	var output, client, namespace, service, instance string
	cmd := &cobra.Command{
		Use:   "explain --client CLIENT --service SERVICE",
		Short: "Say why an instance is, or is not, at an xDS client",
		Long: `Say of each instance of a service, or of one, whether it is at an xDS client, and
why or why not. A client is named by the id of its node or the number of its
stream, an instance by its id or as host:port.`,
		Example: `  polestar explain --client envoy-1 --service cart
  polestar explain --client 3 --service cart --instance 10.0.0.1:8080 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			ns, name := key(namespace, service)
			q := url.Values{"client": {client}, "namespace": {ns}, "service": {name}}
			if instance != "" {
				q.Set("instance", instance)
			}
			body, err := ask(cmd.Context(), &server, "explain", q, 10*time.Second)
			if err != nil {
				return err
			}
			if output != "table" {
				return writeDocument(cmd.OutOrStdout(), output, body)
			}
			var a explain.Answer
			if err := json.Unmarshal(body, &a); err != nil {
				return fmt.Errorf("the server answered no explanation: %w", err)
			}
			return showAnswer(cmd.OutOrStdout(), a)
		},
	}
	server.httpFlags(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	cmd.Flags().StringVar(&client, "client", "", "id of the client's node, or number of its stream")
	cmd.Flags().StringVar(&namespace, "namespace", "", "namespace of the service, when its name has slashes")
	cmd.Flags().StringVar(&service, "service", "", "namespace/service, or service in the namespace default")
	cmd.Flags().StringVar(&instance, "instance", "", "only this instance: its id, or host:port")
	for _, name := range []string{"client", "service"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return cmd
}

// page collects the lines of an answer for people.
type page struct {
	w    *tabwriter.Writer
	errs []error
}

func (p *page) line(format string, args ...any) {
	_, err := fmt.Fprintf(p.w, format+"\n", args...)
	p.errs = append(p.errs, err)
}

func showAnswer(w io.Writer, a explain.Answer) error {
	p := &page{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	for n, r := range a.Reports {
		if n > 0 {
			p.line("")
		}
		p.report(r)
	}
	return errors.Join(append(p.errs, p.w.Flush())...)
}

func (p *page) report(r explain.Report) {
	p.line("client:\t%s, stream %d: %s, %s, connected since %s", r.Client.Node, r.Client.Stream, r.Client.View, r.Client.Protocol, web.Time(r.Client.Since))
	service := "not registered"
	if r.Service.Known {
		service = fmt.Sprintf("revision %d, %s", r.Service.Revision, plural(r.Service.Instances, "instance"))
	}
	p.line("service:\t%s/%s: %s", r.Service.Namespace, r.Service.Name, service)
	for _, x := range r.Resources {
		has := "has nothing of it"
		if x.Acked != nil {
			has = "has revision " + strconv.FormatUint(x.Acked.Revision, 10)
		}
		p.line("%s:\t%s: %s, %s", x.Type, x.Name, x.State, has)
	}
	for n, c := range r.Causes {
		label := "but:"
		if n > 0 {
			label = ""
		}
		p.line("%s\t%s", label, c.Text)
	}
	if len(r.Instances) == 0 {
		return
	}
	p.errs = append(p.errs, p.w.Flush()) // the table has columns of its own
	p.line("\nADDRESS\tAT CLIENT\tHEALTH\tWEIGHT\tLOCALITY\tID\tWHY")
	for _, i := range r.Instances {
		health, weight, locality := "-", "-", "-"
		if i.Served != nil {
			health, weight, locality = i.Served.Health, strconv.FormatUint(uint64(i.Served.Weight), 10), dash(i.Served.Locality)
		}
		var why []string
		for _, c := range i.Causes {
			why = append(why, c.Text)
		}
		p.line("%s\t%s\t%s\t%s\t%s\t%s\t%s", dash(i.Address), i.AtClient, health, weight, locality, i.ID, dash(strings.Join(why, "; ")))
	}
}
