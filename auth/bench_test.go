package auth_test

import (
	"fmt"
	"testing"

	"polestar/auth"
	"polestar/naming"
)

// busy is an engine with many users, and one of them with some policies.
func busy(t testing.TB) (*auth.Engine, auth.Credentials) {
	s := &state{}
	for range 1000 {
		s.token(s.user(naming.User{}).ID)
	}
	u := s.user(naming.User{})
	g := s.group(u.ID)
	for n := range 10 {
		s.policy(naming.Policy{Users: []string{u.ID}, Actions: []string{"read"}, Resources: []naming.Selector{{Namespace: fmt.Sprint("team-", n), Service: "*"}}})
	}
	s.policy(naming.Policy{Groups: []string{g.ID}, Actions: []string{"*"}, Resources: []naming.Selector{{Namespace: "shop-*", Service: "*"}}})
	token := s.token(u.ID)
	e, _ := engineOf(t, checked(), s)
	return e, auth.Credentials{Token: token}
}

func check(t testing.TB, e *auth.Engine, c auth.Credentials) {
	p, err := e.Authenticate(t.Context(), auth.ClientAPI, c)
	if err == nil {
		err = e.Allow(t.Context(), auth.ClientAPI, p, auth.Heartbeat, auth.Resource{Namespace: "shop-eu", Service: "cart"})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestChecksDoNotAllocate(t *testing.T) {
	e, c := busy(t)
	ctx, ns := t.Context(), &naming.Namespace{Name: "shop-eu"}
	if n := testing.AllocsPerRun(100, func() {
		p, err := e.Authenticate(ctx, auth.ClientAPI, c)
		if err == nil {
			err = e.Allow(ctx, auth.ClientAPI, p, auth.Heartbeat, auth.Resource{Namespace: "shop-eu", Service: "cart"})
		}
		if err == nil && !e.Scope(auth.ClientAPI, p).Sees(ns, nil) {
			t.Error("nothing is seen")
		}
		if err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	e, c := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		check(b, e, c)
	}
}

// What every user, group and policy costs when one of them changes.
func BenchmarkRefresh(b *testing.B) {
	s := &state{}
	for range 10_000 {
		s.token(s.user(naming.User{}).ID)
	}
	s.policy(naming.Policy{Users: []string{"*"}, Actions: []string{"read"}, Resources: all})
	e, w := engineOf(b, checked(), s)
	for b.Loop() {
		next := *s
		w.set(&next)
		e.Refresh()
	}
}
