package web

import (
	"fmt"
	"net/http"
	"time"

	"polestar/auth"
	"polestar/naming"
)

// target reads the name of an object: out of the body of a POST, else out of
// the path, and the rest of the body, and what If-Match demands.
func target(r *http.Request, into fields, name *string) (naming.Revision, *refusal) {
	if wrong := named(r, into, map[string]*string{"name": name}); wrong != nil {
		return 0, wrong
	}
	return revision(r)
}

// put answers a write of one object.
func (s *Server) put(w http.ResponseWriter, res naming.Result, err error, of naming.Object, m func() Mutation, at string) {
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	tagged(w, of.ObjectRevision())
	written(w, res, m(), at)
}

func (s *Server) putUser(w http.ResponseWriter, r *http.Request) {
	put := naming.PutUser{Mode: mode(r.Method), Actor: actor(r)}
	var password *string
	var wrong *refusal
	put.If, wrong = target(r, fields{
		"comment": &put.Comment, "password": &password, "identities": &put.Identities, "disabled": &put.Disabled, "main": &put.Main, "reason": &put.Reason,
	}, &put.Name)
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.administers(w, r) || !s.overMain(w, r, s.directory().users[put.Name]) {
		return
	}
	if put.Main != nil && !callerOf(r).principal.Main {
		s.turnDown(w, r, auth.Administer, auth.Resource{}, &auth.Error{Reason: auth.Forbidden, Msg: "main: only the main user may say who the main user is"})
		return
	}
	if password != nil {
		hash, err := s.hash(r, *password)
		if err != nil {
			s.failed(w, err, nil)
			return
		}
		put.Password = &hash
	}
	res, err := s.deps.Access.Admin.PutUser(r.Context(), put)
	s.put(w, res, err, res.User, func() Mutation { return Mutation{User: new(s.directory().user(res.User))} }, escaped("users", put.Name))
}

// hash makes the hash of a new password; an empty one takes the password away.
func (s *Server) hash(r *http.Request, password string) (string, error) {
	if password == "" {
		return "", nil
	}
	return s.deps.Access.Passwords.Hash(r.Context(), password)
}

func (s *Server) putGroup(w http.ResponseWriter, r *http.Request) {
	put := naming.PutGroup{Mode: mode(r.Method), Actor: actor(r)}
	var members *[]string
	var wrong *refusal
	put.If, wrong = target(r, fields{"comment": &put.Comment, "members": &members, "reason": &put.Reason}, &put.Name)
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.administers(w, r) {
		return
	}
	if put.Members, wrong = ids("members", members, s.directory().users); wrong != nil {
		wrong.write(w)
		return
	}
	res, err := s.deps.Access.Admin.PutGroup(r.Context(), put)
	s.put(w, res, err, res.Group, func() Mutation { return Mutation{Group: new(s.directory().group(res.Group))} }, escaped("groups", put.Name))
}

// ids turns the names of a member of the body into ids, if it was there.
func ids(field string, names *[]string, of map[string]string) (*[]string, *refusal) {
	if names == nil {
		return nil, nil
	}
	out, wrong := idsOf(field, *names, of)
	return &out, wrong
}

func (s *Server) putPolicy(w http.ResponseWriter, r *http.Request) {
	put := naming.PutPolicy{Mode: mode(r.Method), Actor: actor(r)}
	var users, groups *[]string
	var resources *selectors
	var wrong *refusal
	put.If, wrong = target(r, fields{
		"comment": &put.Comment, "deny": &put.Deny, "users": &users, "groups": &groups, "actions": &put.Actions, "resources": &resources, "reason": &put.Reason,
	}, &put.Name)
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.administers(w, r) {
		return
	}
	d := s.directory()
	if put.Users, wrong = ids("users", users, d.users); wrong == nil {
		put.Groups, wrong = ids("groups", groups, d.groups)
	}
	if wrong == nil && put.Actions != nil {
		wrong = knownActions(*put.Actions)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if resources != nil {
		put.Resources = new([]naming.Selector)
		for _, sel := range *resources {
			*put.Resources = append(*put.Resources, naming.Selector(sel))
		}
	}
	res, err := s.deps.Access.Admin.PutPolicy(r.Context(), put)
	s.put(w, res, err, res.Policy, func() Mutation { return Mutation{Policy: new(s.directory().policy(res.Policy))} }, escaped("policies", put.Name))
}

// knownActions refuses words that mean nothing: a misspelt denial would deny
// nothing.
func knownActions(words []string) *refusal {
	for _, word := range words {
		if word != "*" && !isAction(word) {
			return bad("actions", fmt.Sprintf("actions: %.32q is neither * nor one of %s", word, actionWords()))
		}
	}
	return nil
}

// postToken makes a token: for the caller himself, or for others by who
// administers.
func (s *Server) postToken(w http.ResponseWriter, r *http.Request) {
	put := naming.PutToken{Mode: naming.Create, Actor: actor(r)}
	var user, group, lasts string
	_, wrong := decode(r, fields{"user": &user, "group": &group, "comment": &put.Comment, "expires_in": &lasts, "reason": &put.Reason})
	if wrong == nil && user != "" && group != "" {
		wrong = bad("group", "group: a token is of a user or of a group, not of both")
	}
	if wrong == nil && lasts != "" {
		var life time.Duration
		life, wrong = lifetime(lasts, maxTokenLife)
		put.Expires = new(naming.Micros(time.Now().Add(life).UnixMicro()))
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.known(w, r) {
		return
	}
	owner, ok := s.ownerOf(w, r, user, group)
	if !ok {
		return
	}
	text, hash := auth.NewToken()
	put.Owner, put.Hash = owner, hash
	res, err := s.deps.Access.Admin.PutToken(r.Context(), put)
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	made := s.directory().token(res.Token)
	made.Text = text
	tagged(w, res.Token.Revision)
	written(w, res, Mutation{Token: &made}, escaped("tokens", made.ID))
}

// ownerOf finds whose token is to be made, and whether the caller may; else it
// has answered. Naming nobody means oneself.
func (s *Server) ownerOf(w http.ResponseWriter, r *http.Request, user, group string) (id string, ok bool) {
	self := callerOf(r).principal
	if user == "" && group == "" && !self.Anonymous() {
		return self.ID, true
	}
	if user != "" && user == self.Name && !self.Group || group != "" && group == self.Name && self.Group {
		return self.ID, true
	}
	if !s.administers(w, r) {
		return "", false
	}
	d := s.directory()
	field, name, of := "user", user, d.users
	if group != "" {
		field, name, of = "group", group, d.groups
	}
	if id = of[name]; id == "" {
		problem(w, http.StatusNotFound, field, fmt.Sprintf("%s %q does not exist", field, name))
		return "", false
	}
	return id, s.overMain(w, r, id)
}

// overToken finds the token that the path names, and whether the caller may
// see and revoke it; else it has answered. That of another looks as if it were
// not there to who does not administer.
func (s *Server) overToken(w http.ResponseWriter, r *http.Request) (id string, ok bool) {
	id, wrong := segment(r, "name")
	if wrong != nil {
		wrong.write(w)
		return "", false
	}
	if !s.known(w, r) {
		return "", false
	}
	var t *naming.Token
	for o := range s.deps.World().Tokens() {
		if o.ID == id {
			t = o
		}
	}
	if self := callerOf(r).principal; t != nil && !self.Anonymous() && t.Owner == self.ID {
		return id, true
	}
	if !s.administers(w, r) {
		return "", false
	}
	if t == nil {
		problem(w, http.StatusNotFound, "token", fmt.Sprintf("token %q does not exist", id))
		return "", false
	}
	return id, r.Method == http.MethodGet || s.overMain(w, r, t.Owner)
}

func (s *Server) patchToken(w http.ResponseWriter, r *http.Request) {
	put := naming.PutToken{Mode: naming.Update, Actor: actor(r)}
	_, wrong := decode(r, fields{"comment": &put.Comment, "disabled": &put.Disabled, "reason": &put.Reason})
	if wrong == nil {
		put.If, wrong = revision(r)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	var ok bool
	if put.ID, ok = s.overToken(w, r); !ok {
		return
	}
	res, err := s.deps.Access.Admin.PutToken(r.Context(), put)
	s.put(w, res, err, res.Token, func() Mutation { return Mutation{Token: new(s.directory().token(res.Token))} }, escaped("tokens", put.ID))
}
