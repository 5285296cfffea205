package web

import (
	"context"
	"net/http"

	"polestar/naming"
)

// deletes is one kind of object that is deleted by name.
type deletes struct {
	path string
	do   func(ctx context.Context, name string, rev naming.Revision, by naming.Actor, reason string) (naming.Result, error)
	form func(d *directory, res naming.Result) Mutation // of what was there
}

// remove deletes what the path names.
func (s *Server) remove(w http.ResponseWriter, r *http.Request, name string, k deletes) {
	rev, reason, wrong := deletion(r)
	if wrong != nil {
		wrong.write(w)
		return
	}
	d := s.directory() // as it is before: members have names
	res, err := k.do(r.Context(), name, rev, actor(r), reason)
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	var m Mutation
	if res.Outcome == naming.Deleted {
		m = k.form(d, res)
	}
	written(w, res, m, escaped(k.path, name))
}

// byName is remove for who administers; also bounds what of the main user.
func (s *Server) byName(w http.ResponseWriter, r *http.Request, k deletes, over func(name string) bool) {
	name, wrong := segment(r, "name")
	if wrong != nil {
		wrong.write(w)
		return
	}
	if s.administers(w, r) && (over == nil || over(name)) {
		s.remove(w, r, name, k)
	}
}

func (s *Server) deleteUser(w http.ResponseWriter, r *http.Request) {
	s.byName(w, r, deletes{"users", func(ctx context.Context, name string, rev naming.Revision, by naming.Actor, reason string) (naming.Result, error) {
		return s.deps.Access.Admin.DeleteUser(ctx, naming.DeleteUser{Name: name, If: rev, Actor: by, Reason: reason})
	}, func(d *directory, res naming.Result) Mutation { return Mutation{User: new(d.user(res.User))} }},
		func(name string) bool { return s.overMain(w, r, s.directory().users[name]) })
}

func (s *Server) deleteGroup(w http.ResponseWriter, r *http.Request) {
	s.byName(w, r, deletes{"groups", func(ctx context.Context, name string, rev naming.Revision, by naming.Actor, reason string) (naming.Result, error) {
		return s.deps.Access.Admin.DeleteGroup(ctx, naming.DeleteGroup{Name: name, If: rev, Actor: by, Reason: reason})
	}, func(d *directory, res naming.Result) Mutation { return Mutation{Group: new(d.group(res.Group))} }}, nil)
}

func (s *Server) deletePolicy(w http.ResponseWriter, r *http.Request) {
	s.byName(w, r, deletes{"policies", func(ctx context.Context, name string, rev naming.Revision, by naming.Actor, reason string) (naming.Result, error) {
		return s.deps.Access.Admin.DeletePolicy(ctx, naming.DeletePolicy{Name: name, If: rev, Actor: by, Reason: reason})
	}, func(d *directory, res naming.Result) Mutation { return Mutation{Policy: new(d.policy(res.Policy))} }}, nil)
}

func (s *Server) deleteToken(w http.ResponseWriter, r *http.Request) {
	id, ok := s.overToken(w, r)
	if !ok {
		return
	}
	s.remove(w, r, id, deletes{"tokens", func(ctx context.Context, id string, rev naming.Revision, by naming.Actor, reason string) (naming.Result, error) {
		return s.deps.Access.Admin.DeleteToken(ctx, naming.DeleteToken{ID: id, If: rev, Actor: by, Reason: reason})
	}, func(d *directory, res naming.Result) Mutation { return Mutation{Token: new(d.token(res.Token))} }})
}
