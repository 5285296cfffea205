package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// checking are the arguments of a server that asks everybody who he is.
var checking = []string{"--auth.console-open=true", "--auth.client-open=true"}

// must runs commands of the main user.
func must(t *testing.T, s *harness.Server, commands ...string) {
	t.Helper()
	for _, c := range commands {
		if out, err := s.Admin(strings.Fields(c)...); err != nil {
			t.Fatalf("%s: %v: %s", c, err, out)
		}
	}
}

// newToken makes a token for a user.
func newToken(t *testing.T, s *harness.Server, user string, flags ...string) (id, text string) {
	t.Helper()
	out, err := s.Admin(append([]string{"create", "token", "--user", user}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(out)[1], out[strings.LastIndexByte(out, '\n')+1:]
}

// tokenSDKs are a function for each SDK that starts an application with a token.
// Those of polaris-java share a virtual machine.
func tokenSDKs(t *testing.T, s *harness.Server) map[string]func(token string) *sdk {
	t.Helper()
	bin, err := harness.Binary("drivers/polarisgo", ".")
	if err != nil {
		t.Fatal(err)
	}
	command := javaDriver(t)
	java := harness.StartChild(t, []string{"HOME=" + t.TempDir()}, command[0], append(command[1:], s.Polaris)...)
	return map[string]func(string) *sdk{
		"polaris-go": func(token string) *sdk {
			env := []string{"HOME=" + t.TempDir(), "POLARIS_TOKEN=" + token}
			return &sdk{Child: harness.StartChild(t, env, bin, s.Polaris), name: "polaris-go"}
		},
		"polaris-java": func(token string) *sdk {
			if token == "" {
				token = "-"
			}
			return &sdk{Child: java, as: "as " + token + " ", name: "polaris-java"}
		},
	}
}

// An application with the token of somebody who may works as without tokens;
// with any other token each of its calls is told why, and none hangs. What is
// taken back while it runs is over at once, for it and for nobody else.
func TestTokensOfSDKs(t *testing.T) {
	s := harness.StartServer(t, checking...)
	must(t, s,
		"create user ann", "create policy ann --user ann --action * --resource default/*",
		"create user bob", "create policy bob --user bob --action * --resource elsewhere/*",
		"create user eve --disabled")
	var both sync.WaitGroup
	for name, start := range tokenSDKs(t, s) {
		both.Go(func() {
			t.Run(name, func(t *testing.T) {
				service := name + "-cart"
				_, right := newToken(t, s, "ann")
				may := start(right)
				may.do(t, "register %s 10.0.0.1 80 1 100 auto", service)
				may.do(t, "heartbeat %s 10.0.0.1 80", service)
				for _, command := range []string{"all ", "one "} {
					if got := may.instances(t, command+service); len(got) != 1 {
						t.Errorf("%swith the right token: %+v", command, got)
					}
				}
				t.Run("expires", func(t *testing.T) { expires(t, s, start, service) })
				refusedTokens(t, s, start, service)
				t.Run("revoked", func(t *testing.T) { revoked(t, s, start, may, service) })
				may.do(t, "deregister %s 10.0.0.1 80", service)
			})
		})
	}
	both.Wait()
	harness.Wait(t, soon, func() error {
		out, err := s.Admin("history", "--kind", "refusal", "--actor", "bob", "-o", "json")
		if err == nil && (!strings.Contains(out, `"RegisterInstance"`) || !strings.Contains(out, `"Discover"`)) {
			err = errors.New("the history lacks what bob was refused: " + out)
		}
		return err
	})
}

// refused checks that a command is refused, and that the application is told
// why. polaris-java shows an empty list whatever a Discover is refused for.
func (s *sdk) refused(t *testing.T, command, why string) {
	t.Helper()
	var out struct{ Instances []seen }
	err := s.Do(command, &out)
	hidden := s.name == "polaris-java" && (strings.HasPrefix(command, "all ") || strings.HasPrefix(command, "one "))
	switch {
	case hidden && err == nil && len(out.Instances) == 0:
	case err == nil || !strings.Contains(err.Error(), why):
		t.Errorf("%s: %+v, %v, want a refusal with %q", command, out, err, why)
	}
}

// refusedTokens are those that never let anybody in.
func refusedTokens(t *testing.T, s *harness.Server, start func(string) *sdk, service string) {
	off, disabled := newToken(t, s, "ann")
	must(t, s, "update token "+off+" --disabled")
	_, others := newToken(t, s, "bob")
	_, eves := newToken(t, s, "eve")
	for name, c := range map[string]struct{ token, why string }{
		"none":            {"", "no token and no client certificate"},
		"wrong":           {"junk", "not one that exists"},
		"disabled":        {disabled, "is disabled"},
		"of a disabled":   {eves, "is disabled"},
		"somebody else's": {others, "bob is not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			who := start(c.token)
			for _, command := range []string{
				"register " + service + " 10.0.0.2 80 5 100", "heartbeat " + service + " 10.0.0.1 80",
				"deregister " + service + " 10.0.0.1 80", "all " + service, "one " + service,
			} {
				who.refused(t, command, c.why)
			}
		})
	}
}

// expires: a token holds until its time is over.
func expires(t *testing.T, s *harness.Server, start func(string) *sdk, service string) {
	const life = 5 * time.Second
	began := time.Now()
	_, token := newToken(t, s, "ann", "--expires-in", life.String())
	who := start(token)
	if err := who.Do("heartbeat "+service+" 10.0.0.1 80", nil); err != nil && time.Since(began) < life {
		t.Errorf("while it holds: %v", err)
	}
	harness.Wait(t, soon, func() error {
		err := who.Do("heartbeat "+service+" 10.0.0.1 80", nil)
		if err == nil || !strings.Contains(err.Error(), "has run out") {
			return fmt.Errorf("after it ran out: %w", err)
		}
		return nil
	})
	if held := time.Since(began); held < life {
		t.Errorf("it held for %s", held)
	}
	who.refused(t, "all "+service+"-other", "has run out")
}

// revoked: what an application with a revoked token asks is refused from its
// next call on, beats and Discover of what it follows included; others go on.
func revoked(t *testing.T, s *harness.Server, start func(string) *sdk, other *sdk, service string) {
	id, token := newToken(t, s, "ann")
	who := start(token)
	who.do(t, "register %s 10.0.0.3 80 1 100 auto", service)
	both := func(all []seen) bool { return len(all) == 2 }
	who.sees(t, service, both)
	other.sees(t, service, both)
	must(t, s, "delete token "+id)
	for _, command := range []string{"heartbeat " + service + " 10.0.0.3 80", "register " + service + " 10.0.0.4 80 5 100", "all " + service + "-new"} {
		who.refused(t, command, "not one that exists")
	}
	// Its own beats are refused, so its instance is late; who beats with another
	// token is not.
	health := func(host string) func([]seen) bool {
		return func(all []seen) bool {
			return slices.ContainsFunc(all, func(i seen) bool { return i.Host == host && i.Healthy })
		}
	}
	other.sees(t, service, func(all []seen) bool { return len(all) == 2 && !health("10.0.0.3")(all) && health("10.0.0.1")(all) })
	// It follows no more: polaris-go keeps what it was told last, polaris-java
	// drops it.
	if who.name == "polaris-java" {
		who.sees(t, service, func(all []seen) bool { return len(all) == 0 })
	} else if all := who.instances(t, "all "+service); !both(all) || !health("10.0.0.3")(all) {
		t.Errorf("it was told of a change: %+v", all)
	}
	other.do(t, "heartbeat %s 10.0.0.1 80", service)
	other.do(t, "deregister %s 10.0.0.3 80", service)
	other.sees(t, service, func(all []seen) bool { return len(all) == 1 && health("10.0.0.1")(all) })
}
