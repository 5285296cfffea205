package naming_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"polestar/naming"
)

func id(c string) string { return strings.Repeat(c, 32) }

func hash(c string) string { return strings.Repeat(c, 64) }

// people has a main user, "root", and two others in a group.
func people(t *testing.T) (*shelf, *naming.Registrar) {
	t.Helper()
	s := newShelf()
	r := naming.NewRegistrar(naming.Config{}, naming.Deps{Writer: s, World: s})
	if res, err := r.Bootstrap(t.Context(), naming.Bootstrap{UserID: id("1"), Name: "root", TokenID: id("a"), Hash: hash("a")}); err != nil ||
		res.Outcome != naming.Created {
		t.Fatalf("bootstrap: %+v, %v", res, err)
	}
	for _, w := range []naming.PutUser{{ID: id("2"), Name: "ann", Identities: &[]string{"spiffe://x/ann"}}, {ID: id("3"), Name: "bob"}} {
		if _, err := r.PutUser(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.PutGroup(t.Context(), naming.PutGroup{ID: id("4"), Name: "ops", Members: &[]string{id("3"), id("2"), id("3")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.PutToken(t.Context(), naming.PutToken{ID: id("b"), Mode: naming.Create, Owner: id("2"), Hash: hash("b")}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.PutPolicy(t.Context(), naming.PutPolicy{
		ID: id("c"), Name: "p", Users: &[]string{id("2"), "*"}, Groups: &[]string{id("4")}, Actions: &[]string{"read"},
		Resources: &[]naming.Selector{{Namespace: "*"}},
	}); err != nil {
		t.Fatal(err)
	}
	return s, r
}

func (s *shelf) policy(owner string) *naming.Policy {
	p, _ := s.access["policy"+owner].(*naming.Policy)
	return p
}

func TestUsersAndGroupsComeWithAPolicyForWhatTheyCreate(t *testing.T) {
	s, _ := people(t)
	for _, owner := range []string{id("1"), id("2"), id("3"), id("4")} {
		p := s.policy(owner)
		if p == nil || !p.Default || len(p.Resources) != 1 || !p.Resources[0].Created || p.Deny {
			t.Errorf("default policy of %s: %+v", owner, p)
		}
	}
	if p := s.policy(id("4")); p == nil || p.Name != "default-group-ops" || len(p.Users) != 0 || p.Groups[0] != id("4") {
		t.Errorf("default policy of the group: %+v", p)
	}
}

func TestBootstrapHappensOnce(t *testing.T) {
	s, r := people(t)
	res, err := r.Bootstrap(t.Context(), naming.Bootstrap{Name: "other", Hash: hash("f")})
	if err != nil || res.Outcome != naming.Unchanged || len(s.access) != 11 {
		t.Errorf("%+v, %v; %d objects", res, err, len(s.access))
	}
}

func TestWhoGoesIsForgotten(t *testing.T) {
	s, r := people(t)
	res, err := r.DeleteUser(t.Context(), naming.DeleteUser{Name: "ann"})
	if err != nil || res.Outcome != naming.Deleted || res.User.Name != "ann" {
		t.Fatalf("%+v, %v", res, err)
	}
	if s.policy(id("2")) != nil || s.access["token"+id("b")] != nil {
		t.Error("the default policy or the token is still there")
	}
	if g := s.access["group"+id("4")].(*naming.Group); len(g.Members) != 1 || g.Members[0] != id("3") {
		t.Errorf("members %v", g.Members)
	}
	if p := s.policy(id("c")); len(p.Users) != 1 || p.Users[0] != "*" {
		t.Errorf("users %v of the policy", p.Users)
	}
	if _, err := r.DeleteGroup(t.Context(), naming.DeleteGroup{Name: "ops"}); err != nil {
		t.Fatal(err)
	}
	if p := s.policy(id("c")); len(p.Groups) != 0 || s.policy(id("4")) != nil {
		t.Error("the group is still in a policy, or its own one is there")
	}
	if res, err := r.DeleteUser(t.Context(), naming.DeleteUser{Name: "ann"}); err != nil || res.Outcome != naming.Absent {
		t.Errorf("again: %+v, %v", res, err)
	}
}

func TestAccessWritesThatAreRefused(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		kind naming.ErrorKind
		do   func(r *naming.Registrar) error
	}{
		"last main user deleted": {naming.Conflict, func(r *naming.Registrar) error {
			_, err := r.DeleteUser(t.Context(), naming.DeleteUser{Name: "root"})
			return err
		}},
		"last main user disabled": {naming.Conflict, putUser(naming.PutUser{Name: "root", Disabled: &yes})},
		"last main user demoted":  {naming.Conflict, putUser(naming.PutUser{Name: "root", Main: &no})},
		"user exists":             {naming.Exists, putUser(naming.PutUser{Name: "ann", Mode: naming.Create})},
		"user is not there":       {naming.NotFound, putUser(naming.PutUser{Name: "eve", Mode: naming.Update})},
		"other revision":          {naming.Conflict, putUser(naming.PutUser{Name: "ann", Disabled: &yes, If: 99})},
		"id in use":               {naming.Conflict, putUser(naming.PutUser{ID: id("4"), Name: "eve"})},
		"identity of another":     {naming.Conflict, putUser(naming.PutUser{Name: "bob", Identities: &[]string{"spiffe://x/ann"}})},
		"name":                    {naming.Invalid, putUser(naming.PutUser{Name: "a b"})},
		"name too long":           {naming.Invalid, putUser(naming.PutUser{Name: strings.Repeat("x", 65)})},
		"password in the clear":   {naming.Invalid, putUser(naming.PutUser{Name: "ann", Password: &[]string{"secret"}[0]})},
		"member is not there": {naming.NotFound, func(r *naming.Registrar) error {
			_, err := r.PutGroup(t.Context(), naming.PutGroup{Name: "ops", Members: &[]string{id("9")}})
			return err
		}},
		"owner is not there": {naming.NotFound, putToken(naming.PutToken{Mode: naming.Create, Owner: id("9"), Hash: hash("c")})},
		"text in use":        {naming.Exists, putToken(naming.PutToken{Mode: naming.Create, Owner: id("3"), Hash: hash("b")})},
		"no hash":            {naming.Invalid, putToken(naming.PutToken{Mode: naming.Create, Owner: id("3")})},
		"token is not there": {naming.NotFound, putToken(naming.PutToken{ID: id("9"), Mode: naming.Update, Disabled: &yes})},
		"default principal":  {naming.Conflict, putPolicy(naming.PutPolicy{Name: "default-user-ann", Users: &[]string{id("3")}})},
		"reserved name":      {naming.Invalid, putPolicy(naming.PutPolicy{Name: "default-user-eve"})},
		"principal unknown":  {naming.NotFound, putPolicy(naming.PutPolicy{Name: "q", Users: &[]string{id("9")}})},
		"selector of nothing": {naming.Invalid, putPolicy(naming.PutPolicy{
			Name: "q", Resources: &[]naming.Selector{{Service: "s"}},
		})},
		"default policy alone": {naming.Conflict, func(r *naming.Registrar) error {
			_, err := r.DeletePolicy(t.Context(), naming.DeletePolicy{Name: "default-user-ann"})
			return err
		}},
	} {
		s, r := people(t)
		before := s.head
		if err := c.do(r); err == nil || naming.KindOf(err) != c.kind || err.Error() == "" {
			t.Errorf("%s: %v", name, err)
		}
		if s.head != before {
			t.Errorf("%s: changed something", name)
		}
	}
}

func putUser(w naming.PutUser) func(*naming.Registrar) error {
	return func(r *naming.Registrar) error {
		_, err := r.PutUser(context.Background(), w)
		return err
	}
}

func putToken(w naming.PutToken) func(*naming.Registrar) error {
	return func(r *naming.Registrar) error {
		_, err := r.PutToken(context.Background(), w)
		return err
	}
}

func putPolicy(w naming.PutPolicy) func(*naming.Registrar) error {
	return func(r *naming.Registrar) error {
		_, err := r.PutPolicy(context.Background(), w)
		return err
	}
}

func TestCreatorsAreKept(t *testing.T) {
	s := newShelf()
	r := naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: s, World: s, Beats: noBeats{}})
	port := uint32(80)
	by := naming.Actor{Principal: "ann", ID: id("2")}
	if _, err := r.Register(t.Context(), naming.Registration{Service: naming.ServiceKey{Namespace: "n", Name: "s"}, Host: "10.0.0.1", Port: &port, Actor: by}); err != nil {
		t.Fatal(err)
	}
	other, comment := naming.Actor{Principal: "bob", ID: id("3")}, "c"
	if _, err := r.PutService(t.Context(), naming.PutService{Key: naming.ServiceKey{Namespace: "n", Name: "s"}, Comment: &comment, Actor: other}); err != nil {
		t.Fatal(err)
	}
	if n, svc := s.namespaces["n"], s.services[naming.ServiceKey{Namespace: "n", Name: "s"}]; n.Creator != "" || svc.Creator != id("2") || svc.Comment != "c" {
		t.Errorf("creators %q and %q; a namespace that comes by the way is nobody's", n.Creator, svc.Creator)
	}
	if _, err := r.PutNamespace(t.Context(), naming.PutNamespace{Name: "m", Actor: by}); err != nil || s.namespaces["m"].Creator != id("2") {
		t.Errorf("%+v, %v", s.namespaces["m"], err)
	}
}

type noBeats struct{}

func (noBeats) Beat(string) bool { return true }

func TestRefusalsAreOnlyRecords(t *testing.T) {
	s, r := people(t)
	have := len(s.access)
	if err := r.RecordRefusals(t.Context(), []naming.Refusal{{Principal: "eve\x00" + strings.Repeat("ü", 999), Action: "read", Count: 3}}); err != nil {
		t.Fatal(err)
	}
	if len(s.access) != have {
		t.Error("a refusal is kept as an object")
	}
	if err := r.RecordRefusals(t.Context(), make([]naming.Refusal, naming.MaxRefusals+1)); naming.KindOf(err) != naming.Invalid {
		t.Error(err)
	}
}

// What history shows of a change never has a secret in it.
func TestDifferencesKeepSecrets(t *testing.T) {
	for _, o := range []naming.Object{
		&naming.User{ID: id("1"), Name: "ann", Password: "$argon2id$" + "c2FsdA$aGFzaA"}, &naming.Token{ID: id("2"), Hash: hash("d")},
	} {
		for _, d := range naming.Differences(&naming.Change{After: o}) {
			if text, _ := d.After.(string); strings.Contains(text, "argon2id") || strings.Contains(text, "dddd") {
				t.Errorf("%s shows %q", d.Field, text)
			}
		}
	}
}

// Everybody makes his own tokens: one who makes too many takes no room from the
// others, and can make another one when he has deleted one.
func TestTokensOfOneOwnerAreBounded(t *testing.T) {
	s := newShelf()
	r := naming.NewRegistrar(naming.Config{}, naming.Deps{Writer: s, World: s})
	for n, name := range []string{"ann", "bob"} {
		if _, err := r.PutUser(t.Context(), naming.PutUser{ID: id(fmt.Sprint(n)), Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	put := func(owner string, n int) error {
		text := fmt.Sprintf("%032x", n+1)
		_, err := r.PutToken(t.Context(), naming.PutToken{ID: text, Mode: naming.Create, Owner: owner, Hash: text + text})
		return err
	}
	for n := range naming.MaxTokensOfOne {
		if err := put(id("0"), n); err != nil {
			t.Fatal(n, err)
		}
	}
	if err := put(id("0"), 9000); naming.KindOf(err) != naming.Conflict {
		t.Errorf("one too many: %v", err)
	}
	if err := put(id("1"), 9001); err != nil {
		t.Errorf("of another: %v", err)
	}
	if _, err := r.DeleteToken(t.Context(), naming.DeleteToken{ID: fmt.Sprintf("%032x", 1)}); err != nil {
		t.Fatal(err)
	}
	if err := put(id("0"), 9002); err != nil {
		t.Errorf("after one was deleted: %v", err)
	}
}

// A policy for callers who are not known must not mean a user.
func TestNobodyIsCalledAnonymous(t *testing.T) {
	_, r := people(t)
	if _, err := r.PutUser(t.Context(), naming.PutUser{Mode: naming.Create, Name: naming.NoUser}); naming.KindOf(err) != naming.Invalid {
		t.Error(err)
	}
}
