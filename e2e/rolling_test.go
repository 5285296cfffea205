package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"polestar/e2e/harness"
)

// rolling restarts one backend after the other as an operator would: isolate,
// wait until every client has it and sends nothing more, restart, release. The
// backend itself deregisters and registers; the isolation waits for it.
func (x *changes) rolling(t *testing.T) {
	for _, step := range []struct{ goes, stays *harness.Backend }{{x.a, x.b}, {x.b, x.a}} {
		b := step.goes
		host, port := harness.HostPort(b.Addr)
		path := fmt.Sprintf("instances?namespace=default&service=cart&host=%s&port=%d", host, port)
		revision, err := x.server.Patch(path, `{"isolated":true,"reason":"a new version"}`)
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
		x.put(t, b)
		all, err := x.reg.Instances("cart")
		if err != nil || len(all) != 2 || all[0].GetIsolate().GetValue() == all[1].GetIsolate().GetValue() {
			t.Errorf("the isolation is not there any more: %v, %v", all, err)
		}
		x.fleet.onlyFrom(t, step.stays.Name)
		if _, err := x.server.Patch(path, `{"clear":["isolated"]}`); err != nil {
			t.Fatal(err)
		}
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
