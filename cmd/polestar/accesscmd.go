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

	"polestar/web"
)

// granted is one kind of what says who may do what: users, groups, tokens and
// policies.
type granted struct {
	kind, path string
	flags      func(fs *pflag.FlagSet, verb string)
	body       func(fs *pflag.FlagSet, into map[string]any) error // of flags that were given
}

// accessKinds are the kinds in the order of help.
var accessKinds = []granted{
	{"user", "/users", func(fs *pflag.FlagSet, _ string) {
		fs.String("password-file", "", "file with the password; - reads it from the terminal or the standard input")
		fs.StringArray("identity", nil, "name in a client certificate that means this user (URI or DNS); may be repeated, '' removes all")
		fs.Bool("disabled", false, "switched off: neither tokens nor certificates hold")
		fs.Bool("main", false, "may do everything; only the main user can say so")
	}, userBody},
	{"group", "/groups", func(fs *pflag.FlagSet, _ string) {
		fs.StringArray("member", nil, "name of a user; may be repeated, '' removes all")
	}, nil},
	{"policy", "/policies", func(fs *pflag.FlagSet, _ string) {
		fs.Bool("deny", false, "denies instead of allowing; wins over every policy that allows")
		fs.StringArray("user", nil, "name of a user, * for everybody who is known, or anonymous; may be repeated")
		fs.StringArray("group", nil, "name of a group; may be repeated")
		fs.StringArray("action", nil, "what it is about, or *; may be repeated")
		fs.StringArray("resource", nil, "NAMESPACE/SERVICE, or NAMESPACE for a namespace itself; each may end in *; */* is everything; may be repeated")
		fs.Bool("created", false, "also what the user or group itself created")
	}, policyBody},
	{"token", "/tokens", func(fs *pflag.FlagSet, verb string) {
		if verb == "create" {
			fs.String("user", "", "name of the user that it is for (default: yourself)")
			fs.String("group", "", "name of the group that it is for")
			fs.String("expires-in", "", "how long it holds, such as 720h (default: for ever)")
		} else {
			fs.Bool("disabled", false, "switched off")
		}
	}, nil},
}

// accessFields are the fields of flags that are called otherwise there.
var accessFields = map[string]string{"identity": "identities", "member": "members", "user": "users", "group": "groups", "action": "actions", "expires-in": "expires_in"}

// fields has the flags that were given, as the API calls them.
func (k granted) fields(fs *pflag.FlagSet, verb string) (map[string]any, error) {
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	known.String("comment", "", "")
	k.flags(known, verb)
	out := map[string]any{}
	var failed error
	fs.Visit(func(f *pflag.Flag) {
		if known.Lookup(f.Name) == nil {
			return
		}
		field := f.Name
		if name, other := accessFields[f.Name]; other && (k.kind != "token" || f.Name == "expires-in") {
			field = name
		}
		switch f.Value.Type() {
		case "bool":
			out[field] = f.Value.String() == "true"
		case "stringArray":
			all, err := fs.GetStringArray(f.Name)
			failed = errors.Join(failed, err)
			out[field] = slices.DeleteFunc(all, func(s string) bool { return s == "" })
		default:
			out[field] = f.Value.String()
		}
	})
	if k.body != nil {
		failed = errors.Join(failed, k.body(fs, out))
	}
	return out, failed
}

func userBody(fs *pflag.FlagSet, into map[string]any) error {
	delete(into, "password-file")
	if file, _ := fs.GetString("password-file"); fs.Changed("password-file") {
		password, err := readPassword(file)
		if err != nil {
			return err
		}
		into["password"] = password
	}
	return nil
}

func policyBody(fs *pflag.FlagSet, into map[string]any) error {
	delete(into, "resource")
	delete(into, "created")
	if !fs.Changed("resource") && !fs.Changed("created") {
		return nil
	}
	all := []web.Selector{}
	names, err := fs.GetStringArray("resource")
	for _, name := range names {
		ns, service, _ := strings.Cut(name, "/") // a service's name may have slashes, a namespace's not
		all = append(all, web.Selector{Namespace: ns, Service: service})
	}
	if created, _ := fs.GetBool("created"); created {
		all = append(all, web.Selector{Created: true})
	}
	into["resources"] = all
	return err
}

// command makes create, update or delete of one kind.
func (k granted) command(verb, short string) *cobra.Command {
	m := &manager{kind: managed{kind: k.kind, path: k.path, arg: "NAME", names: []string{"name"}}}
	if k.kind == "token" {
		m.kind.arg = "ID"
	}
	cmd := m.command(verb, short)
	fs := cmd.Flags()
	if verb != "delete" {
		fs.String("comment", "", "text for people")
		k.flags(fs, verb)
	}
	made := verb == "create" && k.kind == "token" // it gets its id from the server
	if made {
		cmd.Use, cmd.Args = "token", cobra.NoArgs
		cmd.Long = "Create a token, for yourself or, as an administrator, for others. Its text is shown now and never again."
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if verb == "delete" {
			q := url.Values{}
			if m.reason != "" {
				q.Set("reason", m.reason)
			}
			at, _ := m.path(args[0])
			return m.do(cmd, request{method: http.MethodDelete, path: at, query: q})
		}
		body, err := k.fields(fs, verb)
		if err != nil {
			return err
		}
		if verb == "update" && len(body) == 0 {
			return errors.New("nothing to change: give a flag for what is to change")
		}
		if m.reason != "" {
			body["reason"] = m.reason
		}
		if verb == "update" {
			at, _ := m.path(args[0])
			return m.do(cmd, request{method: http.MethodPatch, path: at, body: body})
		}
		if !made {
			body["name"] = args[0]
		}
		return m.do(cmd, request{method: http.MethodPost, path: k.path, body: body})
	}
	return cmd
}

func accessCommands(verb, short string) (out []*cobra.Command) {
	for _, k := range accessKinds {
		out = append(out, k.command(verb, short))
	}
	return out
}

// accessTold says in words what a write did to one of these kinds.
func accessTold(m *web.Mutation, did string) []string {
	switch {
	case m.User != nil:
		return []string{fmt.Sprintf("user %s %s", m.User.Name, did)}
	case m.Group != nil:
		return []string{fmt.Sprintf("group %s %s", m.Group.Name, did)}
	case m.Policy != nil:
		return []string{fmt.Sprintf("policy %s %s", m.Policy.Name, did)}
	case m.Token != nil:
		lines := []string{fmt.Sprintf("token %s of %s %s", m.Token.ID, ownerOf(*m.Token), did)}
		if m.Token.Text != "" {
			lines = append(lines, m.Token.Text)
		}
		return lines
	}
	return nil
}

func ownerOf(t web.Token) string {
	if t.Group != "" {
		return "group " + t.Group
	}
	return "user " + t.User
}

// What `polestar get` shows of these kinds.
var (
	usersTable = table{"NAME\tMAIN\tDISABLED\tPASSWORD\tGROUPS\tIDENTITIES\tREVISION\tCOMMENT", rowsOf(func(u web.User) []any {
		return []any{u.Name, u.Main, u.Disabled, u.Password, commas(u.Groups), commas(u.Identities), u.Revision, u.Comment}
	})}
	groupsTable = table{"NAME\tMEMBERS\tREVISION\tCOMMENT", rowsOf(func(g web.Group) []any {
		return []any{g.Name, commas(g.Members), g.Revision, g.Comment}
	})}
	tokensTable = table{"ID\tOF\tDISABLED\tEXPIRES\tCREATED\tCOMMENT", rowsOf(func(t web.Token) []any {
		return []any{t.ID, ownerOf(t), t.Disabled, t.Expires, t.Created, t.Comment}
	})}
	policiesTable = table{"NAME\tDENY\tUSERS\tGROUPS\tACTIONS\tRESOURCES\tREVISION\tCOMMENT", rowsOf(func(p web.Policy) []any {
		return []any{p.Name, p.Deny, commas(p.Users), commas(p.Groups), commas(p.Actions), selected(p.Resources), p.Revision, p.Comment}
	})}
)

func commas(s []string) string { return strings.Join(s, ",") }

// selected writes resources as --resource takes them.
func selected(all []web.Selector) string {
	words := make([]string, len(all))
	for n, s := range all {
		switch {
		case s.Created:
			words[n] = "(created)"
		case s.Service == "":
			words[n] = s.Namespace
		default:
			words[n] = s.Namespace + "/" + s.Service
		}
	}
	return commas(words)
}

// verdictLine says what decides.
func verdictLine(raw json.RawMessage) (string, error) {
	var v web.Verdict
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", fmt.Errorf("the server answered no verdict: %w", err)
	}
	line := "no: " + v.Why
	if v.Allowed {
		line = "yes: " + v.Why
	}
	if v.Selector != nil {
		line += ", for " + selected([]web.Selector{*v.Selector})
	}
	return line, nil
}
