package auth_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"polestar/auth"
	"polestar/naming"
)

// The reference decides by walking everything, as the documentation says it.

// refSelects reports whether a selector means a resource, for a principal who
// creates things under some ids.
func refSelects(sel naming.Selector, r auth.Resource, self []string) bool {
	if sel.Created {
		switch {
		case r.Service != "" && r.ServiceCreator != "":
			return slices.Contains(self, r.ServiceCreator)
		case r.NamespaceCreator != "":
			return slices.Contains(self, r.NamespaceCreator)
		default:
			return false
		}
	}
	fits := func(pattern, name string) bool {
		if pattern == "*" || pattern == name {
			return true
		}
		return name != "" && strings.HasSuffix(pattern, "*") && strings.HasPrefix(name, strings.TrimSuffix(pattern, "*"))
	}
	return fits(sel.Namespace, r.Namespace) && fits(sel.Service, r.Service) && (r.Namespace != "" || sel.Namespace == "*")
}

func refActs(words []string, a auth.Action) bool {
	return slices.Contains(words, "*") || slices.Contains(words, string(a)) ||
		slices.Contains(words, "read") && slices.Contains([]auth.Action{auth.Discover, auth.Subscribe, auth.Inspect}, a)
}

// refHolds reports whether a policy holds for a principal.
func refHolds(s *state, p *naming.Policy, who auth.Principal) bool {
	switch {
	case who.ID == "":
		return slices.Contains(p.Users, "anonymous")
	case slices.Contains(p.Users, "*"):
		return true
	case who.Group:
		return slices.Contains(p.Groups, who.ID)
	case slices.Contains(p.Users, who.ID):
		return true
	}
	return slices.ContainsFunc(p.Groups, func(id string) bool { return slices.Contains(refSelf(s, who), id) })
}

func refSelf(s *state, who auth.Principal) []string {
	self := []string{who.ID}
	for _, g := range s.groups {
		if !who.Group && slices.Contains(g.Members, who.ID) {
			self = append(self, g.ID)
		}
	}
	return self
}

func refAllowed(s *state, who auth.Principal, a auth.Action, r auth.Resource) bool {
	if a == auth.Administer && (who.ID == "" || who.Main) {
		return who.Main
	}
	covers := func(p *naming.Policy) bool {
		return refHolds(s, p, who) && refActs(p.Actions, a) &&
			slices.ContainsFunc(p.Resources, func(sel naming.Selector) bool { return refSelects(sel, r, refSelf(s, who)) })
	}
	allowed := who.Main
	for _, p := range s.policies {
		if p.Deny && covers(p) {
			return false
		}
		allowed = allowed || !p.Deny && (covers(p) || a == auth.Report && refHolds(s, p, who) && refActs(p.Actions, a) && len(p.Resources) > 0)
	}
	return allowed
}

// Small alphabets make coincidences likely.
var (
	namespaces = []string{"a", "ab", "b"}
	services   = []string{"s", "s1", "t"}
)

func selectors() *rapid.Generator[naming.Selector] {
	return rapid.Custom(func(t *rapid.T) naming.Selector {
		if rapid.IntRange(0, 4).Draw(t, "created") == 0 {
			return naming.Selector{Created: true}
		}
		return naming.Selector{
			Namespace: rapid.SampledFrom(append([]string{"*", "a*", "c*"}, namespaces...)).Draw(t, "namespace"),
			Service:   rapid.SampledFrom(append([]string{"*", "*", "", "s*"}, services...)).Draw(t, "service"),
		}
	})
}

// states draws users, one of them the main user, groups, and policies.
func states() *rapid.Generator[*state] {
	return rapid.Custom(func(t *rapid.T) *state {
		s := &state{}
		users := []string{"*", "anonymous", id('a', 9)} // the last is nobody
		for n := range 3 {
			users = append(users, s.user(naming.User{Main: n == 0}).ID)
		}
		groups := []string{id('b', 9)}
		for range 2 {
			groups = append(groups, s.group(rapid.SliceOfNDistinct(rapid.SampledFrom(users[2:]), 0, 3, rapid.ID).Draw(t, "members")...).ID)
		}
		words := []string{"*", "unheard-of"}
		for _, a := range auth.Actions() {
			words = append(words, string(a))
		}
		for range rapid.IntRange(0, 5).Draw(t, "policies") {
			s.policy(naming.Policy{
				Deny:      rapid.IntRange(0, 3).Draw(t, "deny") == 0,
				Users:     rapid.SliceOfNDistinct(rapid.SampledFrom(users), 0, 2, rapid.ID).Draw(t, "users"),
				Groups:    rapid.SliceOfNDistinct(rapid.SampledFrom(groups), 0, 2, rapid.ID).Draw(t, "groups"),
				Actions:   rapid.SliceOfN(rapid.SampledFrom(words), 0, 4).Draw(t, "actions"),
				Resources: rapid.SliceOfN(selectors(), 0, 3).Draw(t, "resources"),
			})
		}
		return s
	})
}

func (s *state) principals() []auth.Principal {
	out := []auth.Principal{{}}
	for _, u := range s.users {
		out = append(out, auth.Principal{ID: u.ID, Name: u.Name, Main: u.Main})
	}
	for _, g := range s.groups {
		out = append(out, auth.Principal{ID: g.ID, Name: g.Name, Group: true})
	}
	return out
}

// creatorIDs are who may have created something.
func (s *state) creatorIDs() []string { return []string{"", s.users[1].ID, s.groups[0].ID} }

// Every principal, action and resource is decided as the reference does.
func TestAllowEqualsTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := states().Draw(t, "state")
		e, _ := engineOf(t, checked(), s)
		for _, who := range s.principals() {
			for _, a := range auth.Actions() {
				for _, r := range s.resources() {
					want := refAllowed(s, who, a, r)
					err := e.Allow(t.Context(), auth.ClientAPI, who, a, r)
					d := e.Explain(auth.ClientAPI, who.ID, a, r)
					if (err == nil) != want || d.Allowed != want || d.Why == "" {
						t.Fatalf("%+v %s %+v: %v, explained as %+v; want %v", who, a, r, err, d, want)
					}
					if d.Policy != nil && d.Policy.Deny == want {
						t.Fatalf("%+v %s %+v: policy %+v is said to decide, want %v", who, a, r, d.Policy, want)
					}
				}
			}
		}
	})
}

func (s *state) resources() (out []auth.Resource) {
	out = []auth.Resource{{}}
	for _, ns := range namespaces {
		for _, svc := range append([]string{""}, services...) {
			for _, nc := range s.creatorIDs() {
				out = append(out, auth.Resource{Namespace: ns, Service: svc, NamespaceCreator: nc})
				if svc != "" {
					out = append(out, auth.Resource{Namespace: ns, Service: svc, NamespaceCreator: nc, ServiceCreator: s.users[1].ID})
				}
			}
		}
	}
	return out
}

// sight is what a scope shows of every world that there could be.
func sight(s *state, scope auth.Scope) string {
	var out strings.Builder
	for _, r := range s.resources()[1:] {
		n := &naming.Namespace{Name: r.Namespace, Creator: r.NamespaceCreator}
		svc := &naming.Service{Key: naming.ServiceKey{Namespace: r.Namespace, Name: r.Service}, Creator: r.ServiceCreator}
		if r.Service == "" {
			svc = nil
		}
		out.WriteString(map[bool]string{true: "1", false: "0"}[scope.Sees(n, svc)])
	}
	return out.String()
}

// A scope shows what the reference allows; different sights have different
// keys, all is seen exactly without a key, and a namespace is visible when a
// service in it is.
func TestScopesEqualTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seen := map[string]string{} // by key
		for range 3 {
			s := states().Draw(t, "state")
			e, _ := engineOf(t, checked(), s)
			for _, who := range s.principals() {
				for api, action := range map[auth.API]auth.Action{auth.ClientAPI: auth.Discover, auth.ConsoleAPI: auth.Read} {
					scope := e.Scope(api, who)
					if again := e.Scope(api, who); again.Key != scope.Key {
						t.Fatalf("two keys of one scope: %q and %q", scope.Key, again.Key)
					}
					for _, r := range s.resources()[1:] {
						n := &naming.Namespace{Name: r.Namespace, Creator: r.NamespaceCreator}
						svc := &naming.Service{Key: naming.ServiceKey{Namespace: r.Namespace, Name: r.Service}, Creator: r.ServiceCreator}
						want := refAllowed(s, who, action, r)
						switch {
						case r.Service != "" && scope.Sees(n, svc) != want:
							t.Fatalf("%+v sees %+v: %v, want %v", who, r, !want, want)
						case want && !scope.Sees(n, nil):
							t.Fatalf("%+v may %s %+v, but does not see its namespace", who, action, r)
						}
					}
					got := sight(s, scope)
					if before, ok := seen[scope.Key]; ok && before != got {
						t.Fatalf("the key %q stands for %s and %s", scope.Key, before, got)
					}
					seen[scope.Key] = got
					if scope.Key == "" && strings.Contains(got, "0") {
						t.Fatalf("a scope without a key hides something: %s", got)
					}
				}
			}
		}
	})
}
