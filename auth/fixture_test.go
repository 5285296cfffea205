package auth_test

import (
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"polestar/auth"
	"polestar/naming"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// state is a source that a test writes down.
type state struct {
	revision naming.Revision
	loads    uint64
	users    []*naming.User
	groups   []*naming.Group
	tokens   []*naming.Token
	policies []*naming.Policy
}

func (s *state) Users() iter.Seq[*naming.User]      { return slices.Values(s.users) }
func (s *state) Groups() iter.Seq[*naming.Group]    { return slices.Values(s.groups) }
func (s *state) Tokens() iter.Seq[*naming.Token]    { return slices.Values(s.tokens) }
func (s *state) Policies() iter.Seq[*naming.Policy] { return slices.Values(s.policies) }
func (s *state) AccessRevision() naming.Revision    { return s.revision }
func (s *state) Loads() uint64                      { return s.loads }

// id makes an id of its kind and number.
func id(kind byte, n int) string { return fmt.Sprintf("%c%031d", kind, n) }

func (s *state) user(u naming.User) *naming.User {
	u.ID = id('a', len(s.users))
	if u.Name == "" {
		u.Name = fmt.Sprint("user", len(s.users))
	}
	s.users = append(s.users, &u)
	return &u
}

func (s *state) group(members ...string) *naming.Group {
	g := &naming.Group{ID: id('b', len(s.groups)), Name: fmt.Sprint("group", len(s.groups)), Members: members}
	s.groups = append(s.groups, g)
	return g
}

// token makes a token and returns its text.
func (s *state) token(owner string, change ...func(*naming.Token)) string {
	text, hash := auth.NewToken()
	t := &naming.Token{ID: id('c', len(s.tokens)), Owner: owner, Hash: hash}
	for _, f := range change {
		f(t)
	}
	s.tokens = append(s.tokens, t)
	return text
}

func (s *state) policy(p naming.Policy) {
	p.ID, p.Name = id('d', len(s.policies)), fmt.Sprint("policy", len(s.policies))
	s.policies = append(s.policies, &p)
}

// world is a source that changes.
type world struct{ now atomic.Pointer[state] }

func (w *world) set(s *state) {
	if before := w.now.Load(); before != nil {
		s.revision = before.revision + 1
	}
	w.now.Store(s)
}

func checked() auth.Config {
	on := auth.Switch{Open: true, Strict: true}
	return auth.Config{Client: on, Console: on}
}

// fataler is a test of either kind.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func engineOf(t fataler, cfg auth.Config, s *state) (*auth.Engine, *world) {
	t.Helper()
	w := &world{}
	w.set(s)
	e, err := auth.New(cfg, auth.Deps{Source: func() auth.Source { return w.now.Load() }, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return e, w
}

// all selects everything.
var all = []naming.Selector{{Namespace: "*", Service: "*"}}
