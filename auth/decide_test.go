package auth_test

import (
	"strings"
	"testing"

	"polestar/auth"
	"polestar/naming"
)

// The rules one by one, in the words of the documentation.
func TestDecisions(t *testing.T) {
	shop := func(service string) []naming.Selector {
		return []naming.Selector{{Namespace: "shop", Service: service}}
	}
	cart := auth.Resource{Namespace: "shop", Service: "cart"}
	type policies []naming.Policy
	for name, c := range map[string]struct {
		policies policies
		action   auth.Action
		resource auth.Resource
		want     bool
	}{
		"nothing is allowed by itself":           {nil, auth.Discover, cart, false},
		"what a policy allows":                   {policies{{Actions: []string{"register"}, Resources: shop("cart")}}, auth.Register, cart, true},
		"another action":                         {policies{{Actions: []string{"register"}, Resources: shop("cart")}}, auth.Heartbeat, cart, false},
		"another service":                        {policies{{Actions: []string{"register"}, Resources: shop("car")}}, auth.Register, cart, false},
		"the beginning of a name":                {policies{{Actions: []string{"register"}, Resources: shop("ca*")}}, auth.Register, cart, true},
		"all services":                           {policies{{Actions: []string{"register"}, Resources: shop("*")}}, auth.Register, cart, true},
		"all services, and the namespace":        {policies{{Actions: []string{"write"}, Resources: shop("*")}}, auth.Write, auth.Resource{Namespace: "shop"}, true},
		"a service is not its namespace":         {policies{{Actions: []string{"write"}, Resources: shop("ca*")}}, auth.Write, auth.Resource{Namespace: "shop"}, false},
		"a namespace is not its services":        {policies{{Actions: []string{"write"}, Resources: shop("")}}, auth.Write, cart, false},
		"the namespace itself":                   {policies{{Actions: []string{"write"}, Resources: shop("")}}, auth.Write, auth.Resource{Namespace: "shop"}, true},
		"a namespace is not the server":          {policies{{Actions: []string{"*"}, Resources: shop("*")}}, auth.Maintain, auth.Resource{}, false},
		"one service everywhere, not the server": {policies{{Actions: []string{"*"}, Resources: []naming.Selector{{Namespace: "*", Service: "cart"}}}}, auth.Maintain, auth.Resource{}, false},
		"everything is the server too":           {policies{{Actions: []string{"*"}, Resources: all}}, auth.Maintain, auth.Resource{}, true},
		"who reads may discover":                 {policies{{Actions: []string{"read"}, Resources: all}}, auth.Discover, cart, true},
		"who reads may subscribe":                {policies{{Actions: []string{"read"}, Resources: all}}, auth.Subscribe, cart, true},
		"who reads may inspect":                  {policies{{Actions: []string{"read"}, Resources: all}}, auth.Inspect, cart, true},
		"who reads has not the history":          {policies{{Actions: []string{"read"}, Resources: all}}, auth.History, cart, false},
		"who writes may not read":                {policies{{Actions: []string{"write"}, Resources: all}}, auth.Read, cart, false},
		"who discovers may not read":             {policies{{Actions: []string{"discover"}, Resources: all}}, auth.Read, cart, false},
		"reports are about no service":           {policies{{Actions: []string{"report"}, Resources: shop("cart")}}, auth.Report, auth.Resource{}, true},
		"a denial wins": {policies{
			{Actions: []string{"*"}, Resources: all}, {Deny: true, Actions: []string{"register"}, Resources: shop("cart")},
		}, auth.Register, cart, false},
		"a denial of reading is one of discovery": {policies{
			{Actions: []string{"*"}, Resources: all}, {Deny: true, Actions: []string{"read"}, Resources: shop("cart")},
		}, auth.Discover, cart, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &state{}
			u := s.user(naming.User{})
			g := s.group(u.ID)
			for n, p := range c.policies {
				if n%2 == 0 {
					p.Users = []string{u.ID}
				} else {
					p.Groups = []string{g.ID}
				}
				s.policy(p)
			}
			e, _ := engineOf(t, checked(), s)
			err := e.Allow(t.Context(), auth.ConsoleAPI, auth.Principal{ID: u.ID}, c.action, c.resource)
			if (err == nil) != c.want {
				t.Errorf("%s %s: %v", c.action, c.resource, err)
			}
		})
	}
}

// What somebody created is his, and his groups'.
func TestCreators(t *testing.T) {
	s := &state{}
	anna, ben := s.user(naming.User{Name: "anna"}), s.user(naming.User{Name: "ben"})
	team := s.group(anna.ID)
	s.policy(naming.Policy{Users: []string{"*"}, Actions: []string{"write"}, Resources: []naming.Selector{{Created: true}}})
	e, _ := engineOf(t, checked(), s)
	for name, c := range map[string]struct {
		who             auth.Principal
		namespace, made string // creators
		want            bool
	}{
		"his own":                            {auth.Principal{ID: anna.ID}, "", anna.ID, true},
		"that of his group":                  {auth.Principal{ID: anna.ID}, "", team.ID, true},
		"the group's own":                    {auth.Principal{ID: team.ID, Group: true}, "", team.ID, true},
		"a member's is not the group's":      {auth.Principal{ID: team.ID, Group: true}, "", anna.ID, false},
		"another's":                          {auth.Principal{ID: ben.ID}, "", anna.ID, false},
		"nobody's":                           {auth.Principal{ID: anna.ID}, "", "", false},
		"nobody's in his namespace":          {auth.Principal{ID: anna.ID}, anna.ID, "", true},
		"another's in his namespace":         {auth.Principal{ID: anna.ID}, anna.ID, ben.ID, false},
		"his own in the namespace of others": {auth.Principal{ID: anna.ID}, ben.ID, anna.ID, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := auth.Resource{Namespace: "n", Service: "s", NamespaceCreator: c.namespace, ServiceCreator: c.made}
			if err := e.Allow(t.Context(), auth.ConsoleAPI, c.who, auth.Write, r); (err == nil) != c.want {
				t.Error(err)
			}
		})
	}
}

// The main user may do everything that no policy denies; administering cannot
// be denied to him.
func TestMainUser(t *testing.T) {
	s := &state{}
	p := auth.Principal{ID: s.user(naming.User{Main: true}).ID, Main: true}
	e, w := engineOf(t, checked(), s)
	for _, a := range auth.Actions() {
		if err := e.Allow(t.Context(), auth.AdminAPI, p, a, auth.Resource{}); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	if got := e.Scope(auth.ConsoleAPI, p); got.Key != "" || got.See != nil {
		t.Errorf("the scope is %+v", got)
	}
	denied := &state{users: s.users}
	denied.policy(naming.Policy{Deny: true, Users: []string{"*"}, Actions: []string{"*"}, Resources: all})
	w.set(denied)
	e.Refresh()
	for _, a := range auth.Actions() {
		if err := e.Allow(t.Context(), auth.AdminAPI, p, a, auth.Resource{}); (err == nil) != (a == auth.Administer) {
			t.Errorf("%s: %v", a, err)
		}
	}
	claimed := auth.Principal{ID: denied.user(naming.User{}).ID, Main: true} // what a principal says of itself counts for nothing
	w.set(denied)
	e.Refresh()
	if err := e.Allow(t.Context(), auth.AdminAPI, claimed, auth.Administer, auth.Resource{}); err == nil {
		t.Error("a principal made itself the main user")
	}
}

// Callers who are not known are allowed what a policy says for them by name,
// and nothing that it says for everybody; never to administer.
func TestAnonymousCallers(t *testing.T) {
	s := &state{}
	s.policy(naming.Policy{Users: []string{"*"}, Actions: []string{"register"}, Resources: all})
	s.policy(naming.Policy{Users: []string{"anonymous"}, Actions: []string{"discover", "administer"}, Resources: all})
	cfg := checked()
	cfg.Client.Strict = false
	e, _ := engineOf(t, cfg, s)
	p, err := e.Authenticate(t.Context(), auth.ClientAPI, auth.Credentials{})
	if err != nil || !p.Anonymous() {
		t.Fatal(p, err)
	}
	for a, want := range map[auth.Action]auth.Reason{auth.Discover: 0, auth.Register: auth.NoCredentials, auth.Administer: auth.NoCredentials} {
		if got := reason(t, e.Allow(t.Context(), auth.ClientAPI, p, a, auth.Resource{Namespace: "n", Service: "s"})); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
	if got := e.Scope(auth.ClientAPI, p); got.Key != "" {
		t.Errorf("an anonymous caller sees %+v, all is allowed", got)
	}
}

// A decision is explained by the policy that makes it.
func TestExplain(t *testing.T) {
	s := &state{}
	u := s.user(naming.User{Name: "anna"})
	s.policy(naming.Policy{Users: []string{u.ID}, Actions: []string{"*"}, Resources: []naming.Selector{{Namespace: "b"}, {Namespace: "shop", Service: "*"}}})
	s.policy(naming.Policy{Deny: true, Users: []string{"*"}, Actions: []string{"register"}, Resources: []naming.Selector{{Namespace: "shop", Service: "cart"}}})
	e, _ := engineOf(t, auth.Config{Console: auth.Switch{Open: true, Strict: true}}, s)
	for name, c := range map[string]struct {
		api      auth.API
		id       string
		resource auth.Resource
		allowed  bool
		why      string
		selector naming.Selector
	}{
		"allowed":       {auth.ConsoleAPI, u.ID, auth.Resource{Namespace: "shop", Service: "stock"}, true, "allowed by policy policy0", naming.Selector{Namespace: "shop", Service: "*"}},
		"denied":        {auth.ConsoleAPI, u.ID, auth.Resource{Namespace: "shop", Service: "cart"}, false, "denied by policy policy1", naming.Selector{Namespace: "shop", Service: "cart"}},
		"nothing":       {auth.ConsoleAPI, u.ID, auth.Resource{Namespace: "x", Service: "y"}, false, "no policy allows it", naming.Selector{}},
		"not checked":   {auth.ClientAPI, u.ID, auth.Resource{Namespace: "x", Service: "y"}, true, "not checked", naming.Selector{}},
		"unknown":       {auth.ConsoleAPI, "?", auth.Resource{}, false, "does not exist", naming.Selector{}},
		"who is nobody": {auth.ConsoleAPI, "", auth.Resource{}, false, "no policy allows it", naming.Selector{}},
	} {
		t.Run(name, func(t *testing.T) {
			d := e.Explain(c.api, c.id, auth.Register, c.resource)
			if d.Allowed != c.allowed || !strings.Contains(d.Why, c.why) || d.Selector != c.selector {
				t.Errorf("%+v", d)
			}
		})
	}
	err := e.Allow(t.Context(), auth.ConsoleAPI, auth.Principal{ID: u.ID}, auth.Register, auth.Resource{Namespace: "shop", Service: "cart"})
	if err == nil || err.Error() != "anna is not allowed to register service shop/cart: denied by policy policy1" {
		t.Error(err)
	}
}

// Who sees the same by rules that are written otherwise shares a key.
func TestScopesAreShared(t *testing.T) {
	s := &state{}
	a, b, c, d := s.user(naming.User{}), s.user(naming.User{}), s.user(naming.User{}), s.user(naming.User{})
	one, two := naming.Selector{Namespace: "n", Service: "s"}, naming.Selector{Namespace: "m", Service: "*"}
	s.policy(naming.Policy{Users: []string{a.ID}, Actions: []string{"discover", "register"}, Resources: []naming.Selector{one, two}})
	s.policy(naming.Policy{Users: []string{b.ID}, Actions: []string{"read"}, Resources: []naming.Selector{two, one, two}})
	s.policy(naming.Policy{Users: []string{c.ID}, Actions: []string{"*"}, Resources: []naming.Selector{two}})
	s.policy(naming.Policy{Groups: []string{s.group(c.ID).ID}, Actions: []string{"*"}, Resources: []naming.Selector{one}})
	s.policy(naming.Policy{Users: []string{d.ID}, Actions: []string{"discover"}, Resources: []naming.Selector{one, two, {Created: true}}})
	e, _ := engineOf(t, checked(), s)
	key := func(u *naming.User) string { return e.Scope(auth.ClientAPI, auth.Principal{ID: u.ID}).Key }
	if key(a) == "" || key(a) != key(b) || key(a) != key(c) {
		t.Errorf("three keys for one sight: %q, %q, %q", key(a), key(b), key(c))
	}
	if key(d) == key(a) {
		t.Error("what somebody created is seen by him alone, and yet the key is shared")
	}
}

// Policies are written before a switch is thrown: what they will decide is told.
func TestExplainOfAnAPIThatIsNotChecked(t *testing.T) {
	s := &state{}
	ann, bob := s.user(naming.User{}), s.user(naming.User{})
	s.policy(naming.Policy{Users: []string{ann.ID}, Actions: []string{"register"}, Resources: all})
	e, _ := engineOf(t, auth.Config{}, s)
	for id, want := range map[string]string{ann.ID: "if it were: yes, allowed by policy policy0", bob.ID: "if it were: no, no policy allows it"} {
		if d := e.Explain(auth.ClientAPI, id, auth.Register, auth.Resource{Namespace: "n"}); !d.Allowed || !strings.HasSuffix(d.Why, want) {
			t.Errorf("%+v, want %q", d, want)
		}
	}
}
