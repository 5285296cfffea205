// Package e2e tests Polestar with real parts only: real Envoy, real SDKs, real
// proxyless gRPC clients, and kill -9. Run ./install.sh first.
package e2e

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"polestar/e2e/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}

// soon is how long a change may take to reach a client on a busy machine. How
// long it really takes is for benchmarks.
const soon = 20 * time.Second

// caller sends n requests to the service under test.
type caller func(n int) harness.Counts

// answeredBy checks that the caller's requests are answered by exactly these
// backends.
func answeredBy(call caller, names ...string) error {
	c := call(12 * len(names))
	if c.Errors > 0 {
		return fmt.Errorf("%d of the requests failed: %s", c.Errors, c.Last)
	}
	for _, n := range names {
		if c.By[n] == 0 {
			return fmt.Errorf("none was answered by %s: %v", n, c.By)
		}
	}
	if len(c.By) != len(names) {
		return fmt.Errorf("answered by %v, want only %v", c.By, names)
	}
	return nil
}

// shared checks that a gets this share of the requests. The bound is five
// standard deviations of fair coin tosses: a false alarm is rarer than one in
// a million.
func shared(call caller, a string, share float64) error {
	const n = 400
	c := call(n)
	if c.Errors > 0 {
		return fmt.Errorf("%d requests failed: %s", c.Errors, c.Last)
	}
	got, bound := float64(c.By[a])/float64(c.Total()), 5*math.Sqrt(share*(1-share)/n)
	if math.Abs(got-share) > bound {
		return fmt.Errorf("%s got %.3f of the traffic, want %.3f ± %.3f", a, got, share, bound)
	}
	return nil
}

// onlyFrom waits until the caller's requests are answered by exactly these
// backends.
func onlyFrom(t *testing.T, call caller, names ...string) {
	t.Helper()
	harness.Wait(t, soon, func() error { return answeredBy(call, names...) })
}
