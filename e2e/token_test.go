package e2e

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/auth"
	"polestar/e2e/harness"
	"polestar/internal/grpcserver"
	"polestar/naming"
	"polestar/naming/polaris"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
)

// people are a state of users, tokens and policies.
type people struct {
	users    []*naming.User
	tokens   []*naming.Token
	policies []*naming.Policy
}

func (p people) Users() iter.Seq[*naming.User]        { return slices.Values(p.users) }
func (people) Groups() iter.Seq[*naming.Group]        { return func(func(*naming.Group) bool) {} }
func (p people) Tokens() iter.Seq[*naming.Token]      { return slices.Values(p.tokens) }
func (p people) Policies() iter.Seq[*naming.Policy]   { return slices.Values(p.policies) }
func (people) AccessRevision() (none naming.Revision) { return none }
func (people) Loads() uint64                          { return 0 }

// shelf is a store in memory behind a door.
type shelf struct {
	*registry.Registry
	store store.Store
	turn  chan struct{} // one commit at a time
}

// Do implements naming.Writer.
func (s *shelf) Do(ctx context.Context, w naming.Write) (naming.Result, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	commit, results, err := s.store.Apply(ctx, []naming.Write{w})
	if err != nil {
		return naming.Result{}, err
	}
	return results[0], s.Apply(commit)
}

// Beat implements naming.Beats.
func (s *shelf) Beat(id string) bool { return s.World().Instance(id) != nil }

// strictDoor serves Polaris SDKs, and asks all of them for their tokens.
func strictDoor(t *testing.T, p people) (addr string) {
	t.Helper()
	metrics := prometheus.NewRegistry()
	gate, err := auth.New(auth.Config{Client: auth.Switch{Open: true, Strict: true}}, auth.Deps{
		Source: func() auth.Source { return p }, Metrics: metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{Registry: registry.New(), store: memory.New(store.DefaultLogBounds()), turn: make(chan struct{}, 1)}
	door, err := grpcserver.New(grpcserver.Default("polaris", "127.0.0.1:0"), metrics, zap.NewNop(), polaris.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	polaris.New(polaris.Deps{
		Registry: naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: s, World: s, Beats: s}),
		World:    s, Auth: gate, Log: zap.NewNop(), Ready: func() bool { return true },
	}).Register(door.GRPC())
	if err := door.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- door.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return door.Addr().String()
}

// An SDK with the token of somebody who may works as without tokens; with any
// other token each of its calls is told why, and none hangs.
func TestTokensOfSDKs(t *testing.T) {
	right, hash := auth.NewToken()
	off, offHash := auth.NewToken()
	old, oldHash := auth.NewToken()
	other, otherHash := auth.NewToken()
	addr := strictDoor(t, people{
		users: []*naming.User{{ID: "ann", Name: "ann"}, {ID: "bob", Name: "bob"}},
		tokens: []*naming.Token{
			{ID: "1", Owner: "ann", Hash: hash},
			{ID: "2", Owner: "ann", Hash: offHash, Disabled: true},
			{ID: "3", Owner: "ann", Hash: oldHash, Expires: naming.Micros(time.Now().Add(-time.Hour).UnixMicro())},
			{ID: "4", Owner: "bob", Hash: otherHash},
		},
		policies: []*naming.Policy{
			{ID: "1", Name: "ann", Users: []string{"ann"}, Actions: []string{"*"}, Resources: []naming.Selector{{Namespace: "default", Service: "*"}}},
			{ID: "2", Name: "bob", Users: []string{"bob"}, Actions: []string{"*"}, Resources: []naming.Selector{{Namespace: "elsewhere", Service: "*"}}},
		},
	})
	bin, err := harness.Binary("drivers/polarisgo", ".")
	if err != nil {
		t.Fatal(err)
	}
	start := func(token string) *sdk {
		return &sdk{Child: harness.StartChild(t, []string{"HOME=" + t.TempDir(), "POLARIS_TOKEN=" + token}, bin, addr)}
	}
	may := start(right)
	may.do(t, "register cart 10.0.0.1 80 5 100")
	may.do(t, "heartbeat cart 10.0.0.1 80")
	if all := may.instances(t, "all cart"); len(all) != 1 {
		t.Errorf("with the right token the SDK shows %+v", all)
	}
	if one := may.instances(t, "one cart"); len(one) != 1 {
		t.Errorf("with the right token the SDK chooses from %+v", one)
	}
	for name, c := range map[string]struct{ token, why string }{
		"none":            {"", "no token and no client certificate"},
		"wrong":           {"junk", "not one that exists"},
		"disabled":        {off, "is disabled"},
		"expired":         {old, "has run out"},
		"somebody else's": {other, "bob is not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(c.token)
			for _, command := range []string{
				"register cart 10.0.0.2 80 5 100", "heartbeat cart 10.0.0.1 80", "deregister cart 10.0.0.1 80", "all cart", "one cart",
			} {
				if err := s.Do(command, nil); err == nil || !strings.Contains(err.Error(), c.why) {
					t.Errorf("%s: %v, want a refusal with %q", command, err, c.why)
				}
			}
		})
	}
	if all := may.instances(t, "all cart"); len(all) != 1 || all[0].Host != "10.0.0.1" {
		t.Errorf("after all of them the SDK shows %+v", all)
	}
	may.do(t, "deregister cart 10.0.0.1 80")
}
