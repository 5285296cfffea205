package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// state is what a worker knows of one instance that only it writes.
type state uint8

const (
	absent  state = iota // the last acknowledged operation removed it, or none was tried
	present              // the last acknowledged operation registered it
	doubt                // an operation was sent and not answered
)

// TestKillNineLosesNothing kills the server at random moments under load.
// After each restart every acknowledged registration is there with its weight
// and no acknowledged removal is back; an operation that was not answered may
// be done or not, and its retry succeeds. Some restarts are killed, too.
// POLESTAR_E2E_CRASH_ROUNDS sets the
// number of kills.
func TestKillNineLosesNothing(t *testing.T) {
	rounds := 20
	if n, err := strconv.Atoi(os.Getenv("POLESTAR_E2E_CRASH_ROUNDS")); err == nil {
		rounds = n
	}
	const workers, each = 16, 20
	s := harness.StartServer(t)
	r := harness.Connect(t, s.Polaris)
	var states [workers][each]state
	var weights [workers][each]uint32
	acknowledged := 0
	for round := range rounds {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		counts := make([]int, workers)
		for w := range workers {
			wg.Go(func() { counts[w] = churn(s.Polaris, w, &states[w], &weights[w], stop) })
		}
		time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond)
		s.Kill()
		close(stop)
		wg.Wait()
		if round%3 == 2 { // the start is killed, too
			if err := s.Launch(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
			s.Kill()
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		for _, n := range counts {
			acknowledged += n
		}
		for w := range workers {
			check(t, r, round, w, &states[w], &weights[w])
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d acknowledged operations, none lost, none back", rounds, acknowledged)
}

func address(w, n int) string { return fmt.Sprintf("10.9.%d.%d:80", w, n+1) }

// churn registers and removes its own instances until the server is gone.
func churn(addr string, w int, states *[20]state, weights *[20]uint32, stop chan struct{}) (acknowledged int) {
	r, err := harness.NewRegistrar(addr)
	if err != nil {
		return 0
	}
	defer r.Close()
	for {
		select {
		case <-stop:
			return acknowledged
		default:
		}
		n := rand.IntN(len(states))
		before := states[n]
		states[n] = doubt
		if before == absent || rand.IntN(2) == 0 {
			weight := rand.Uint32N(1000) + 1
			if r.Put(harness.Instance(fmt.Sprint("crash", w), address(w, n), harness.Weight(weight))) != nil {
				return acknowledged
			}
			states[n], weights[n] = present, weight
		} else {
			if r.Remove(harness.Instance(fmt.Sprint("crash", w), address(w, n))) != nil {
				return acknowledged
			}
			states[n] = absent
		}
		acknowledged++
	}
}

// check compares what the server shows with what was acknowledged; what was in
// doubt may be either, and is settled by a retry or by looking.
func check(t *testing.T, r *harness.Registrar, round, w int, states *[20]state, weights *[20]uint32) {
	t.Helper()
	all, err := r.Instances(fmt.Sprint("crash", w))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]uint32{}
	for _, i := range all {
		shown[fmt.Sprintf("%s:%d", i.GetHost().GetValue(), i.GetPort().GetValue())] = i.GetWeight().GetValue()
	}
	for n := range states {
		weight, there := shown[address(w, n)]
		switch {
		case states[n] == present && !there:
			t.Errorf("round %d: acknowledged registration of %s is lost", round, address(w, n))
		case states[n] == present && weight != weights[n]:
			t.Errorf("round %d: %s has weight %d, acknowledged was %d", round, address(w, n), weight, weights[n])
		case states[n] == absent && there:
			t.Errorf("round %d: acknowledged removal of %s is back", round, address(w, n))
		case states[n] == doubt && n%2 == 0: // a retry settles it
			states[n], weights[n] = present, rand.Uint32N(1000)+1
			if err := r.Put(harness.Instance(fmt.Sprint("crash", w), address(w, n), harness.Weight(weights[n]))); err != nil {
				t.Errorf("round %d: retry: %v", round, err)
			}
		case states[n] == doubt && there:
			states[n], weights[n] = present, weight
		case states[n] == doubt:
			states[n] = absent
		}
	}
}
