package polaris_test

import (
	"context"
	"slices"
	"strings"
	"sync"

	"polestar/auth"
	"polestar/naming"
)

// guard is a Gate that knows a table of people, notes what it was asked, and
// may refuse everybody.
type guard struct {
	mu      sync.Mutex
	people  []person // nil: everybody may do everything
	asked   []question
	refused []auth.Refusal
	deny    error
	only    string // deny only what is in this namespace
	changed chan struct{}
}

// person is somebody with rights to namespaces ("n"), services ("n/a") or all
// ("*").
type person struct {
	auth.Principal
	token, identity string
	hold            auth.Reason // why the token does not hold; 0: it does
	rights          []string
}

type question struct {
	Action   auth.Action
	Resource auth.Resource
}

var _ auth.Gate = (*guard)(nil)

// known makes a guard that knows these people by the tokens "NAME-token" and
// the certificates of "NAME.example".
func known(rights map[string][]string) []person {
	people := []person{}
	for name, r := range rights {
		people = append(people, person{
			Principal: auth.Principal{ID: "id-" + name, Name: name}, token: name + "-token", identity: name + ".example", rights: r,
		})
	}
	return people
}

// admit makes the guard know these people and nobody else.
func (g *guard) admit(people []person) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.people = people
}

// Authenticate implements auth.Gate.
func (g *guard) Authenticate(_ context.Context, _ auth.API, c auth.Credentials) (auth.Principal, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.people == nil {
		return auth.Principal{}, nil
	}
	if c.Token == "" && len(c.Identities) == 0 {
		return auth.Principal{}, &auth.Error{Reason: auth.NoCredentials, Msg: "show a token"}
	}
	for _, p := range g.people {
		switch by := p.token == c.Token || c.Token == "" && slices.Contains(c.Identities, p.identity); {
		case by && p.hold != 0:
			return auth.Principal{}, &auth.Error{Reason: p.hold, Msg: "the token does not hold"}
		case by:
			return p.Principal, nil
		}
	}
	return auth.Principal{}, &auth.Error{Reason: auth.BadToken, Msg: "nobody's token"}
}

// Allow implements auth.Gate.
func (g *guard) Allow(_ context.Context, _ auth.API, p auth.Principal, a auth.Action, r auth.Resource) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, question{a, r})
	if g.people != nil && !may(g.rights(p), r.Namespace, r.Service) {
		return &auth.Error{Reason: auth.Forbidden, Msg: p.Name + " may not"}
	}
	if g.deny == nil || g.only != "" && r.Namespace != g.only {
		return nil
	}
	return &auth.Error{Reason: auth.Forbidden, Msg: g.deny.Error()}
}

// Scope implements auth.Gate.
func (g *guard) Scope(_ auth.API, p auth.Principal) auth.Scope {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.people == nil {
		return auth.Scope{}
	}
	rights := g.rights(p)
	return auth.Scope{Key: strings.Join(rights, " "), See: func(n *naming.Namespace, s *naming.Service) bool {
		if s != nil {
			return may(rights, s.Key.Namespace, s.Key.Name)
		}
		return may(rights, n.Name, "") || slices.ContainsFunc(rights, func(r string) bool { return strings.HasPrefix(r, n.Name+"/") })
	}}
}

// Changed implements auth.Gate.
func (g *guard) Changed() <-chan struct{} { return g.changed }

func (g *guard) rights(p auth.Principal) []string {
	for _, one := range g.people {
		if one.ID == p.ID {
			return one.rights
		}
	}
	return nil
}

// may reports whether rights cover a service, or with an empty name a whole
// namespace.
func may(rights []string, namespace, service string) bool {
	return slices.Contains(rights, "*") || slices.Contains(rights, namespace) || slices.Contains(rights, namespace+"/"+service)
}

// note is told of refusals.
func (g *guard) note(r auth.Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused = append(g.refused, r)
}

// told returns the refusals since the last call.
func (g *guard) told() []auth.Refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.refused
	g.refused = nil
	return out
}

func (g *guard) refuseFor(namespace string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.only, g.deny = namespace, err
}

func (g *guard) refuse(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deny = err
}

// take returns the questions since the last call.
func (g *guard) take() []question {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.asked
	g.asked = nil
	return out
}
