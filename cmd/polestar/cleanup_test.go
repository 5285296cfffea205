package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"polestar/naming"
)

// An instance that was unhealthy for long when the server started goes when its
// client had, once more, the full time to be heard; not before.
func TestCleanupOfAWholeServer(t *testing.T) {
	dir, long := t.TempDir(), naming.Micros(time.Now().Add(-2*time.Hour).UnixMicro())
	key := naming.ServiceKey{Namespace: "default", Name: "cart"}
	s := openedStore(t, dir)
	err := s.Restore(t.Context(), func(_ context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
		for _, o := range []naming.Object{
			&naming.Namespace{Name: "default", Revision: 1},
			&naming.Service{ID: naming.ServiceID(key), Key: key, Revision: 1},
			&naming.Instance{ID: "dead", Service: key, Host: "10.0.0.1", Port: 80, TTL: 1, Modified: long, Revision: 1},
			&naming.Instance{ID: "own", Service: key, Host: "10.0.0.2", Port: 80, Modified: long, Revision: 1},
		} {
			if failed := visit(o); failed != nil {
				return 0, failed
			}
		}
		return 1, touched(naming.Touched{Service: key, Revision: 1})
	})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	w := startWhole(t, dir)
	w.refuse(t, []string{"409", "started less than 5m"}, "cleanup", "--run", "unhealthy-instances", "--older-than", "1h")
	w.refuse(t, []string{"400", "cleanup.overrides"}, "cleanup", "--run", "overrides")
	if out := w.cli(t, "cleanup", "--dry-run", "unhealthy-instances", "--older-than", "1h"); strings.Contains(out, "10.0.0.1") {
		t.Errorf("its client has not had its time yet:\n%s", out)
	}
	w.stop()

	w = startWhole(t, dir, func(c *Config) { c.Cleanup.Settle, c.Cleanup.UnhealthyInstances = time.Second, time.Hour })
	for w.registry.World().Instance("dead") != nil {
		if out, err := run(t, "cleanup", "--run", "unhealthy-instances", "--server", w.web.Addr().String()); err != nil && exitCode(err) != exitRefused || t.Context().Err() != nil {
			t.Fatalf("%v %s", err, out)
		}
		time.Sleep(20 * time.Millisecond) // polls a state that no event announces
	}
	if w.registry.World().Instance("own") == nil {
		t.Error("an instance whose client says that it is unhealthy was removed")
	}
	if out := w.cli(t, "history", "--cause", "clean-up"); !strings.Contains(out, "10.0.0.1:80") || !strings.Contains(out, "unhealthy since ") || !strings.Contains(out, "127.0.0.1") {
		t.Errorf("%s", out)
	}
	if out := w.cli(t, "cleanup"); !strings.Contains(out, "1h0m0s") || !strings.Contains(out, "off") || !strings.Contains(out, "unhealthy-instances") {
		t.Errorf("%s", out)
	}
	if out := w.cli(t, "cleanup", "-o", "json"); !strings.Contains(out, `"removed": `) {
		t.Errorf("%s", out)
	}
}

func TestWrongCleanupCommands(t *testing.T) {
	for args, want := range map[string]string{
		"cleanup --run overides": "did you mean overrides?", "cleanup --older-than 1h": "--run", "cleanup --run overrides --dry-run overrides": "none of the others",
		"cleanup -o xml": `"xml"`,
	} {
		if _, err := run(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
