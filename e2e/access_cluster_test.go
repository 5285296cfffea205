package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// What one server of a cluster was told of who may do what holds at all of
// them: a token that was made at one works at the other, and one that was taken
// back there is refused here within a second.
func TestTokensOfAClusterAreTakenBackEverywhere(t *testing.T) {
	db := startMariaDB(t)
	a, b := clusterNode(t, db, checking...), clusterNode(t, db, checking...)
	a.StartFor(t) // first: it makes the main user
	b.StartFor(t)
	must(t, a, "create user ann", "create policy ann --user ann --action * --resource default/*")
	bin, err := harness.Binary("drivers/polarisgo", ".")
	if err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for n := range 5 {
		id, token := newToken(t, a, "ann")
		s := &sdk{Child: harness.StartChild(t, []string{"HOME=" + t.TempDir(), "POLARIS_TOKEN=" + token}, bin, b.Polaris), name: "polaris-go"}
		harness.Wait(t, soon, func() error { return s.Do(fmt.Sprintf("register cart 10.0.0.%d 80 5 100", n+1), nil) })
		beat := fmt.Sprintf("heartbeat cart 10.0.0.%d 80", n+1)
		s.do(t, "%s", beat)
		began := time.Now()
		if n%2 == 0 {
			must(t, a, "delete token "+id)
		} else {
			must(t, a, "update token "+id+" --disabled")
		}
		harness.Wait(t, soon, func() error {
			if err := s.Do(beat, nil); err == nil || !strings.Contains(err.Error(), "the token") {
				return fmt.Errorf("the other server still takes it: %w", err)
			}
			return nil
		})
		took = append(took, time.Since(began))
		s.refused(t, "all stock", "the token")
	}
	t.Logf("refused by the other server after %v", took)
	if slices.Min(took) > time.Second { // one that was late may be this machine's fault
		t.Errorf("refused by the other server only after %v", took)
	}
	if _, err := b.Admin("whoami"); err == nil {
		t.Error("both servers made a main user")
	}
}
