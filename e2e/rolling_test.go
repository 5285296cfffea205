package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"polestar/e2e/harness"
)

// rolling restarts one backend after the other as docs/operating.md says:
// isolate, wait until every client has it, restart, release. The backend itself
// deregisters and registers; the isolation waits for it.
func (x *changes) rolling(t *testing.T) {
	command := func(args ...string) string {
		t.Helper()
		out, err := harness.Run(append(args, "--server", x.server.HTTP)...)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, step := range []struct{ goes, stays *harness.Backend }{{x.a, x.b}, {x.b, x.a}} {
		b := step.goes
		host, port := harness.HostPort(b.Addr)
		isolate := []string{"isolate", "--service", "default/cart", "--host", host, "--port", fmt.Sprint(port)}
		command(append(isolate, "--reason", "a new version")...)
		if said, want := command("wait", "--service", "cart"), fmt.Sprintf("all %d clients", len(x.fleet)); !strings.Contains(said, want) {
			t.Errorf("polestar wait says %q, and not that %s have it", said, want)
		}
		x.fleet.onlyFrom(t, step.stays.Name)
		x.remove(t, b)
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		if err := b.Drain(ctx); err != nil {
			t.Fatalf("%s still answers requests: %v", b.Name, err)
		}
		cancel()
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
		x.put(t, b)
		command("wait", "--service", "cart")
		x.fleet.onlyFrom(t, step.stays.Name)
		command(append(isolate, "--off")...)
		x.fleet.onlyFrom(t, "a", "b")
	}
}
