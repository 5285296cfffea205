package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"polestar/web"
)

// target is what an operator's command is about: instances by id, or all of a
// service on a host.
type target struct {
	namespace, service, host string
	port                     uint16
}

func (t *target) flags(fs *pflag.FlagSet) {
	fs.StringVar(&t.service, "service", "", "all instances of this service on --host: namespace/service")
	fs.StringVar(&t.namespace, "namespace", "", "namespace of the service, when its name has slashes")
	fs.StringVar(&t.host, "host", "", "host of the instances")
	fs.Uint16Var(&t.port, "port", 0, "only the instance with this port")
}

// key splits a service as it is written on a command line: namespace/name, or
// name in the default namespace. A namespace of its own leaves all slashes to
// the name.
func key(namespace, service string) (string, string) {
	if namespace != "" {
		return namespace, service
	}
	ns, name, found := strings.Cut(service, "/")
	if !found {
		return "default", service
	}
	return ns, name
}

// requests are the writes that change what the command names.
func (t *target) requests(ids []string, body map[string]any) ([]request, error) {
	switch byHost := t.service != "" || t.host != "" || t.port != 0; {
	case byHost && len(ids) > 0:
		return nil, errors.New("name instances, or --service and --host, not both")
	case byHost && (t.service == "" || t.host == ""):
		return nil, errors.New("--service and --host are needed together")
	case byHost:
		namespace, service := key(t.namespace, t.service)
		q := url.Values{"namespace": {namespace}, "service": {service}, "host": {t.host}}
		if t.port != 0 {
			q.Set("port", strconv.Itoa(int(t.port)))
		}
		return []request{{method: http.MethodPatch, path: "/instances", query: q, body: body}}, nil
	case len(ids) == 0:
		return nil, errors.New("name an instance, or --service and --host")
	}
	out := make([]request, len(ids))
	for n, id := range ids {
		out[n] = request{method: http.MethodPatch, path: "/instances/" + url.PathEscape(id), body: body}
	}
	return out, nil
}

// operation is what isolate, set and clear have in common.
type operation struct {
	adminClient
	target
	reason string
}

// command makes a command that changes instances. body turns its arguments
// into the change and the ids that remain.
func (o *operation) command(cmd *cobra.Command, body func(args []string) (map[string]any, []string, error)) *cobra.Command {
	o.adminClient.flags(cmd.Flags())
	o.target.flags(cmd.Flags())
	cmd.Flags().StringVar(&o.reason, "reason", "", "why; kept in the history")
	cmd.PreRunE = o.check
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		change, ids, err := body(args)
		if err != nil {
			return err
		}
		if o.reason != "" {
			change["reason"] = o.reason
		}
		all, err := o.requests(ids, change)
		if err != nil {
			return err
		}
		// One that is refused does not stop the others.
		var answers []json.RawMessage
		var errs []error
		for _, r := range all {
			answer, failed := o.write(cmd.Context(), r)
			if failed != nil {
				errs = append(errs, failed)
				continue
			}
			answers = append(answers, answer)
		}
		if len(answers) > 0 {
			errs = append(errs, o.print(cmd.OutOrStdout(), answers))
			note(cmd, change, answers)
		}
		return errors.Join(errs...)
	}
	return cmd
}

// note says when an isolation that was taken back remains by the client's wish.
func note(cmd *cobra.Command, change map[string]any, answers []json.RawMessage) {
	cleared, _ := change["clear"].([]string)
	if !slices.Contains(cleared, "isolated") {
		return
	}
	for _, raw := range answers {
		var m web.Mutation
		if json.Unmarshal(raw, &m) != nil {
			continue
		}
		if m.Instance != nil {
			m.Instances = append(m.Instances, *m.Instance)
		}
		for _, i := range m.Instances {
			if i.Isolated {
				cmd.PrintErrf("%s is still isolated: its client says so; polestar set isolated false %s wins over that\n", i.ID, i.ID)
			}
		}
	}
}

func isolateCommand() *cobra.Command {
	var o operation
	var off bool
	cmd := o.command(&cobra.Command{
		Use:   "isolate INSTANCE... | --service NAMESPACE/SERVICE --host HOST",
		Short: "Take instances out of traffic, whatever their clients say, until --off",
		Example: `  polestar isolate 4f1c… --reason "disk is failing"
  polestar isolate --service default/cart --host 10.0.0.1 --reason "new kernel"
  polestar isolate --service default/cart --host 10.0.0.1 --off`,
	}, func(ids []string) (map[string]any, []string, error) {
		if off {
			return map[string]any{"clear": []string{"isolated"}}, ids, nil
		}
		return map[string]any{"isolated": true}, ids, nil
	})
	cmd.Flags().BoolVar(&off, "off", false, "take it back: what the client says is in force again")
	return cmd
}

// attributes are what `polestar set` can set: the field of the API, and how a
// value is read.
var attributes = map[string]struct {
	field string
	read  func(string) (any, error)
}{
	"weight": {"weight", wholeNumber}, "healthy": {"healthy", yesNo}, "isolated": {"isolated", yesNo},
	"protocol": {"protocol", asIs}, "version": {"version", asIs}, "logic-set": {"logic_set", asIs}, "priority": {"priority", wholeNumber},
	"ttl": {"ttl_seconds", wholeNumber}, "region": {"region", asIs}, "zone": {"zone", asIs}, "campus": {"campus", asIs},
	"metadata": {"metadata", onePair},
}

func asIs(text string) (any, error) { return text, nil }

func wholeNumber(text string) (any, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%q is not a whole number", text)
	}
	return n, nil
}

func yesNo(text string) (any, error) {
	if text != "true" && text != "false" {
		return nil, fmt.Errorf("%q is neither true nor false", text)
	}
	return text == "true", nil
}

func onePair(text string) (any, error) { return pairsOf([]string{text}) }

// pairsOf reads changes of metadata: key=value sets, key- removes.
func pairsOf(all []string) (map[string]*string, error) {
	out := map[string]*string{}
	for _, text := range all {
		name, value, sets := strings.Cut(text, "=")
		at := &value
		if !sets {
			if name, sets = strings.CutSuffix(text, "-"); !sets {
				return nil, fmt.Errorf("%q is neither key=value nor key-", text)
			}
			at = nil
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		out[name] = at
	}
	return out, nil
}

func setCommand() *cobra.Command {
	var o operation
	names := slices.Sorted(maps.Keys(attributes))
	return o.command(&cobra.Command{
		Use:   "set ATTRIBUTE VALUE INSTANCE... | --service NAMESPACE/SERVICE --host HOST",
		Short: "Set an attribute of instances on behalf of an operator",
		Long: `Set an attribute of instances on behalf of an operator.

weight, healthy and isolated win over the client's until they are cleared, and
can be set for a whole host. ` + strings.Join(slices.DeleteFunc(slices.Clone(names), func(n string) bool {
			return n == "weight" || n == "healthy" || n == "isolated"
		}), ", ") + `
last until the client registers anew. metadata takes key=value, or key- to
remove a key.`,
		Example: `  polestar set weight 10 4f1c… --reason "warming up"
  polestar set healthy false --service default/cart --host 10.0.0.1
  polestar set metadata lane=canary 4f1c…`,
		Args: cobra.MinimumNArgs(2),
	}, func(args []string) (map[string]any, []string, error) {
		a, known := attributes[args[0]]
		if !known {
			return nil, nil, fmt.Errorf("unknown attribute %q%s", args[0], suggest(args[0], names))
		}
		value, err := a.read(args[1])
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", args[0], err)
		}
		return map[string]any{a.field: value}, args[2:], nil
	})
}

func clearCommand() *cobra.Command {
	var o operation
	all := []string{"weight", "healthy", "isolated"}
	return o.command(&cobra.Command{
		Use:   "clear weight|healthy|isolated|all INSTANCE... | --service NAMESPACE/SERVICE --host HOST",
		Short: "Give back to the client what an operator set, also of an instance that is away",
		Args:  cobra.MinimumNArgs(1),
	}, func(args []string) (map[string]any, []string, error) {
		what := []string{args[0]}
		switch {
		case args[0] == "all":
			what = all
		case !slices.Contains(all, args[0]):
			return nil, nil, fmt.Errorf("unknown attribute %q%s", args[0], suggest(args[0], append(all, "all")))
		}
		return map[string]any{"clear": what}, args[1:], nil
	})
}
