package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// managed is one kind of object that operators create, change and delete.
type managed struct {
	kind, path string
	arg        string                 // how its name is written
	names      []string               // fields of the API that hold its name, in the order of the path
	flags      map[string]managedFlag // beside those that all kinds have
}

// managedFlag is a flag that sets one field.
type managedFlag struct {
	field, help string
	list        bool // may be repeated
}

// managedKinds are the kinds in the order of help.
var managedKinds = []managed{
	{"namespace", "/namespaces", "NAME", []string{"name"}, map[string]managedFlag{
		"export-to": {"service_export_to", "namespace that may see its services, or *; may be repeated", true},
	}},
	{"service", "/services", "NAMESPACE/NAME", []string{"namespace", "name"}, map[string]managedFlag{
		"export-to":  {"export_to", "namespace that may see it, or *; may be repeated", true},
		"ports":      {"ports", "ports, as a text", false},
		"business":   {"business", "business that it belongs to", false},
		"department": {"department", "department that it belongs to", false},
		"cmdb":       {"cmdb", "up to three levels of an inventory's tree; may be repeated", true},
		"metadata":   {"metadata", "key=value, or key- to remove it; may be repeated", true},
	}},
	{"alias", "/aliases", "NAMESPACE/NAME", []string{"namespace", "name"}, map[string]managedFlag{
		"for": {"for", "service that it stands for: namespace/service", false},
	}},
}

// manager is a command on one kind.
type manager struct {
	adminClient
	kind              managed
	namespace, reason string
	ifRevision        uint64
}

func (m *manager) command(verb, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use: m.kind.kind + " " + m.kind.arg, Short: short + " " + article(m.kind.kind), Args: cobra.ExactArgs(1), PreRunE: m.check,
	}
	m.flags(cmd.Flags())
	cmd.Flags().StringVar(&m.reason, "reason", "", "why; kept in the history")
	if len(m.kind.names) > 1 {
		cmd.Flags().StringVar(&m.namespace, "namespace", "", "its namespace, when the name has slashes")
	}
	if verb != "create" {
		cmd.Flags().Uint64Var(&m.ifRevision, "if-revision", 0, "only if it is still at this revision of its own")
	}
	return cmd
}

func article(kind string) string {
	if kind == "alias" {
		return "an alias"
	}
	return "a " + kind
}

// path is where the object is, and its names.
func (m *manager) path(arg string) (string, []string) {
	names := []string{arg}
	if len(m.kind.names) > 1 {
		ns, name := key(m.namespace, arg)
		names = []string{ns, name}
	}
	escaped := make([]string, len(names))
	for n, name := range names {
		escaped[n] = url.PathEscape(name)
	}
	return m.kind.path + "/" + strings.Join(escaped, "/"), names
}

// do sends one write and shows the answer.
func (m *manager) do(cmd *cobra.Command, r request) error {
	r.If = m.ifRevision
	answer, err := m.write(cmd.Context(), r)
	if err != nil {
		return err
	}
	return m.print(cmd.OutOrStdout(), []json.RawMessage{answer})
}

// putter makes create or update of one kind.
func putter(kind managed, verb, short string) *cobra.Command {
	m := &manager{kind: kind}
	cmd := m.command(verb, short)
	fs := cmd.Flags()
	fs.String("comment", "", "text for people")
	fs.String("owner", "", "who owns it")
	for name, f := range kind.flags {
		if f.list {
			fs.StringArray(name, nil, f.help)
		} else {
			fs.String(name, "", f.help)
		}
	}
	if verb == "create" && kind.kind == "alias" {
		_ = cmd.MarkFlagRequired("for") // the flag is there
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := kind.body(fs)
		if err != nil {
			return err
		}
		if verb == "update" && len(body) == 0 {
			return errors.New("nothing to change: give a flag for what is to change")
		}
		if m.reason != "" {
			body["reason"] = m.reason
		}
		at, names := m.path(args[0])
		if verb == "update" {
			return m.do(cmd, request{method: http.MethodPatch, path: at, body: body})
		}
		for n, field := range kind.names {
			body[field] = names[n]
		}
		return m.do(cmd, request{method: http.MethodPost, path: kind.path, body: body})
	}
	return cmd
}

// body has the fields whose flags were given.
func (k managed) body(fs *pflag.FlagSet) (map[string]any, error) {
	out := map[string]any{}
	var failed error
	fs.Visit(func(f *pflag.Flag) {
		var err error
		switch known, isList := k.flags[f.Name]; {
		case f.Name == "comment" || f.Name == "owner":
			out[f.Name] = f.Value.String()
		case f.Name == "for":
			out["for_namespace"], out["for_service"] = key("", f.Value.String())
		case f.Name == "metadata" && isList:
			var all []string
			if all, err = fs.GetStringArray(f.Name); err == nil {
				out[known.field], err = pairsOf(all)
			}
		case isList && known.list:
			var all []string
			all, err = fs.GetStringArray(f.Name)
			out[known.field] = slices.DeleteFunc(all, func(s string) bool { return s == "" }) // one empty text empties the list
		case isList:
			out[known.field] = f.Value.String()
		}
		if err != nil {
			failed = fmt.Errorf("--%s: %w", f.Name, err)
		}
	})
	return out, failed
}

func deleter(kind managed) *cobra.Command {
	m := &manager{kind: kind}
	cmd := m.command("delete", "Delete")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, _ := m.path(args[0])
		q := url.Values{}
		if m.reason != "" {
			q.Set("reason", m.reason)
		}
		return m.do(cmd, request{method: http.MethodDelete, path: at, query: q})
	}
	return cmd
}

func createCommand() *cobra.Command {
	return group(&cobra.Command{Use: "create", Short: "Create a namespace, service, alias, user, group, policy or token"},
		append(putters("create", "Create"), accessCommands("create", "Create")...)...)
}

func updateCommand() *cobra.Command {
	return group(&cobra.Command{Use: "update", Short: "Change a namespace, service, alias, user, group, policy or token; what no flag names stays"},
		append(putters("update", "Change"), accessCommands("update", "Change")...)...)
}

func putters(verb, short string) (out []*cobra.Command) {
	for _, kind := range managedKinds {
		out = append(out, putter(kind, verb, short))
	}
	return out
}

func deleteCommand() *cobra.Command {
	var all []*cobra.Command
	for _, kind := range managedKinds {
		all = append(all, deleter(kind))
	}
	instance := deleter(managed{kind: "instance", path: "/instances", arg: "ID", names: []string{"id"}})
	instance.Long = `Delete an instance. A live one registers again at its next beat: isolate it
instead to keep traffic away.`
	override := deleter(managed{kind: "override", path: "/overrides", arg: "ID", names: []string{"id"}})
	override.Short = "Delete what is kept for an instance that is away"
	return group(&cobra.Command{Use: "delete", Short: "Delete a namespace, service, alias, instance, override, user, group, policy or token"},
		append(append(all, instance, override), accessCommands("delete", "Delete")...)...)
}
