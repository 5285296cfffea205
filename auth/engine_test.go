package auth_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polestar/auth"
	"polestar/naming"
)

func reason(t testing.TB, err error) auth.Reason {
	t.Helper()
	if err == nil {
		return 0
	}
	var e *auth.Error
	if !errors.As(err, &e) || e.Msg == "" {
		t.Fatalf("%v is no refusal with a text", err)
	}
	return e.Reason
}

// Every kind of credentials, by what an API that is strict, not strict or not
// checked at all makes of them.
func TestAuthenticate(t *testing.T) {
	s := &state{}
	anna := s.user(naming.User{Name: "anna", Identities: []string{"spiffe://x/anna"}})
	off := s.user(naming.User{Name: "off", Disabled: true, Identities: []string{"spiffe://x/off"}})
	team := s.group(anna.ID)
	good := s.token(anna.ID)
	old := naming.Micros(time.Now().Add(-time.Second).UnixMicro())
	later := naming.Micros(time.Now().Add(time.Hour).UnixMicro())
	type shown = auth.Credentials
	for name, c := range map[string]struct {
		shown shown
		who   string
		want  auth.Reason
	}{
		"a token":                         {shown{Token: good}, anna.ID, 0},
		"a token of a group":              {shown{Token: s.token(team.ID)}, team.ID, 0},
		"a token for another hour":        {shown{Token: s.token(anna.ID, func(t *naming.Token) { t.Expires = later })}, anna.ID, 0},
		"nothing":                         {shown{}, "", auth.NoCredentials},
		"an unknown token":                {shown{Token: auth.TokenPrefix + "x"}, "", auth.BadToken},
		"a token in capitals":             {shown{Token: strings.ToUpper(good)}, "", auth.BadToken},
		"a token with a blank":            {shown{Token: good + " "}, "", auth.BadToken},
		"a token of 255 bytes":            {shown{Token: strings.Repeat("x", 255)}, "", auth.BadToken},
		"a token of 256 bytes":            {shown{Token: strings.Repeat("x", 256)}, "", auth.BadToken},
		"a hash":                          {shown{Token: auth.HashToken(good)}, "", auth.BadToken},
		"an expired token":                {shown{Token: s.token(anna.ID, func(t *naming.Token) { t.Expires = old })}, "", auth.Expired},
		"a disabled token":                {shown{Token: s.token(anna.ID, func(t *naming.Token) { t.Disabled = true })}, "", auth.Disabled},
		"a token of a disabled user":      {shown{Token: s.token(off.ID)}, "", auth.Disabled},
		"a token of nobody":               {shown{Token: s.token(id('a', 99))}, "", auth.BadToken},
		"a certificate":                   {shown{Identities: []string{"spiffe://x/anna"}}, anna.ID, 0},
		"a certificate with more names":   {shown{Identities: []string{"spiffe://x/pod", "spiffe://x/anna"}}, anna.ID, 0},
		"an unknown certificate":          {shown{Identities: []string{"spiffe://x/ann", "spiffe://x/anna/"}}, "", auth.BadToken},
		"a certificate of a disabled one": {shown{Identities: []string{"spiffe://x/off"}}, "", auth.Disabled},
		"token and certificate":           {shown{good, []string{"spiffe://x/off"}}, anna.ID, 0},
		"bad token and certificate":       {shown{"bad", []string{"spiffe://x/anna"}}, "", auth.BadToken},
	} {
		t.Run(name, func(t *testing.T) {
			for _, sw := range []auth.Switch{{Open: true, Strict: true}, {Open: true}, {Strict: true}, {}} {
				e, _ := engineOf(t, auth.Config{Client: sw, Console: sw}, s)
				for _, api := range []auth.API{auth.ClientAPI, auth.ConsoleAPI, auth.AdminAPI} {
					open, strict := sw.Open || api == auth.AdminAPI, sw.Strict || api == auth.AdminAPI
					want, who := c.want, c.who
					if !open || !strict {
						want = 0
					}
					if !open {
						who = ""
					}
					p, err := e.Authenticate(t.Context(), api, c.shown)
					if got := reason(t, err); got != want || p.ID != who || p.Group != (who == team.ID) {
						t.Errorf("%v of %+v: %+v, %v; want %q and %v", api, sw, p, err, who, want)
					}
				}
			}
		})
	}
}

// What is not checked is allowed to everybody, but never to administer.
func TestOpenAPIs(t *testing.T) {
	e, _ := engineOf(t, auth.Config{}, &state{})
	for _, api := range []auth.API{auth.ClientAPI, auth.ConsoleAPI} {
		for _, a := range auth.Actions() {
			if err := e.Allow(t.Context(), api, auth.Principal{}, a, auth.Resource{}); (err == nil) != (a != auth.Administer) {
				t.Errorf("%v, %s: %v", api, a, err)
			}
		}
		if s := e.Scope(api, auth.Principal{}); s.Key != "" || s.See != nil {
			t.Errorf("%v: the scope is %+v", api, s)
		}
	}
	if s := e.Scope(auth.AdminAPI, auth.Principal{}); s.Key == "" || s.Sees(&naming.Namespace{Name: "n"}, nil) {
		t.Errorf("the scope of nobody is %+v", s)
	}
}

// A principal that is kept for long is refused as soon as what it showed does
// not hold any more.
func TestKeptPrincipals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *state)
		want   auth.Reason
	}{
		"nothing changed":    {func(*state) {}, 0},
		"the token is gone":  {func(s *state) { s.tokens = nil }, auth.BadToken},
		"the token is off":   {func(s *state) { s.tokens[0].Disabled = true }, auth.Disabled},
		"the token ran out":  {func(s *state) { s.tokens[0].Expires = 1 }, auth.Expired},
		"its owner is off":   {func(s *state) { s.users[0].Disabled = true }, auth.Disabled},
		"its owner is gone":  {func(s *state) { s.users = nil }, auth.BadToken},
		"no policy is there": {func(s *state) { s.policies = nil }, auth.Forbidden},
		"the token is that of another": {func(s *state) {
			s.tokens[0].Owner = s.user(naming.User{}).ID
		}, auth.BadToken},
	} {
		t.Run(name, func(t *testing.T) {
			build := func() *state {
				s := &state{}
				u := s.user(naming.User{})
				s.tokens = []*naming.Token{{ID: id('c', 0), Owner: u.ID, Hash: auth.HashToken("text")}}
				s.policy(naming.Policy{Users: []string{u.ID}, Actions: []string{"*"}, Resources: all})
				return s
			}
			e, w := engineOf(t, checked(), build())
			p, err := e.Authenticate(t.Context(), auth.ClientAPI, auth.Credentials{Token: "text"})
			if err != nil {
				t.Fatal(err)
			}
			next := build()
			c.change(next)
			changed := e.Changed()
			w.set(next)
			e.Refresh()
			select {
			case <-changed:
			default:
				t.Error("nobody was told of the change")
			}
			if got := reason(t, e.Allow(t.Context(), auth.ClientAPI, p, auth.Register, auth.Resource{Namespace: "n", Service: "s"})); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			seen := e.Scope(auth.ClientAPI, p)
			if seen.Sees(&naming.Namespace{Name: "n"}, &naming.Service{Key: naming.ServiceKey{Namespace: "n", Name: "s"}}) != (c.want == 0) {
				t.Errorf("the scope is %+v", seen)
			}
		})
	}
}

// What is taken back is over when it is visible, whether somebody announced it
// already or not.
func TestNewestStateDecides(t *testing.T) {
	s := &state{}
	ann := s.user(naming.User{})
	token := s.token(ann.ID)
	s.policy(naming.Policy{Users: []string{ann.ID}, Actions: []string{"*"}, Resources: all})
	e, w := engineOf(t, checked(), s)
	p, err := e.Authenticate(t.Context(), auth.ClientAPI, auth.Credentials{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	w.set(&state{users: s.users})
	if err := e.Allow(t.Context(), auth.ClientAPI, p, auth.Register, auth.Resource{Namespace: "n", Service: "s"}); err == nil {
		t.Error("allowed by a state that is over")
	}
	if _, err := e.Authenticate(t.Context(), auth.ClientAPI, auth.Credentials{Token: token}); err == nil {
		t.Error("the token still holds")
	}
	if e.Scope(auth.ClientAPI, p).Sees(&naming.Namespace{Name: "n"}, nil) || e.Explain(auth.ClientAPI, ann.ID, auth.Register, auth.Resource{}).Allowed {
		t.Error("the policy still counts")
	}
}

// The same state is not taken over again, and nobody is woken.
func TestRefreshWithoutChange(t *testing.T) {
	e, _ := engineOf(t, checked(), &state{})
	changed := e.Changed()
	e.Refresh()
	select {
	case <-changed:
		t.Error("a change was announced, and there was none")
	default:
	}
	if changed != e.Changed() {
		t.Error("the channel was replaced")
	}
}

// A state that was loaded anew may be another one at the same revision: rows
// were changed by hand.
func TestRefreshAfterALoad(t *testing.T) {
	s := &state{}
	text := s.token(s.user(naming.User{}).ID)
	e, w := engineOf(t, checked(), s)
	changed := e.Changed()
	w.now.Store(&state{revision: s.revision, loads: s.loads + 1, users: s.users})
	e.Refresh()
	select {
	case <-changed:
	default:
		t.Error("the change was not announced")
	}
	if _, err := e.Authenticate(t.Context(), auth.ClientAPI, auth.Credentials{Token: text}); reason(t, err) != auth.BadToken {
		t.Errorf("a token that is not stored any more: %v", err)
	}
}

// Whoever waits is told at the moment when a token runs out: one that was there
// from the start, and one that came later.
func TestExpiriesAreAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(d time.Duration) func(*naming.Token) {
			when := naming.Micros(time.Now().Add(d).UnixMicro())
			return func(t *naming.Token) { t.Expires = when }
		}
		s := &state{}
		u := s.user(naming.User{})
		s.token(u.ID, at(5*time.Minute))
		s.token(u.ID, at(time.Minute), func(t *naming.Token) { t.Disabled = true }) // it held never
		e, w := engineOf(t, checked(), s)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		began := time.Now()
		expect := func(want time.Duration) {
			t.Helper()
			<-e.Changed()
			if got := time.Since(began); got < want || got > want+10*time.Millisecond {
				t.Errorf("announced after %s, want %s", got, want)
			}
		}
		expect(5 * time.Minute)
		next := &state{users: s.users}
		next.token(u.ID, at(10*time.Second))
		next.token(u.ID, at(20*time.Second))
		w.set(next)
		e.Refresh()
		synctest.Wait()
		expect(5*time.Minute + 10*time.Second)
		expect(5*time.Minute + 20*time.Second)
		changed := e.Changed()
		time.Sleep(time.Hour)
		select {
		case <-changed:
			t.Error("announced although nothing ran out")
		default:
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Refusals are counted by API and reason, decisions of the curious are not.
func TestRefusalsAreCounted(t *testing.T) {
	s := &state{}
	u := s.user(naming.User{})
	token := s.token(u.ID)
	w := &world{}
	w.set(s)
	metrics := prometheus.NewRegistry()
	e, err := auth.New(checked(), auth.Deps{Source: func() auth.Source { return w.now.Load() }, Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Authenticate(t.Context(), auth.ClientAPI, auth.Credentials{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = e.Authenticate(t.Context(), auth.ClientAPI, auth.Credentials{})
	_, _ = e.Authenticate(t.Context(), auth.AdminAPI, auth.Credentials{Token: "x"})
	_ = e.Allow(t.Context(), auth.ConsoleAPI, p, auth.Write, auth.Resource{})
	e.Explain(auth.ConsoleAPI, u.ID, auth.Write, auth.Resource{})
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			words := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				words = append(words, l.GetValue())
			}
			if v := m.GetCounter().GetValue() + m.GetGauge().GetValue(); v != 0 {
				got[strings.Join(words, " ")] = v
			}
		}
	}
	for _, line := range []string{
		"polestar_auth_refusals_total admin bad_token", "polestar_auth_refusals_total client no_credentials",
		"polestar_auth_refusals_total console forbidden", "polestar_auth_objects user", "polestar_auth_objects token",
	} {
		if got[line] != 1 {
			t.Errorf("%s is %v, want 1", line, got[line])
		}
		delete(got, line)
	}
	if len(got) != 0 {
		t.Errorf("also counted: %v", got)
	}
}
