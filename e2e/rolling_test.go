package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"polestar/e2e/harness"
)

// rolling restarts one backend after the other as docs/operating.md says:
// isolate, wait until every client has it, restart, release. The backend itself
// deregisters and registers; the isolation waits for it.
func (x *changes) rolling(t *testing.T) {
	command := func(args ...string) {
		t.Helper()
		if _, err := harness.Run(append(args, "--server", x.server.HTTP)...); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct{ goes, stays *harness.Backend }{{x.a, x.b}, {x.b, x.a}} {
		b := step.goes
		host, port := harness.HostPort(b.Addr)
		isolate := []string{"isolate", "--service", "default/cart", "--host", host, "--port", fmt.Sprint(port)}
		command(append(isolate, "--reason", "a new version")...)
		x.everywhere(t)
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
		x.everywhere(t)
		x.fleet.onlyFrom(t, step.stays.Name)
		command(append(isolate, "--off")...)
		x.fleet.onlyFrom(t, "a", "b")
	}
}

// everywhere waits, as an operator would, until all clients have what was
// changed last.
func (x *changes) everywhere(t *testing.T) {
	t.Helper()
	out, err := harness.Run("wait", "--service", "cart", "-o", "json", "--server", x.server.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	var receipt struct{ Clients int }
	if err := json.Unmarshal(out, &receipt); err != nil || receipt.Clients != len(x.fleet) {
		t.Errorf("polestar wait says that %d of %d clients have it: %v, %s", receipt.Clients, len(x.fleet), err, out)
	}
}
