package tlsfiles

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"polestar/internal/localca"
)

// New handshakes get the new certificate and the new authority; who is in stays.
func TestFilesAreFollowedAndNobodyIsDropped(t *testing.T) {
	w := newWorld(t)
	w.server("s")
	w.issue("c", localca.Request{Client: true, URIs: []string{"spiffe://x/c"}})
	d := watch(t)
	s := serve(t, d.add(t, w.mutual("s")))
	before, err := w.call(s.addr, "c")
	if err != nil {
		t.Fatal(err)
	}
	old := must(w.client("c").Config())

	w.ca = must(localca.New("b", time.Hour))
	cert, _, err := w.ca.PEM()
	if err != nil {
		t.Fatal(err)
	}
	w.put("ca.pem", cert)
	w.server("s")
	w.issue("c", localca.Request{Client: true, URIs: []string{"spiffe://x/c"}})
	d.look()
	if _, err = w.call(s.addr, "c"); err != nil {
		t.Errorf("a client of the new authority: %v", err)
	}
	conn, err := tls.Dial("tcp", s.addr, old)
	if err == nil {
		_ = conn.Close()
		t.Error("the old certificate is still served")
	}
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	if got, err := before.Recv(); err != nil || got.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("a stream from before: %v, %v", got, err)
	}
}

// Kubernetes swaps a link to a directory.
func TestASwappedLinkIsFollowed(t *testing.T) {
	w := newWorld(t)
	w.server("s")
	for _, dir := range []string{"1", "2"} {
		if err := os.Mkdir(w.file(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	move := func(dir string) {
		for _, f := range []string{"s.pem", "s-key.pem"} {
			if err := os.Rename(w.file(f), filepath.Join(w.file(dir), f)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(dir, w.file("..next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(w.file("..next"), w.file("..data")); err != nil {
			t.Fatal(err)
		}
	}
	move("1")
	for _, f := range []string{"s.pem", "s-key.pem"} {
		if err := os.Symlink(filepath.Join("..data", f), w.file(f)); err != nil {
			t.Fatal(err)
		}
	}
	d := watch(t)
	door := d.add(t, w.config("s"))
	first := door.now.Load().pair.Leaf.SerialNumber
	for _, f := range []string{"s.pem", "s-key.pem"} {
		if err := os.Remove(w.file(f)); err != nil {
			t.Fatal(err)
		}
	}
	w.server("s")
	move("2")
	for _, f := range []string{"s.pem", "s-key.pem"} {
		if err := os.Symlink(filepath.Join("..data", f), w.file(f)); err != nil {
			t.Fatal(err)
		}
	}
	d.look()
	if first.Cmp(door.now.Load().pair.Leaf.SerialNumber) == 0 {
		t.Error("the old certificate stays in force")
	}
}

func TestABrokenFileKeepsTheOldOneAndSaysSo(t *testing.T) {
	w := newWorld(t)
	w.server("s")
	d := watch(t)
	door := d.add(t, w.config("s"))
	first := door.now.Load()
	good := must(os.ReadFile(w.file("s.pem")))
	failures := func() float64 { return d.metric(t, "polestar_tls_reload_failures_total", "d") }

	w.put("s.pem", []byte("half a cert"))
	d.look()
	if failures() != 0 || len(d.Trouble()) != 0 {
		t.Error("one look is enough to complain about a file that may be half written")
	}
	for range 3 {
		d.look()
	}
	if door.now.Load() != first {
		t.Error("the old certificate is not in force any more")
	}
	if got := failures(); got != 1 {
		t.Errorf("%v failures are counted for one content", got)
	}
	if said := d.logs.FilterMessageSnippet("cannot be used").Len(); said != 1 {
		t.Errorf("it is told %d times", said)
	}
	if all := d.Trouble(); len(all) != 1 || !strings.Contains(all[0], "s.pem has no certificate") {
		t.Errorf("trouble: %q", all)
	}
	w.put("s.pem", good)
	d.look()
	if all := d.Trouble(); len(all) != 0 {
		t.Errorf("trouble that is over: %q", all)
	}
	w.server("s")
	d.look()
	if door.now.Load() == first {
		t.Error("a good certificate after a broken one is not taken")
	}
}

func TestTheEndOfACertificateIsToldInTime(t *testing.T) {
	w := newWorld(t)
	w.issue("s", localca.Request{Hosts: []string{"h"}, Server: true, Life: 30 * time.Minute})
	d := watch(t)
	d.add(t, w.config("s"))
	d.look()
	d.look()
	if all := d.Trouble(); len(all) != 1 || !strings.Contains(all[0], "ends at") {
		t.Errorf("trouble: %q", all)
	}
	if got := d.metric(t, "polestar_tls_certificate_expiry_seconds", "d"); got < 1700 || got > 1800 {
		t.Errorf("%v seconds are left of half an hour", got)
	}
	if said := d.logs.FilterMessageSnippet("ends soon").Len(); said != 1 {
		t.Errorf("it is told %d times a day", said)
	}
}

func TestASignalReadsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.server("s")
	d := watch(t)
	door := d.add(t, w.config("s"))
	first := door.now.Load()
	ctx, cancel := context.WithCancel(t.Context())
	signals, done := make(chan os.Signal), make(chan error, 1)
	go func() { done <- d.Run(ctx, signals) }()
	w.server("s")
	signals <- os.Interrupt // whichever: cmd says which signals come here
	signals <- os.Interrupt // taken when the look after the first is over
	if door.now.Load() == first {
		t.Error("the new files are not in force")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
