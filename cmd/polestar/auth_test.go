package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// checking makes a server ask everybody who he is.
func checking(c *Config) { c.Auth.Console.Open, c.Auth.Client.Open = true, true }

// as runs a command against w with a token, empty for none.
func (w *whole) as(t *testing.T, token string, args ...string) (string, error) {
	t.Helper()
	t.Setenv("POLESTAR_DATA_DIR", t.TempDir()) // no token lies about
	args = append(args, "--server", w.web.Addr().String())
	if token != "" {
		args = append(args, "--token", token)
	}
	return run(t, args...)
}

// must runs a command that has to succeed.
func (w *whole) must(t *testing.T, token string, args ...string) string {
	t.Helper()
	out, err := w.as(t, token, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return strings.TrimSpace(out)
}

func adminToken(t *testing.T, dir string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, adminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// lastLine is where a new token's text stands.
func lastLine(out string) string { return out[strings.LastIndexByte(out, '\n')+1:] }

// registers reports the code of a registration with a token.
func (w *whole) registers(t *testing.T, token, service string) uint32 {
	t.Helper()
	ctx := t.Context()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-polaris-token", token)
	}
	res, err := w.polaris.RegisterInstance(ctx, &service_manage.Instance{
		Namespace: wrapperspb.String("shop"), Service: wrapperspb.String(service), Host: wrapperspb.String("10.0.0.1"), Port: wrapperspb.UInt32(80),
	})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetCode().GetValue()
}

// The first start makes the main user, whose token only its owner may read; the
// next start makes none. What is not checked makes none either.
func TestFirstStartMakesTheMainUser(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"console": func(c *Config) { c.Auth.Console.Open = true },
		"client":  func(c *Config) { c.Auth.Client.Open = true },
		"nothing": func(*Config) {},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, adminTokenFile)
			w := startWhole(t, dir, set)
			if name == "nothing" {
				if _, err := os.Stat(file); err == nil || anyUser(w.registry.World()) {
					t.Errorf("a user was made where nobody is checked: %v", err)
				}
				return
			}
			info, err := os.Stat(file)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("%v, %v", info.Mode(), err)
			}
			token := adminToken(t, dir)
			if out := w.must(t, token, "whoami"); !strings.HasPrefix(out, "user admin, the main user, by token ") {
				t.Error(out)
			}
			w.stop()
			w = startWhole(t, dir, set)
			if adminToken(t, dir) != token || w.must(t, token, "get", "users", "-o", "json") == "" {
				t.Error("another start made another token")
			}
		})
	}
}

// A server that lost the race for the first user takes its file away.
func TestLostRaceForTheFirstUser(t *testing.T) {
	w := startWhole(t, t.TempDir())
	other := naming.Bootstrap{Name: "admin", Hash: strings.Repeat("0", 64)}
	if _, err := w.naming.Bootstrap(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := w.makeFirst(t.Context(), w.registry.World); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(w.cfg.DataDir, adminTokenFile)); !os.IsNotExist(err) {
		t.Errorf("a token that is nobody's is left: %v", err)
	}
}

// Of servers that start on one database at the same moment one makes the main
// user; only there is a token, and it holds everywhere.
func severalFirstStarts(t *testing.T) {
	dsn := dsnFor(t, t.TempDir())
	var servers []*whole
	for range 3 {
		servers = append(servers, startWhole(t, t.TempDir(), func(c *Config) { c.MySQL.DSN = dsn }))
	}
	results := make(chan error, len(servers))
	for _, w := range servers {
		go func() { results <- w.makeFirst(t.Context(), w.registry.World) }()
	}
	for range servers {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	var tokens []string
	for _, w := range servers {
		if raw, err := os.ReadFile(filepath.Join(w.cfg.DataDir, adminTokenFile)); err == nil {
			tokens = append(tokens, strings.TrimSpace(string(raw)))
		}
	}
	if len(tokens) != 1 {
		t.Fatalf("%d servers made a token, want one", len(tokens))
	}
	for _, w := range servers {
		head, err := w.store.Head(t.Context())
		if err == nil {
			err = w.registry.Await(t.Context(), head)
		}
		if err != nil {
			t.Fatal(err)
		}
		if out := w.must(t, tokens[0], "whoami"); !strings.HasPrefix(out, "user admin, the main user") {
			t.Error(out)
		}
	}
}

// From the first token to a service's own account, and what each may do, at
// every door; and all of it is over at once when it is taken back.
func TestAccountsOfAWholeServer(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	admin := adminToken(t, dir)
	if code := w.registers(t, "", "cart"); code/1000 != 401 {
		t.Errorf("without a token: %d", code)
	}
	if _, err := w.as(t, "", "get", "services"); err == nil || exitCode(err) != exitRefused || !strings.Contains(err.Error(), "--token") {
		t.Errorf("without a token: %v", err)
	}
	w.must(t, admin, "create", "user", "cart", "--comment", "the cart's own")
	w.must(t, admin, "create", "group", "shops", "--member", "cart")
	w.must(t, admin, "create", "policy", "shops", "--group", "shops", "--action", "register", "--action", "discover", "--resource", "shop/cart*")
	token := lastLine(w.must(t, admin, "create", "token", "--user", "cart", "--expires-in", "1h"))
	if code := w.registers(t, token, "cart"); code != 200000 {
		t.Errorf("by the policy: %d", code)
	}
	if code := w.registers(t, token, "stock"); code/1000 != 401 {
		t.Errorf("against the policy: %d", code)
	}
	if out := w.must(t, token, "may", "register", "shop/cart"); !strings.HasPrefix(out, "yes: allowed by policy shops, for shop/cart*") {
		t.Error(out)
	}
	if out, err := w.as(t, token, "may", "register", "shop/stock"); err == nil || !strings.HasPrefix(out, "no: no policy allows it") {
		t.Error(out, err)
	}
	if out, err := w.as(t, admin, "may", "register", "shop/stock", "--principal", "group:shops", "-o", "json"); exitCode(err) != exitRefused ||
		!strings.Contains(out, `"allowed": false`) {
		t.Error(out, err)
	}
}

func TestDeniedAndTakenBack(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	admin := adminToken(t, dir)
	w.must(t, admin, "create", "user", "ann")
	w.must(t, admin, "create", "policy", "all", "--user", "*", "--action", "*", "--resource", "*/*")
	made := w.must(t, admin, "create", "token", "--user", "ann")
	token, id := lastLine(made), strings.Fields(made)[1]
	if code := w.registers(t, token, "cart"); code != 200000 {
		t.Fatal(code)
	}
	w.must(t, admin, "create", "policy", "not-cart", "--deny", "--user", "ann", "--action", "register", "--resource", "shop/cart")
	if code := w.registers(t, token, "cart"); code != 401001 {
		t.Errorf("denied: %d", code)
	}
	w.must(t, admin, "delete", "policy", "not-cart")
	if code := w.registers(t, token, "cart"); code != 200000 {
		t.Errorf("allowed again: %d", code)
	}
	w.must(t, admin, "update", "user", "ann", "--disabled")
	if code := w.registers(t, token, "cart"); code != 401003 {
		t.Errorf("disabled: %d", code)
	}
	w.must(t, admin, "update", "user", "ann", "--disabled=false")
	w.must(t, admin, "delete", "token", id)
	if code := w.registers(t, token, "cart"); code/1000 != 401 {
		t.Errorf("revoked: %d", code)
	}
}

// Passwords become tokens that run out; neither ever comes back out of a door,
// a log or the history.
func TestLogin(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	admin := adminToken(t, dir)
	secret := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(secret, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("correct horse")
	if out := w.must(t, admin, "create", "user", "ann", "--password-file", secret, "-o", "json"); strings.Contains(out, "argon2id") || strings.Contains(out, "horse") {
		t.Errorf("the answer has the password: %s", out)
	}
	token := w.must(t, "", "login", "ann", "--password-file", secret)
	if out := w.must(t, token, "whoami"); !strings.HasPrefix(out, "user ann, by token ") || !strings.Contains(out, " until ") {
		t.Error(out)
	}
	saved := filepath.Join(t.TempDir(), "token")
	w.must(t, "", "login", "ann", "--password-file", secret, "--save", saved, "--expires-in", "1m")
	if out := w.must(t, "", "whoami", "--token-file", saved); !strings.HasPrefix(out, "user ann") {
		t.Error(out)
	}
	if info, err := os.Stat(saved); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	write("wrong horse")
	var texts []string
	for _, name := range []string{"ann", "nobody"} {
		_, err := w.as(t, "", "login", name, "--password-file", secret)
		if err == nil || exitCode(err) != exitRefused {
			t.Fatal(name, err)
		}
		texts = append(texts, err.Error())
	}
	if texts[0] != texts[1] {
		t.Errorf("a name that exists is told from one that does not: %q", texts)
	}
	if got := w.metric(t, "polestar_auth_refusals_total", "admin", "no_credentials"); got != 2 {
		t.Errorf("%v refused logins are counted, want 2", got)
	}
	history := w.must(t, admin, "history", "-o", "json")
	for _, out := range []string{history, w.must(t, admin, "get", "users", "-o", "json"), w.must(t, admin, "get", "tokens", "-o", "json")} {
		for _, s := range []string{"argon2id", "horse", token, admin} {
			if strings.Contains(out, s) {
				t.Errorf("%q is shown: %s", s, out)
			}
		}
	}
	for n := 0; ; n++ {
		_, err := w.as(t, "", "login", "ann", "--password-file", secret)
		if strings.Contains(err.Error(), "too many") {
			break
		}
		if n > 20 {
			t.Fatal("passwords may be tried for ever")
		}
	}
}

// Everybody sees, makes and revokes his own tokens, and nobody else's.
func TestOwnTokens(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	admin := adminToken(t, dir)
	w.must(t, admin, "create", "user", "ann")
	w.must(t, admin, "create", "user", "ben")
	made := w.must(t, admin, "create", "token", "--user", "ann")
	ann := lastLine(made)
	bens := w.must(t, admin, "create", "token", "--user", "ben")
	if out := w.must(t, ann, "get", "tokens"); strings.Contains(out, "user ben") || !strings.Contains(out, "user ann") {
		t.Error(out)
	}
	own := w.must(t, ann, "create", "token", "--comment", "mine")
	for _, args := range [][]string{
		{"create", "token", "--user", "ben"},
		{"create", "token", "--user", "admin"},
		{"delete", "token", strings.Fields(bens)[1]},
		{"update", "token", strings.Fields(bens)[1], "--disabled"},
		{"get", "users"},
		{"get", "policies"},
		{"create", "user", "eve"},
		{"create", "policy", "eve", "--user", "ann", "--action", "*", "--resource", "*/*"},
		{"may", "register", "shop/cart", "--principal", "ben"},
	} {
		if out, err := w.as(t, ann, args...); err == nil || exitCode(err) != exitRefused {
			t.Errorf("%v: %s, %v", args, out, err)
		}
	}
	w.must(t, ann, "delete", "token", strings.Fields(own)[1])
	if out := w.must(t, admin, "history", "--kind", "token", "--limit", "1"); !strings.Contains(out, "token "+strings.Fields(own)[1]) || !strings.Contains(out, "ann") {
		t.Errorf("the history does not say who deleted which token: %s", out)
	}
	if _, err := w.as(t, lastLine(own), "whoami"); err == nil {
		t.Error("a revoked token holds")
	}
}

// Who administers without being the main user cannot make himself him.
func TestOnlyTheMainUserIsOverTheMainUser(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	admin := adminToken(t, dir)
	w.must(t, admin, "create", "user", "deputy")
	w.must(t, admin, "create", "policy", "deputies", "--user", "deputy", "--action", "administer", "--resource", "*/*")
	deputy := lastLine(w.must(t, admin, "create", "token", "--user", "deputy"))
	w.must(t, deputy, "create", "user", "ann")
	for _, args := range [][]string{
		{"create", "token", "--user", "admin"},
		{"update", "user", "admin", "--disabled"},
		{"delete", "user", "admin"},
		{"update", "user", "deputy", "--main"},
		{"create", "user", "eve", "--main"},
	} {
		if out, err := w.as(t, deputy, args...); err == nil || exitCode(err) != exitRefused {
			t.Errorf("%v: %s, %v", args, out, err)
		}
	}
	w.must(t, admin, "update", "user", "deputy", "--main")
	w.must(t, deputy, "update", "user", "admin", "--comment", "the first")
}

// An open console is open for everything but for who may do what.
func TestOpenConsoleDoesNotAdminister(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir, func(c *Config) { c.Auth.Client.Open = true })
	admin := adminToken(t, dir)
	w.must(t, "", "create", "namespace", "shop")
	if out, err := w.as(t, "", "create", "user", "eve"); err == nil || exitCode(err) != exitRefused {
		t.Errorf("%s, %v", out, err)
	}
	w.must(t, admin, "create", "user", "ann")
	if out := w.must(t, "", "history", "--limit", "1", "-o", "json"); !strings.Contains(out, `"admin"`) {
		t.Errorf("the history does not say who did it: %s", out)
	}
}

// The token of the main user is lost: whoever has the store makes another one.
func TestRecover(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	first := adminToken(t, dir)
	w.stop()
	if err := os.Remove(filepath.Join(dir, adminTokenFile)); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, append([]string{"auth", "recover"}, storeFlags(t, dir)...)...)
	if err != nil || !strings.Contains(out, "user admin") || strings.Contains(out, "pst_") {
		t.Fatal(out, err)
	}
	w = startWhole(t, dir, checking)
	second := adminToken(t, dir)
	for _, token := range []string{first, second} {
		if out := w.must(t, token, "whoami"); !strings.HasPrefix(out, "user admin") {
			t.Error(out)
		}
	}
	if first == second {
		t.Error("the same token")
	}
}

// A store without users gets its main user, too.
func TestRecoverWithoutUsers(t *testing.T) {
	dir := t.TempDir()
	startWhole(t, dir).stop()
	if out, err := run(t, append([]string{"auth", "recover"}, storeFlags(t, dir)...)...); err != nil {
		t.Fatal(out, err)
	}
	w := startWhole(t, dir, checking)
	if out := w.must(t, adminToken(t, dir), "whoami"); !strings.HasPrefix(out, "user admin, the main user") {
		t.Error(out)
	}
}

// When /metrics needs a token.
func TestMetricsOfAWholeServer(t *testing.T) {
	for mode, want := range map[string]int{metricsLoopback: http.StatusOK, metricsAlways: http.StatusOK, metricsNever: http.StatusUnauthorized} {
		w := startWhole(t, t.TempDir(), checking, func(c *Config) { c.OpenMetrics = mode })
		client := &http.Client{}
		res, err := client.Get("http://" + w.web.Addr().String() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		client.CloseIdleConnections()
		if res.StatusCode != want || err != nil {
			t.Errorf("%s: %s %v", mode, res.Status, err)
		}
		if want == http.StatusOK && !strings.Contains(string(text), `polestar_auth_objects{kind="user"} 1`) {
			t.Errorf("%s: %s", mode, text)
		}
		w.stop()
	}
	for addr, want := range map[string]bool{"127.0.0.1:1": true, "0.0.0.0:1": false} {
		if c := (&Config{HTTPAddr: addr, OpenMetrics: metricsLoopback}); c.metricsOpen() != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
}

// Doors that check nobody are reachable only by the operator's word.
func TestOpenDoorsNeedTheOperatorsWord(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string // in the error; empty: none
	}{
		"loopback":             {nil, ""},
		"client, unchecked":    {[]string{"--polaris-addr", "0.0.0.0:1"}, "polaris (0.0.0.0:1)"},
		"client, checked":      {[]string{"--polaris-addr", "0.0.0.0:1", "--auth.client-open=true"}, ""},
		"console, unchecked":   {[]string{"--http-addr", "0.0.0.0:1", "--auth.console-open=false"}, "http (0.0.0.0:1)"},
		"console, checked":     {[]string{"--http-addr", "0.0.0.0:1"}, ""},
		"by the word":          {[]string{"--xds-addr", "[::]:1", "--auth.allow-open-bind=true"}, ""},
		"an unknown mode":      {[]string{"--auth.metrics", "sometimes"}, "auth.metrics"},
		"not true, not false":  {[]string{"--auth.client-open", "maybe"}, "auth.client-open"},
		"not strict is a word": {[]string{"--auth.client-strict=false"}, ""},
	} {
		_, _, err := loadConfig(flags(t, append(c.args, "--allow-plaintext=true")...), nil)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
