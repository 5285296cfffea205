package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/e2e/harness"
)

// settings changes the metadata of service "cart" in namespace default.
type settings struct {
	server *harness.Server
	now    map[string]string
}

// set makes the settings equal to pairs (key=value, without the prefix), and
// waits until every client has accepted what follows from them: a refusal fails
// the test.
func (s *settings) set(t *testing.T, pairs ...string) {
	t.Helper()
	want, args := map[string]string{}, []string{"update", "service", "default/cart", "--server", s.server.HTTP}
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		want["polestar/"+key] = value
	}
	for key := range s.now {
		if _, stays := want[key]; !stays {
			args = append(args, "--metadata", key+"-")
		}
	}
	for key, value := range want {
		args = append(args, "--metadata", key+"="+value)
	}
	if !maps.Equal(s.now, want) {
		if _, err := harness.Run(args...); err != nil {
			t.Fatal(err)
		}
	}
	s.now = want
	if out, err := harness.Run("wait", "--server", s.server.HTTP, "--timeout", "1m"); err != nil {
		t.Fatalf("%q: %v\n%s", pairs, err, out)
	}
}

// startAt starts a client of each kind that says where it is.
func startAt(t *testing.T, s *harness.Server, place ...string) fleet {
	t.Helper()
	var out fleet
	for _, language := range []string{"go", "java", "python", "node"} {
		call := viaChild(harness.StartGRPC(t, language, bootstrapFile(t, "grpc", append(place, "--xds-addr", s.XDS, "--node-id", language)...), "xds:///cart.default"))
		k := kind{name: "gRPC " + language, keepLast: language == "java"}
		out = append(out, &member{kind: k, direct: call, call: call})
	}
	e := envoyOf(t, s, place...)
	call := func(n int) harness.Counts { return e.Get("cart", n) }
	return append(out, &member{kind: kind{name: "Envoy"}, direct: call, call: call})
}

// envoyOf starts an Envoy with a changed bootstrap; at the end it must not have
// refused anything.
func envoyOf(t *testing.T, s *harness.Server, args ...string) *harness.Envoy {
	t.Helper()
	egress, admin := harness.FreeAddr(), harness.FreeAddr()
	path := bootstrapFile(t, "envoy", append(args, "--xds-addr", s.XDS, "--egress-address", egress, "--admin-address", admin)...)
	return launch(t, path, egress, admin)
}

func launch(t *testing.T, path, egress, admin string) *harness.Envoy {
	t.Helper()
	e, err := harness.LaunchEnvoy(path, egress, admin)
	if err != nil {
		t.Fatal(err)
	}
	harness.ShowOnFailure(t, "envoy", e.Log)
	t.Cleanup(func() {
		e.CheckNothingRefused(t)
		e.Stop()
	})
	return e
}

// bootstrapFile writes what polestar bootstrap prints.
func bootstrapFile(t *testing.T, client string, args ...string) string {
	t.Helper()
	config, err := harness.Run(append([]string{"bootstrap", client}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bootstrap.yaml") // Envoy goes by the name; JSON is YAML
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func inZone(zone string) func(*service_manage.Instance) {
	return func(i *service_manage.Instance) {
		i.Location = &model.Location{Region: wrapperspb.String("r"), Zone: wrapperspb.String(zone)}
	}
}

func asName(i *service_manage.Instance) { i.Host = wrapperspb.String("localhost") }

// semantics is one world in which clients of all kinds follow settings.
type semantics struct {
	*settings
	fleet   fleet
	reg     *harness.Registrar
	a, b, c *harness.Backend
	put     map[string]*service_manage.Instance // what is registered, by host and port
}

func (x *semantics) register(t *testing.T, addr string, set ...func(*service_manage.Instance)) {
	t.Helper()
	i := harness.Instance("cart", addr, set...)
	if err := x.reg.Put(i); err != nil {
		t.Fatal(err)
	}
	x.put[fmt.Sprint(i.GetHost(), i.GetPort())] = i
}

func (x *semantics) clear(t *testing.T) {
	t.Helper()
	for key, i := range x.put {
		if err := x.reg.Remove(i); err != nil {
			t.Fatal(err)
		}
		delete(x.put, key)
	}
}

// TestTrafficFollowsSettings takes real clients of all kinds through what the
// metadata of a service can say.
func TestTrafficFollowsSettings(t *testing.T) {
	s := harness.StartServer(t)
	x := &semantics{
		settings: &settings{server: s}, reg: harness.Connect(t, s.Polaris), put: map[string]*service_manage.Instance{},
		a: harness.StartBackend(t, "a"), b: harness.StartBackend(t, "b"), c: harness.StartBackend(t, "c"),
	}
	x.register(t, x.a.Addr, inZone("z1"))
	x.register(t, x.b.Addr, inZone("z2"))
	x.fleet = startAt(t, s, "--region", "r", "--zone", "z1")
	x.fleet.onlyFrom(t, "a", "b")
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"AcceptedByAll", x.acceptedByAll},
		{"AllUnhealthy", x.allUnhealthy},
		{"Nearby", x.nearby},
		{"AdditionalAddresses", x.additional},
		{"Names", x.names},
	} {
		if !t.Run(step.name, step.run) {
			return // the next one needs its end
		}
	}
}

// acceptedByAll: no client refuses what any setting makes of cluster, endpoints
// and routes, and traffic goes on.
func (x *semantics) acceptedByAll(t *testing.T) {
	for _, pairs := range [][]string{
		{"lb-policy=least_request", "slow-start=1s"},
		{"lb-policy=random"},
		{"lb-policy=weighted_round_robin"},
		{"lb-policy=ring_hash", "hash-header=x-user"},
		{"lb-policy=maglev", "hash-header=x-user", "locality-lb=weighted"},
		{"locality-lb=zone_aware", "panic-threshold=30"},
		{"outlier-consecutive-5xx=5", "outlier-success-rate=1.9", "outlier-failure-percentage=80", "outlier-interval=1s", "outlier-max-ejection=50"},
		{"outlier-consecutive-5xx=5"},
		{"connect-timeout=1s", "request-timeout=5s", "retries=2", "retry-on=5xx,unavailable,reset", "per-try-timeout=2s"},
		{"max-connections=100", "max-pending-requests=100", "max-requests=100", "max-retries=0"},
		{"subset-keys=version;env,version", "locality-lb=weighted"},
		{"subset-keys=version", "subset-fallback=none"},
		{},
	} {
		x.set(t, pairs...)
		x.fleet.onlyFrom(t, "a", "b")
	}
}

// allUnhealthy: when no instance is healthy all get traffic, unless that is
// forbidden.
func (x *semantics) allUnhealthy(t *testing.T) {
	x.register(t, x.a.Addr, inZone("z1"), harness.Healthy(false))
	x.fleet.onlyFrom(t, "b")
	x.register(t, x.b.Addr, inZone("z2"), harness.Healthy(false))
	x.fleet.onlyFrom(t, "a", "b")
	x.set(t, "panic-threshold=0")
	x.fleet.each(t, soon, func(m *member) error {
		if c := m.call(3); c.Errors < 3 && !m.keepLast {
			return fmt.Errorf("answered by %v", c.By)
		}
		return nil
	})
	x.set(t)
	x.register(t, x.a.Addr, inZone("z1"))
	x.register(t, x.b.Addr, inZone("z2"))
	x.fleet.onlyFrom(t, "a", "b")
}

// nearby: the own zone first, and the share of what is not healthy there goes
// farther.
func (x *semantics) nearby(t *testing.T) {
	x.set(t, "nearby=zone", "nearby-overflow=100")
	x.fleet.onlyFrom(t, "a")
	x.register(t, x.a.Addr, inZone("z1"), harness.Healthy(false))
	x.fleet.onlyFrom(t, "b")
	x.register(t, x.a.Addr, inZone("z1"))
	x.fleet.onlyFrom(t, "a")
	x.register(t, x.c.Addr, inZone("z1"), harness.Healthy(false))
	x.fleet.split(t, "a", 0.5)
	x.fleet.onlyFrom(t, "a", "b")
	x.set(t, "nearby=zone", "nearby-overflow=50")
	x.fleet.onlyFrom(t, "a")
	x.set(t, "nearby=zone", "nearby-overflow=100", "lb-policy=ring_hash", "hash-header=x-user")
	x.fleet.split(t, "a", 0.5)
	x.set(t, "nearby=zone", "nearby-limit=zone")
	x.register(t, x.a.Addr, inZone("z1"), harness.Isolated(true))
	x.fleet.onlyFrom(t, "c") // the only one in the zone, and not healthy
	x.set(t)
	x.register(t, x.a.Addr, inZone("z1"), harness.Isolated(false))
	x.fleet.onlyFrom(t, "a", "b")
}

// additional: an instance is reached by a further address when its host does
// not answer.
func (x *semantics) additional(t *testing.T) {
	x.clear(t)
	x.register(t, harness.FreeAddr(), func(i *service_manage.Instance) {
		i.Metadata = map[string]string{"polestar/additional-addresses": x.a.Addr}
	})
	x.fleet.each(t, soon, func(m *member) error {
		if m.name == "gRPC java" { // its flag is off
			return nil
		}
		return answeredBy(m.call, "a")
	})
}

// names: a service whose oldest instance is a name is found by DNS. gRPC takes
// one of its instances.
func (x *semantics) names(t *testing.T) {
	x.clear(t)
	isGRPC := func(m *member) bool { return strings.HasPrefix(m.name, "gRPC") }
	x.register(t, x.a.Addr, asName)
	x.fleet.onlyFrom(t, "a")
	x.register(t, x.b.Addr, asName)
	x.register(t, x.c.Addr) // an address among names
	x.fleet.each(t, soon, func(m *member) error {
		if !isGRPC(m) {
			return answeredBy(m.call, "a", "b", "c")
		}
		if c := m.call(12); c.Errors > 0 || len(c.By) != 1 {
			return fmt.Errorf("answered by %v, %d failed: %s", c.By, c.Errors, c.Last)
		}
		return nil
	})
	x.register(t, x.a.Addr, asName, harness.Healthy(false))
	x.register(t, x.c.Addr, harness.Isolated(true))
	x.fleet.onlyFrom(t, "b")
	x.register(t, x.a.Addr, asName, harness.Weight(300))
	x.fleet.each(t, soon, func(m *member) error {
		if isGRPC(m) {
			return nil
		}
		return shared(m.call, "a", 0.75)
	})
	if out, err := harness.Run("get", "problems", "--server", x.server.HTTP); err != nil || !strings.Contains(string(out), "gRPC takes one name") {
		t.Errorf("%v: %s", err, out)
	}
	x.clear(t)
	x.register(t, x.b.Addr)
	x.fleet.onlyFrom(t, "b")
}

// forgetful makes a gRPC client drop what no longer exists; it keeps it by
// default, so that a server that lost its data takes nothing from it.
func forgetful(t *testing.T, bootstrap string) {
	t.Helper()
	config, err := os.ReadFile(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(config), `"ignore_resource_deletion"`, `"x"`, 1)
	if err := os.WriteFile(bootstrap, []byte(changed), 0o600); err != nil || changed == string(config) {
		t.Fatalf("%v: %s", err, config)
	}
}

// TestWhoMaySeeAService: what a namespace may not see does not exist for its
// clients, under none of its names.
func TestWhoMaySeeAService(t *testing.T) {
	s := harness.StartServer(t)
	reg := harness.Connect(t, s.Polaris)
	a := harness.StartBackend(t, "a")
	if err := reg.Put(harness.Instance("cart", a.Addr)); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		if _, err := harness.Run(append(args, "--server", s.HTTP)...); err != nil {
			t.Fatal(err)
		}
	}
	run("create", "namespace", "shop")
	run("create", "alias", "shop/basket", "--for", "default/cart")

	e := envoyOf(t, s, "--namespace", "shop", "--delta")
	calls := map[string]caller{}
	for _, host := range []string{"cart.default", "basket.shop", "basket"} {
		calls["Envoy "+host] = func(n int) harness.Counts { return e.Get(host, n) }
	}
	bootstrap := bootstrapFile(t, "grpc", "--namespace", "shop", "--xds-addr", s.XDS)
	forgetful(t, bootstrap)
	for _, target := range []string{"cart.default", "basket.shop"} {
		calls["gRPC Go "+target] = viaChild(harness.StartGRPC(t, "go", bootstrap, "xds:///"+target))
	}
	each := func(why string, check func(caller) error) {
		t.Helper()
		for _, name := range slices.Sorted(maps.Keys(calls)) {
			if err := harness.Poll(soon, func() error { return check(calls[name]) }); err != nil {
				t.Errorf("%s, %s: %v", why, name, err)
			}
		}
	}
	sees := func(c caller) error { return answeredBy(c, "a") }
	hidden := func(c caller) error {
		if got := c(2); got.Errors < 2 {
			return errors.New("it is answered")
		}
		return nil
	}
	each("a service without a word on visibility, and its alias", sees)
	run("update", "service", "default/cart", "--export-to", "other")
	each("exported to another namespace", hidden)
	run("update", "service", "default/cart", "--export-to", "other", "--export-to", "shop")
	each("exported to this one, too", sees)
	run("update", "service", "default/cart", "--export-to", "default")
	each("kept for its own namespace", hidden)
	run("update", "service", "default/cart", "--export-to", "*")
	each("exported to all", sees)
}
