package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"

	"polestar/auth"
	"polestar/naming"
)

// maxTokenLife bounds how long a token may hold that holds not for ever.
const maxTokenLife = 10 * 365 * 24 * time.Hour

// administer are the routes to users, groups, tokens and policies, and to what
// concerns the caller himself. No switch opens them: who is calling is always
// found out.
func (s *Server) administer(r chi.Router) {
	r.Use(s.always)
	r.Post("/login", s.login)
	r.Get("/whoami", s.whoami)
	r.Get("/may", s.mayBe)
	for _, k := range []struct {
		path                 string
		list, one, put, gone http.HandlerFunc
	}{
		{"/users", s.users, s.user, s.putUser, s.deleteUser},
		{"/groups", s.groups, s.group, s.putGroup, s.deleteGroup},
		{"/policies", s.policies, s.policy, s.putPolicy, s.deletePolicy},
		{"/tokens", s.tokens, s.token, s.patchToken, s.deleteToken},
	} {
		r.Get(k.path, k.list)
		r.Get(k.path+"/{name}", k.one)
		r.Patch(k.path+"/{name}", k.put)
		r.Delete(k.path+"/{name}", k.gone)
	}
	r.Post("/users", s.putUser)
	r.Post("/groups", s.putGroup)
	r.Post("/policies", s.putPolicy)
	r.Post("/tokens", s.postToken)
}

// administers reports whether the caller may administer; else it has answered.
func (s *Server) administers(w http.ResponseWriter, r *http.Request) bool {
	return s.may(w, r, auth.Administer, naming.ServiceKey{})
}

// overMain reports whether the caller may change the user of an id, or what
// belongs to it; else it has answered. Only the main user changes himself:
// others who administer could make themselves him.
func (s *Server) overMain(w http.ResponseWriter, r *http.Request, id string) bool {
	if callerOf(r).principal.Main {
		return true
	}
	for u := range s.deps.World().Users() {
		if u.ID == id && u.Main {
			s.turnDown(w, r, auth.Administer, auth.Resource{}, &auth.Error{Reason: auth.Forbidden, Msg: "only the main user may change the main user and what belongs to him"})
			return false
		}
	}
	return true
}

// selectors are read strictly: a misspelt member would select something else.
type selectors []Selector

// UnmarshalJSON implements [json.Unmarshaler].
func (s *selectors) UnmarshalJSON(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	return dec.Decode((*[]Selector)(s))
}

// objects lists what an administrator sees of one kind. Filters match exactly.
func objects[T any](s *Server, w http.ResponseWriter, r *http.Request, name string, filters []string, all func(*directory, query) iter.Seq[T]) {
	if !s.administers(w, r) {
		return
	}
	list(s, w, r, name, filters, func(_ naming.World, q query) iter.Seq[T] { return all(s.directory(), q) })
}

// forms are the forms of those that match.
func forms[O any, T any](all iter.Seq[O], match func(O) bool, form func(O) T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for o := range all {
			if match(o) && !yield(form(o)) {
				return
			}
		}
	}
}

func is(filter, value string) bool { return filter == "" || filter == value }

func (s *Server) users(w http.ResponseWriter, r *http.Request) {
	objects(s, w, r, "users", []string{"name"}, func(d *directory, q query) iter.Seq[User] {
		return forms(d.Users(), func(u *naming.User) bool { return is(q.text["name"], u.Name) }, d.user)
	})
}

func (s *Server) groups(w http.ResponseWriter, r *http.Request) {
	objects(s, w, r, "groups", []string{"name", "user"}, func(d *directory, q query) iter.Seq[Group] {
		return forms(d.Groups(), func(g *naming.Group) bool {
			return is(q.text["name"], g.Name) && (q.text["user"] == "" || slices.Contains(g.Members, d.users[q.text["user"]]))
		}, d.group)
	})
}

func (s *Server) policies(w http.ResponseWriter, r *http.Request) {
	objects(s, w, r, "policies", []string{"name", "user", "group"}, func(d *directory, q query) iter.Seq[Policy] {
		return forms(d.Policies(), func(p *naming.Policy) bool {
			return is(q.text["name"], p.Name) && (q.text["user"] == "" || slices.Contains(p.Users, d.users[q.text["user"]])) &&
				(q.text["group"] == "" || slices.Contains(p.Groups, d.groups[q.text["group"]]))
		}, d.policy)
	})
}

// tokens shows the caller's own to everybody, those of others to who
// administers.
func (s *Server) tokens(w http.ResponseWriter, r *http.Request) {
	if !s.known(w, r) {
		return
	}
	self := callerOf(r).principal.ID
	if self == "" || s.allowed(r, auth.Administer) {
		self = ""
		if !s.administers(w, r) {
			return
		}
	}
	list(s, w, r, "tokens", []string{"user", "group"}, func(_ naming.World, q query) iter.Seq[Token] {
		d := s.directory()
		return forms(d.Tokens(), func(t *naming.Token) bool {
			return is(self, t.Owner) && (q.text["user"] == "" || t.Owner == d.users[q.text["user"]]) &&
				(q.text["group"] == "" || t.Owner == d.groups[q.text["group"]])
		}, d.token)
	})
}

// allowed asks without answering.
func (s *Server) allowed(r *http.Request, a auth.Action) bool {
	c := callerOf(r)
	return c.err == nil && s.deps.Auth.Allow(r.Context(), c.api, c.principal, a, auth.Resource{}) == nil
}

// find answers the first object of a kind that matches, or that there is none.
func find[O naming.Object, T any](w http.ResponseWriter, r *http.Request, kind string, all iter.Seq[O], match func(O, string) bool, form func(O) T) {
	name, wrong := segment(r, "name")
	if wrong != nil {
		wrong.write(w)
		return
	}
	for o := range all {
		if match(o, name) {
			tagged(w, o.ObjectRevision())
			answer(w, http.StatusOK, form(o))
			return
		}
	}
	problem(w, http.StatusNotFound, kind, fmt.Sprintf("%s %q does not exist", kind, name))
}

func (s *Server) user(w http.ResponseWriter, r *http.Request) {
	if d := s.directory(); s.administers(w, r) {
		find(w, r, "user", d.Users(), func(u *naming.User, name string) bool { return u.Name == name }, d.user)
	}
}

func (s *Server) group(w http.ResponseWriter, r *http.Request) {
	if d := s.directory(); s.administers(w, r) {
		find(w, r, "group", d.Groups(), func(g *naming.Group, name string) bool { return g.Name == name }, d.group)
	}
}

func (s *Server) policy(w http.ResponseWriter, r *http.Request) {
	if d := s.directory(); s.administers(w, r) {
		find(w, r, "policy", d.Policies(), func(p *naming.Policy, name string) bool { return p.Name == name }, d.policy)
	}
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if id, ok := s.overToken(w, r); ok {
		d := s.directory()
		find(w, r, "token", d.Tokens(), func(t *naming.Token, _ string) bool { return t.ID == id }, d.token)
	}
}
