package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"polestar/e2e/harness"
)

// rolling restarts one backend after the other as an operator would: isolate,
// wait until every client has it and sends nothing more, deregister, restart,
// register.
func (x *changes) rolling(t *testing.T) {
	for _, step := range []struct{ goes, stays *harness.Backend }{{x.a, x.b}, {x.b, x.a}} {
		b := step.goes
		x.put(t, b, harness.Isolated(true))
		revision, err := x.server.Revision("cart", b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		acknowledged(t, x.server, len(x.fleet), revision)
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
		x.put(t, b, harness.Isolated(false))
		x.fleet.onlyFrom(t, "a", "b")
	}
}

// acknowledged waits until so many clients have taken the endpoints of a
// revision.
func acknowledged(t *testing.T, s *harness.Server, clients int, revision uint64) {
	t.Helper()
	harness.Wait(t, soon, func() error {
		all, err := s.Clients()
		if err != nil {
			return err
		}
		have := 0
		for _, c := range all {
			if i := slices.IndexFunc(c.Types, func(typ harness.ClientType) bool { return typ.Type == "eds" }); i >= 0 && c.Types[i].Acked >= revision {
				have++
			}
		}
		if have != clients {
			return fmt.Errorf("%d of %d clients have acknowledged the endpoints of revision %d: %+v", have, clients, revision, all)
		}
		return nil
	})
}
