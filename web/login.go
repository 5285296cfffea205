package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"polestar/auth"
	"polestar/naming"
)

// The lifetimes of tokens that a login makes.
const (
	defaultLogin = 12 * time.Hour
	maxLogin     = 30 * 24 * time.Hour
)

// LoggedIn answers a login.
type LoggedIn struct {
	Token   string `json:"token"` // its text; it is told once
	ID      string `json:"id"`
	Expires string `json:"expires"`
	User    string `json:"user"`
	user    *naming.User
}

// Of is whose login it is.
func (l *LoggedIn) Of() *naming.User { return l.user }

// login makes a token for who knows a password. What it answers, and how long
// that takes, does not tell whether the name exists.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var name, password, lasts string
	_, wrong := decode(r, fields{"name": &name, "password": &password, "expires_in": &lasts})
	life := defaultLogin
	if wrong == nil && lasts != "" {
		life, wrong = lifetime(lasts, maxLogin)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	in, err := s.Login(r.Context(), visitor(r), "POST /api/v1/login", name, password, life)
	if refused := (*auth.Error)(nil); errors.As(err, &refused) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="polestar"`)
		problem(w, http.StatusUnauthorized, "", refused.Msg)
		return
	}
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	answer(w, http.StatusCreated, in)
}

// Login makes a token of a lifetime for who knows a user's password; zero is
// that of a login without one. by is where the request came from, method what
// it is called. Error: *auth.Error when the name or the password is wrong, of
// naming when there were too many attempts or the token cannot be stored.
func (s *Server) Login(ctx context.Context, by naming.Actor, method, name, password string, life time.Duration) (LoggedIn, error) {
	if err := s.deps.Access.Attempts.Try(by.Address, name); err != nil {
		return LoggedIn{}, err
	}
	u, err := s.passwordHolds(ctx, name, password)
	if err != nil {
		return LoggedIn{}, err
	}
	if u == nil {
		s.deps.Access.Count(auth.AdminAPI, errLogin.Reason)
		s.deps.Refused(auth.Refusal{
			Principal: auth.Principal{Name: name}, Address: by.Address, Method: method, Reason: auth.NoCredentials,
		})
		return LoggedIn{}, errLogin
	}
	by.Principal, by.ID = u.Name, u.ID
	s.forgetExpired(ctx, u.ID, by)
	text, hash := auth.NewToken()
	expires := naming.Micros(time.Now().Add(cmp.Or(life, defaultLogin)).UnixMicro())
	res, err := s.deps.Access.Admin.PutToken(ctx, naming.PutToken{
		Mode: naming.Create, Owner: u.ID, Hash: hash, Comment: new("login"), Expires: &expires, Actor: by,
	})
	if err != nil {
		return LoggedIn{}, err
	}
	return LoggedIn{Token: text, ID: res.Token.ID, Expires: micros(expires), User: u.Name, user: u}, nil
}

// errLogin is the refusal of a login, for whatever reason.
var errLogin = &auth.Error{Reason: auth.NoCredentials, Msg: "the name or the password is wrong, or the user is disabled"}

// passwordHolds returns the user of a name when the password is his, else nil.
func (s *Server) passwordHolds(ctx context.Context, name, password string) (*naming.User, error) {
	var found naming.User
	for u := range s.deps.World().Users() {
		if u.Name == name && !u.Disabled {
			found = *u
		}
	}
	ok, err := s.deps.Access.Passwords.Verify(ctx, found.Password, password)
	if err != nil || !ok {
		return nil, err
	}
	return &found, nil
}

// maxForgotten bounds the tokens that one login clears away.
const maxForgotten = 16

// forgetExpired removes tokens of a user that ran out, or each login would
// leave one for ever. What cannot be removed now is at the next login.
func (s *Server) forgetExpired(ctx context.Context, owner string, by naming.Actor) {
	now, ids := naming.Micros(time.Now().UnixMicro()), []string{}
	for t := range s.deps.World().Tokens() {
		if t.Owner == owner && t.Expires != 0 && t.Expires < now && len(ids) < maxForgotten {
			ids = append(ids, t.ID)
		}
	}
	for _, id := range ids {
		_, _ = s.deps.Access.Admin.DeleteToken(ctx, naming.DeleteToken{ID: id, Actor: by, Reason: "it ran out"})
	}
}

// lifetime reads how long a token is to hold.
func lifetime(text string, most time.Duration) (time.Duration, *refusal) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > most {
		return 0, bad("expires_in", fmt.Sprintf("expires_in: %.32q is not a time between 1s and %s, such as 12h", text, most))
	}
	return d, nil
}

// Caller says who is calling.
type Caller struct {
	Anonymous bool     `json:"anonymous,omitempty"`
	ID        string   `json:"id,omitempty"`
	Name      string   `json:"name,omitempty"`
	Group     bool     `json:"group,omitempty"` // the token is that of a group
	Main      bool     `json:"main,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	Token     *Token   `json:"token,omitempty"` // that was shown; not there: a certificate
	// Checked is which kinds of API look at who is calling.
	Checked map[string]bool `json:"checked"`
}

// whoami answers everybody who shows no credentials, or such as hold.
func (s *Server) whoami(w http.ResponseWriter, r *http.Request) {
	c := callerOf(r)
	if e, ok := errors.AsType[*auth.Error](c.err); c.err != nil && (!ok || e.Reason != auth.NoCredentials) {
		s.turnDown(w, r, auth.Administer, auth.Resource{}, c.err)
		return
	}
	p := c.principal
	out := Caller{Anonymous: p.Anonymous(), ID: p.ID, Name: p.Name, Group: p.Group, Main: p.Main, Checked: map[string]bool{}}
	for _, api := range []auth.API{auth.ClientAPI, auth.ConsoleAPI} {
		out.Checked[api.String()] = s.deps.Access.Checked(api)
	}
	if !p.Anonymous() {
		d := s.directory()
		out.Groups = d.groupsOf[p.ID]
		for t := range d.Tokens() {
			if t.ID == p.Token {
				out.Token = new(d.token(t))
			}
		}
	}
	answer(w, http.StatusOK, out)
}

// Verdict answers whether somebody may do something, and what decides.
type Verdict struct {
	Allowed  bool      `json:"allowed"`
	Why      string    `json:"why"`
	Policy   string    `json:"policy,omitempty"`
	Selector *Selector `json:"selector,omitempty"` // the resources of the policy that match
}

// mayBe explains a decision: about oneself to everybody, about others to who
// administers.
func (s *Server) mayBe(w http.ResponseWriter, r *http.Request) {
	q, wrong := parse(r, "principal", "action", "namespace", "service", "api")
	if wrong == nil && !isAction(q.text["action"]) {
		wrong = bad("action", fmt.Sprintf("action: %.32q is none of %s", q.text["action"], actionWords()))
	}
	api, known := map[string]auth.API{"": auth.ClientAPI, "client": auth.ClientAPI, "console": auth.ConsoleAPI}[q.text["api"]]
	if wrong == nil && !known {
		wrong = bad("api", fmt.Sprintf("api: %.32q is neither client nor console", q.text["api"]))
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	id := callerOf(r).principal.ID
	if who := q.text["principal"]; who != "" || id == "" {
		if !s.may(w, r, auth.Administer, naming.ServiceKey{}) {
			return
		}
		if id, wrong = s.directory().principal(who); wrong != nil {
			wrong.write(w)
			return
		}
	}
	d := s.deps.Access.Explain(api, id, auth.Action(q.text["action"]), auth.ResourceOf(s.deps.World(), q.key()))
	out := Verdict{Allowed: d.Allowed, Why: d.Why}
	if d.Policy != nil {
		out.Policy, out.Selector = d.Policy.Name, new(Selector(d.Selector))
	}
	answer(w, http.StatusOK, out)
}

func isAction(word string) bool { return slices.Contains(auth.Actions(), auth.Action(word)) }

func actionWords() string {
	words := make([]string, len(auth.Actions()))
	for n, a := range auth.Actions() {
		words[n] = string(a)
	}
	return strings.Join(words, ", ")
}

// principal finds who is meant: a user's name, a group's after "group:", or
// anonymous.
func (d *directory) principal(who string) (string, *refusal) {
	if who == auth.AnonymousUser {
		return "", nil
	}
	of := d.users
	name, isGroup := strings.CutPrefix(who, "group:")
	if isGroup {
		of = d.groups
	}
	id, ok := of[name]
	if !ok {
		return "", &refusal{http.StatusNotFound, "principal", fmt.Sprintf("principal: %.64q does not exist; a user's name, group:NAME or anonymous is expected", who)}
	}
	return id, nil
}
