package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/auth"
	"polestar/naming"
)

// mayOn are the resources of the table, as commands write them; "" is the
// server as a whole.
var mayOn = []string{"", "shop", "shop/cart", "shop/cart-team", "shop/stock", "shop/cart-secret", "shop/new", "bank", "bank/vault"}

// everything are all actions but one, in their order. To report is about no
// resource: it is in the table once, at the server as a whole.
func everything() string {
	var out []string
	for _, a := range auth.Actions() {
		if a != auth.Report {
			out = append(out, string(a))
		}
	}
	return strings.Join(out, " ")
}

// but leaves out words.
func but(all string, words ...string) string {
	for _, w := range words {
		all = strings.Replace(" "+all+" ", " "+w+" ", " ", 1)
	}
	return strings.TrimSpace(all)
}

// allowed is what a server lets somebody do, of all actions on all resources.
func (w *whole) allowed(t *testing.T, c auth.Credentials) map[string]string {
	t.Helper()
	out, now := map[string]string{}, w.registry.World()
	for _, name := range mayOn {
		var r auth.Resource
		r.Namespace, r.Service, _ = strings.Cut(name, "/")
		if ns := now.Namespace(r.Namespace); ns != nil {
			r.NamespaceCreator = ns.Creator
		}
		if s := now.Service(naming.ServiceKey{Namespace: r.Namespace, Name: r.Service}); s != nil {
			r.ServiceCreator = s.Service.Creator
		}
		var may []string
		for _, a := range auth.Actions() {
			var verdicts []bool
			for _, api := range []auth.API{auth.ClientAPI, auth.ConsoleAPI} {
				p, err := w.auth.Authenticate(t.Context(), api, c)
				verdicts = append(verdicts, err == nil && w.auth.Allow(t.Context(), api, p, a, r) == nil)
			}
			if verdicts[0] != verdicts[1] {
				t.Errorf("%s on %q: clients %v, console %v", a, name, verdicts[0], verdicts[1])
			}
			switch {
			case a == auth.Report && name != "":
				if _, reports := out[""]; reports != verdicts[0] {
					t.Errorf("report on %q: %v", name, verdicts[0])
				}
			case a == auth.Report && verdicts[0]:
				may = slices.Insert(may, 0, string(a)) // of no resource: before those that are
			case verdicts[0]:
				may = append(may, string(a))
			}
		}
		if len(may) > 0 {
			out[name] = strings.Join(may, " ")
		}
	}
	return out
}

// matrix are principals with what each may do: whatever is not said here is
// refused.
type matrix struct {
	shown map[string]auth.Credentials
	want  map[string]map[string]string
	ann   string // the id of her token
}

// writeMatrix makes principals, policies and what these are about.
func writeMatrix(t *testing.T, w *whole, admin string) *matrix {
	t.Helper()
	do := func(commands ...string) {
		t.Helper()
		for _, c := range commands {
			w.must(t, admin, strings.Fields(c)...)
		}
	}
	m := &matrix{shown: map[string]auth.Credentials{
		"admin": {Token: admin}, "nobody": {}, "stranger": {Token: "pst_stranger"}, "certified": {Identities: []string{"spiffe://x/eve"}},
		"another": {Identities: []string{"spiffe://x/other"}},
	}}
	do("create namespace shop", "create service shop/stock", "create service shop/cart-secret", "create namespace bank", "create service bank/vault",
		"create user ann", "create user ben", "create user cat", "create user dan", "create user eve --identity spiffe://x/eve",
		"create group team --member ben --member cat",
		"create policy reads --user ann --user dan --action read --resource shop/*",
		"create policy registers --group team --action register --action heartbeat --resource shop/cart*",
		"create policy secret --deny --user * --action read --action register --resource shop/cart-secret",
		"create policy deputy --user cat --action administer --action history --resource */*",
		"create policy space --user ben --action write --resource shop",
		"create policy vaults --user eve --action * --resource b*/vault",
		"create policy open --user anonymous --action * --resource */*") // nobody is anonymous where all are asked
	for _, name := range []string{"ann", "ben", "cat", "dan"} {
		made := w.must(t, admin, "create", "token", "--user", name)
		m.shown[name] = auth.Credentials{Token: lastLine(made)}
		if name == "ann" {
			m.ann = strings.Fields(made)[1]
		}
	}
	m.shown["team"] = auth.Credentials{Token: lastLine(w.must(t, admin, "create", "token", "--group", "team"))}
	do("update user dan --disabled")
	for name, service := range map[string]string{"ben": "cart", "team": "cart-team"} { // so it is theirs
		if code := w.registers(t, m.shown[name].Token, service); code != 200000 {
			t.Fatal(name, code)
		}
	}
	const read, deputy = "discover subscribe read inspect", "history administer"
	all := everything()
	m.want = map[string]map[string]string{
		"admin": {
			"": "report " + all, "shop": all, "shop/cart": all, "shop/cart-team": all, "shop/stock": all, "shop/new": all, "bank": all, "bank/vault": all,
			"shop/cart-secret": but(all, "register", "discover", "subscribe", "read", "inspect"),
		},
		"ann":  {"": "report", "shop": read, "shop/cart": read, "shop/cart-team": read, "shop/stock": read, "shop/new": read},
		"ben":  {"": "report", "shop": "write", "shop/cart": all, "shop/cart-team": all, "shop/cart-secret": "heartbeat"},
		"team": {"": "report", "shop/cart": "register heartbeat", "shop/cart-team": all, "shop/cart-secret": "heartbeat"},
		"cat": {
			"": "report " + deputy, "shop": deputy, "shop/cart": "register heartbeat " + deputy, "shop/cart-team": all, "shop/stock": deputy,
			"shop/new": deputy, "shop/cart-secret": "heartbeat " + deputy, "bank": deputy, "bank/vault": deputy,
		},
		"certified": {"": "report", "bank/vault": all},
		"dan":       {}, "nobody": {}, "stranger": {}, "another": {},
	}
	return m
}

// holds compares what a server decides with the table.
func (m *matrix) holds(t *testing.T, when string, w *whole) {
	t.Helper()
	for name, want := range m.want {
		if diff := cmp.Diff(want, w.allowed(t, m.shown[name])); diff != "" {
			t.Errorf("%s, %s may (-want +got):\n%s", when, name, diff)
		}
	}
}

// Principal by action by resource: what is decided after the writes, after a
// restart, and on another server of the store as soon as it has the revision.
func TestWhoMayDoWhat(t *testing.T) {
	dir := t.TempDir()
	first := startWhole(t, dir, checking)
	admin := adminToken(t, dir)
	m := writeMatrix(t, first, admin)
	m.holds(t, "at once", first)
	first.stop()
	first = startWhole(t, dir, checking)
	m.holds(t, "after a restart", first)
	servers := []*whole{first}
	if dsn := dsnFor(t, dir); dsn != "" {
		servers = append(servers, startWhole(t, t.TempDir(), checking, func(c *Config) { c.MySQL.DSN = dsn }))
		m.holds(t, "on another server", servers[1])
	}
	for _, c := range []struct {
		command string
		change  func()
	}{
		{"update policy reads --resource shop/stock", func() {
			m.want["ann"] = map[string]string{"": "report", "shop/stock": "discover subscribe read inspect"}
		}},
		{"update group team --member cat", func() { // ben keeps what he made himself
			m.want["ben"] = map[string]string{"": "report", "shop": "write", "shop/cart": everything()}
		}},
		{"delete policy secret", func() {
			m.want["admin"]["shop/cart-secret"] = everything()
			m.want["team"]["shop/cart-secret"], m.want["cat"]["shop/cart-secret"] = "register heartbeat", "register heartbeat history administer"
		}},
		{"update user eve --identity spiffe://x/other", func() {
			m.want["certified"], m.want["another"] = map[string]string{}, m.want["certified"]
		}},
		{"delete token " + m.ann, func() { m.want["ann"] = map[string]string{} }},
		{"delete user cat", func() { m.want["cat"] = map[string]string{} }},
	} {
		first.must(t, admin, strings.Fields(c.command)...)
		c.change()
		for n, w := range servers {
			if n > 0 {
				w.follower.Fresh(t.Context()) // what the first one answered for
			}
			m.holds(t, "after "+c.command, w)
		}
	}
}
