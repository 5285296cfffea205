package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// A server that stood still for ten TTLs was deaf; it condemns nobody for what
// it could not hear, and still finds who is silent afterwards.
func TestPauseOfTheServerExpiresNobody(t *testing.T) {
	s := harness.StartServer(t)
	r := harness.Connect(t, s.Polaris)
	for n := range 20 {
		i := harness.Instance("alive", fmt.Sprintf("10.0.0.%d:80", n+1), harness.TTL(1))
		if err := r.Put(i); err != nil {
			t.Fatal(err)
		}
		r.Beat(t, i, 300*time.Millisecond)
	}
	if err := r.Put(harness.Instance("silent", "10.0.1.1:80", harness.TTL(1))); err != nil {
		t.Fatal(err)
	}
	discovers(t, s, "silent", healthy(false))
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	pause := time.NewTimer(10 * time.Second) // ten TTLs
	<-pause.C
	if err := s.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	discovers(t, s, "alive", count(20))
	watch := stays(t, s, "alive", 20)
	if err := r.Put(harness.Instance("later", "10.0.2.1:80", harness.TTL(1))); err != nil {
		t.Fatal(err)
	}
	discovers(t, s, "later", healthy(false)) // expiry works again, and took its time
	watch()
}
