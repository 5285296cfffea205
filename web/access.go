package web

import (
	"context"
	"fmt"
	"slices"

	"polestar/auth"
	"polestar/naming"
)

// Access is what manages users, groups, tokens and policies.
type Access struct {
	Admin AccessAdmin
	// Explain decides as the gate does, and says why.
	Explain func(api auth.API, id string, a auth.Action, r auth.Resource) auth.Decision
	// Count counts a login that was refused.
	Count func(api auth.API, r auth.Reason)
	// Checked reports whether an API looks at who is calling.
	Checked   func(api auth.API) bool
	Passwords *auth.Passwords
	Attempts  *auth.Attempts
}

// AccessAdmin are the use cases of an administrator; *naming.Registrar fits.
type AccessAdmin interface {
	PutUser(ctx context.Context, w naming.PutUser) (naming.Result, error)
	DeleteUser(ctx context.Context, w naming.DeleteUser) (naming.Result, error)
	PutGroup(ctx context.Context, w naming.PutGroup) (naming.Result, error)
	DeleteGroup(ctx context.Context, w naming.DeleteGroup) (naming.Result, error)
	PutToken(ctx context.Context, w naming.PutToken) (naming.Result, error)
	DeleteToken(ctx context.Context, w naming.DeleteToken) (naming.Result, error)
	PutPolicy(ctx context.Context, w naming.PutPolicy) (naming.Result, error)
	DeletePolicy(ctx context.Context, w naming.DeletePolicy) (naming.Result, error)
}

// The JSON forms of who may do what. Users and groups are called by their
// names. Times are RFC 3339 in UTC.
type (
	// User is one user; its password is never shown.
	User struct {
		ID         string   `json:"id"`
		Name       string   `json:"name"`
		Comment    string   `json:"comment,omitempty"`
		Main       bool     `json:"main,omitempty"`
		Disabled   bool     `json:"disabled,omitempty"`
		Password   bool     `json:"has_password"`
		Identities []string `json:"identities,omitempty"`
		Groups     []string `json:"groups,omitempty"`
		Created    string   `json:"created"`
		Modified   string   `json:"modified"`
		Revision   uint64   `json:"revision"`
	}
	// Group is one group.
	Group struct {
		ID       string   `json:"id"`
		Name     string   `json:"name"`
		Comment  string   `json:"comment,omitempty"`
		Members  []string `json:"members"`
		Created  string   `json:"created"`
		Modified string   `json:"modified"`
		Revision uint64   `json:"revision"`
	}
	// Token is one token, of a user or of a group.
	Token struct {
		ID       string `json:"id"`
		User     string `json:"user,omitempty"`
		Group    string `json:"group,omitempty"`
		Comment  string `json:"comment,omitempty"`
		Disabled bool   `json:"disabled,omitempty"`
		Expires  string `json:"expires,omitempty"` // not there: never
		Created  string `json:"created"`
		Modified string `json:"modified"`
		Revision uint64 `json:"revision"`
		// Text is what is shown to doors. It is told once, when the token is made.
		Text string `json:"text,omitempty"`
	}
	// Policy is one policy.
	Policy struct {
		ID        string     `json:"id"`
		Name      string     `json:"name"`
		Comment   string     `json:"comment,omitempty"`
		Deny      bool       `json:"deny"`
		Default   bool       `json:"default,omitempty"`
		Users     []string   `json:"users,omitempty"`
		Groups    []string   `json:"groups,omitempty"`
		Actions   []string   `json:"actions"`
		Resources []Selector `json:"resources"`
		Created   string     `json:"created"`
		Modified  string     `json:"modified"`
		Revision  uint64     `json:"revision"`
	}
	// Selector names resources.
	Selector struct {
		Namespace string `json:"namespace,omitempty"`
		Service   string `json:"service,omitempty"`
		Created   bool   `json:"created,omitempty"` // what the principal itself created
	}
)

// directory are the users and groups of one world, by name and by id.
type directory struct {
	naming.World
	users, groups         map[string]string // ids by name
	userNames, groupNames map[string]string // by id
	groupsOf              map[string][]string
}

// directory reads the newest world; whoever asks administers, or asks about
// himself.
func (s *Server) directory() *directory {
	d := &directory{
		World: s.deps.World(), users: map[string]string{}, groups: map[string]string{}, groupNames: map[string]string{}, groupsOf: map[string][]string{},
		userNames: map[string]string{auth.Anybody: auth.Anybody, auth.AnonymousUser: auth.AnonymousUser},
	}
	for u := range d.Users() {
		d.users[u.Name], d.userNames[u.ID] = u.ID, u.Name
	}
	for g := range d.Groups() {
		d.groups[g.Name], d.groupNames[g.ID] = g.ID, g.Name
		for _, id := range g.Members {
			d.groupsOf[id] = append(d.groupsOf[id], g.Name)
		}
	}
	return d
}

// namesOf are the names of those that exist.
func namesOf(ids []string, of map[string]string) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		if name, ok := of[id]; ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// idsOf are the ids of names; the words for everybody and for nobody in
// particular stay as they are.
func idsOf(field string, names []string, of map[string]string) ([]string, *refusal) {
	out := make([]string, 0, len(names))
	for _, name := range names {
		id, ok := of[name]
		switch {
		case ok:
			out = append(out, id)
		case field == "users" && (name == auth.Anybody || name == auth.AnonymousUser):
			out = append(out, name)
		default:
			return nil, bad(field, fmt.Sprintf("%s: %.64q does not exist", field, name))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func (d *directory) user(u *naming.User) User {
	return User{
		ID: u.ID, Name: u.Name, Comment: u.Comment, Main: u.Main, Disabled: u.Disabled, Password: u.Password != "", Identities: u.Identities,
		Groups: d.groupsOf[u.ID], Created: micros(u.Created), Modified: micros(u.Modified), Revision: uint64(u.Revision),
	}
}

func (d *directory) group(g *naming.Group) Group {
	return Group{
		ID: g.ID, Name: g.Name, Comment: g.Comment, Members: namesOf(g.Members, d.userNames),
		Created: micros(g.Created), Modified: micros(g.Modified), Revision: uint64(g.Revision),
	}
}

func (d *directory) token(t *naming.Token) Token {
	out := Token{
		ID: t.ID, User: d.userNames[t.Owner], Group: d.groupNames[t.Owner], Comment: t.Comment, Disabled: t.Disabled,
		Created: micros(t.Created), Modified: micros(t.Modified), Revision: uint64(t.Revision),
	}
	if t.Expires != 0 {
		out.Expires = micros(t.Expires)
	}
	return out
}

func (d *directory) policy(p *naming.Policy) Policy {
	out := Policy{
		ID: p.ID, Name: p.Name, Comment: p.Comment, Deny: p.Deny, Default: p.Default,
		Users: namesOf(p.Users, d.userNames), Groups: namesOf(p.Groups, d.groupNames), Actions: p.Actions, Resources: make([]Selector, len(p.Resources)),
		Created: micros(p.Created), Modified: micros(p.Modified), Revision: uint64(p.Revision),
	}
	for n, s := range p.Resources {
		out.Resources[n] = Selector(s)
	}
	return out
}
