package e2e

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"polestar/auth"
	"polestar/naming"
	"polestar/naming/registry"
	"polestar/xds"
	"polestar/xds/access"
	"polestar/xds/ads"
	viewed "polestar/xds/node"

	"polestar/e2e/harness"
)

// guarded is an xDS door that asks who is there, in this process: what decides
// is real, and so are the clients.
type guarded struct {
	addr   string
	engine *auth.Engine
	ads    *ads.Server
	state  atomic.Pointer[principals]
}

// principals are the users of a door, and what each may read.
type principals struct {
	revision naming.Revision
	users    []*naming.User
	tokens   []*naming.Token
	policies []*naming.Policy
}

func (p *principals) Users() iter.Seq[*naming.User]      { return slices.Values(p.users) }
func (p *principals) Groups() iter.Seq[*naming.Group]    { return slices.Values([]*naming.Group(nil)) }
func (p *principals) Tokens() iter.Seq[*naming.Token]    { return slices.Values(p.tokens) }
func (p *principals) Policies() iter.Seq[*naming.Policy] { return slices.Values(p.policies) }
func (p *principals) AccessRevision() naming.Revision    { return p.revision }
func (p *principals) Loads() uint64                      { return 0 }

// user adds one who may read a namespace, and returns its token.
func (p *principals) user(name, namespace string) string {
	text, hash := auth.NewToken()
	id := fmt.Sprintf("%032d", len(p.users))
	p.users = append(p.users, &naming.User{ID: id, Name: name})
	p.tokens = append(p.tokens, &naming.Token{ID: id, Owner: id, Hash: hash})
	p.policies = append(p.policies, &naming.Policy{
		ID: id, Name: name, Users: []string{id}, Actions: []string{string(auth.Read)},
		Resources: []naming.Selector{{Namespace: namespace, Service: "*"}},
	})
	return text
}

// disable switches the token of a user off.
func (g *guarded) disable(name string) {
	next := *g.state.Load()
	next.revision++
	next.tokens = slices.Clone(next.tokens)
	for n, u := range next.users {
		if u.Name == name {
			off := *next.tokens[n]
			off.Disabled = true
			next.tokens[n] = &off
		}
	}
	g.state.Store(&next)
	g.engine.Refresh()
}

// startGuarded serves a backend as a service of each namespace.
func startGuarded(t *testing.T, p *principals, backends map[string]*harness.Backend) *guarded {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g := &guarded{}
	p.revision = 1
	g.state.Store(p)
	world, metrics := registry.New(), prometheus.NewRegistry()
	commit := naming.Commit{Revision: 1}
	for namespace, b := range backends {
		key := naming.ServiceKey{Namespace: namespace, Name: "cart"}
		host, text, err := net.SplitHostPort(b.Addr)
		must(err)
		port, err := strconv.ParseUint(text, 10, 16)
		must(err)
		commit.Changes = append(commit.Changes, naming.Change{After: &naming.Service{Key: key, Revision: 1}},
			naming.Change{After: &naming.Instance{ID: namespace, Service: key, Host: host, Port: uint32(port), Weight: 100, Healthy: true, Revision: 1}})
	}
	must(world.Apply(commit))
	on := auth.Switch{Open: true, Strict: true}
	var err error
	g.engine, err = auth.New(auth.Config{Client: on, Console: on}, auth.Deps{Source: func() auth.Source { return g.state.Load() }, Metrics: metrics})
	must(err)
	pipeline, err := xds.New(xds.Deps{Registry: world, Metrics: metrics, Log: zap.NewNop()})
	must(err)
	g.ads, err = ads.New(ads.Deps{
		Cache: pipeline.Cache(), Revision: pipeline.Revision, Node: func(n *corev3.Node) (ads.View, error) { return viewed.Parse(n) },
		Access: access.New(access.Deps{Gate: g.engine, World: world.World}), Ready: func() bool { return true }, Metrics: metrics, Log: zap.NewNop(),
	})
	must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	g.addr = listener.Addr().String()
	door := grpc.NewServer(grpc.ForceServerCodecV2(ads.Codec()))
	g.ads.Register(door)
	for _, run := range []func(context.Context) error{func(context.Context) error { return door.Serve(listener) }, g.engine.Run, pipeline.Run, g.ads.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(door.Stop)
	return g
}

// connected is nil when one stream of a principal is open.
func (g *guarded) connected(who string) error {
	for _, c := range g.ads.Clients() {
		if c.Principal.Name == who {
			return nil
		}
	}
	return errors.New(who + " has no stream")
}

// bootstrap writes the first config of a client.
func (g *guarded) bootstrap(t *testing.T, args ...string) (path string) {
	t.Helper()
	out, err := harness.Run(append([]string{"bootstrap"}, append(args, "--xds-addr", g.addr)...)...)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "bootstrap.yaml") // Envoy goes by the ending
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEnvoysSeeWhatTheirPrincipalMayRead: real Envoys with the token of one
// principal, of another, with a wrong one and with none.
func TestEnvoysSeeWhatTheirPrincipalMayRead(t *testing.T) {
	for _, delta := range []bool{false, true} {
		t.Run("delta="+strconv.FormatBool(delta), func(t *testing.T) {
			shop, bank := harness.StartBackend(t, "of-shop"), harness.StartBackend(t, "of-bank")
			p := &principals{}
			alice, bob := p.user("alice", "shop"), p.user("bob", "bank")
			g := startGuarded(t, p, map[string]*harness.Backend{"shop": shop, "bank": bank})
			start := func(id, namespace, token, stat string) *harness.Envoy {
				egress, admin := harness.FreeAddr(), harness.FreeAddr()
				args := []string{
					"envoy", "--node-id", id, "--namespace", namespace, "--egress-address", egress, "--admin-address", admin,
					"--delta=" + strconv.FormatBool(delta),
				}
				if token != "" {
					args = append(args, "--token", token)
				}
				e, err := harness.LaunchEnvoyUntil(g.bootstrap(t, args...), egress, admin, stat)
				if err != nil {
					t.Fatal(err)
				}
				harness.ShowOnFailure(t, id, e.Log)
				t.Cleanup(e.Stop)
				return e
			}
			const listens, refused = "listener_manager.total_listeners_active", "cluster_manager.cds.update_failure"
			ofAlice, ofBob := start("a", "shop", alice, listens), start("b", "bank", bob, listens)
			for _, c := range []struct {
				envoy              *harness.Envoy
				own, other, answer string
			}{{ofAlice, "cart.shop", "cart.bank", "of-shop"}, {ofBob, "cart.bank", "cart.shop", "of-bank"}} {
				onlyFrom(t, func(n int) harness.Counts { return c.envoy.Get(c.own, n) }, c.answer)
				if got := c.envoy.Get(c.other, 3); got.Errors != 3 {
					t.Errorf("%s: %+v", c.other, got)
				}
			}
			for id, token := range map[string]string{"wrong": alice + "x", "none": ""} {
				start(id, "shop", token, refused)
			}
			start("foreign", "bank", alice, refused) // hers is the token, not the namespace
			if all := g.ads.Clients(); len(all) != 2 {
				t.Errorf("connected are %+v", all)
			}
			began := time.Now()
			g.disable("alice")
			if err := harness.Poll(soon, func() error {
				if g.connected("alice") == nil {
					return errors.New("alice is still connected")
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			t.Logf("revoked after %s", time.Since(began))
			// Losing the right to ask loses no traffic: the last config stays.
			onlyFrom(t, func(n int) harness.Counts { return ofAlice.Get("cart.shop", n) }, "of-shop")
			if err := g.connected("bob"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestGRPCShowsItsToken: proxyless gRPC shows its token in the node.
func TestGRPCShowsItsToken(t *testing.T) {
	shop, bank := harness.StartBackend(t, "of-shop"), harness.StartBackend(t, "of-bank")
	p := &principals{}
	alice := p.user("alice", "shop")
	g := startGuarded(t, p, map[string]*harness.Backend{"shop": shop, "bank": bank})
	call := func(token, target string) caller {
		c := harness.StartGRPC(t, "go", g.bootstrap(t, "grpc", "--node-id", "grpc-"+target, "--namespace", "shop", "--token", token), "xds:///"+target)
		return func(n int) (out harness.Counts) {
			if err := c.Do(fmt.Sprint("calls ", n), &out); err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	onlyFrom(t, call(alice, "cart.shop"), "of-shop")
	if got := call(alice, "cart.bank")(1); got.Errors != 1 {
		t.Errorf("another's service: %+v", got)
	}
	if got := call(alice+"x", "cart.shop")(1); got.Errors != 1 {
		t.Errorf("a wrong token: %+v", got)
	}
	for _, c := range g.ads.Clients() {
		if n := g.ads.Identity(c.ID); c.Principal.Name != "alice" || n.GetMetadata().GetFields()[access.KeyToken] != nil {
			t.Errorf("%+v, %v", c.Principal, n)
		}
	}
}
