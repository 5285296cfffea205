package e2e

import (
	"strings"
	"testing"

	"polestar/e2e/harness"
)

// settings gives the service one set of settings after the other, with a
// backend that goes and comes back under each. Every client takes them, and
// goes on sending requests.
func (x *changes) settings(t *testing.T) {
	sets := [][]string{
		{"lb-policy=least_request", "slow-start=10s"},
		{"lb-policy=ring_hash", "hash-header=x-user"},
		{"lb-policy=maglev", "hash-header=x-user"},
		{"lb-policy=random", "panic-threshold=50"},
		{"lb-policy=weighted_round_robin"},
		{"outlier-consecutive-5xx=5", "outlier-success-rate=1.9", "outlier-failure-percentage=85", "outlier-interval=1s"},
		{"connect-timeout=1s", "request-timeout=3s", "retries=2", "retry-on=5xx,reset,unavailable", "per-try-timeout=2s"},
		{"max-connections=100", "max-pending-requests=100", "max-requests=1000", "max-retries=3"},
		{"locality-lb=weighted", "nearby=campus", "nearby-overflow=50"},
		{"locality-lb=zone_aware"},
		{"subset-keys=version;env,version"},
		nil,
	}
	change := map[string]string{} // what --metadata takes
	for _, set := range sets {
		for key := range change {
			change[key] = key + "-"
		}
		for _, s := range set {
			key, _, _ := strings.Cut(s, "=")
			change["polestar/"+key] = "polestar/" + s
		}
		args := []string{"update", "service", "default/cart", "--server", x.server.HTTP}
		for _, c := range change {
			args = append(args, "--metadata", c)
		}
		if _, err := harness.Run(args...); err != nil {
			t.Fatal(err)
		}
		x.everywhere(t)
		x.fleet.onlyFrom(t, "a", "b")
		x.remove(t, x.a)
		x.fleet.onlyFrom(t, "b")
		x.put(t, x.a)
		x.fleet.onlyFrom(t, "a", "b")
	}
}
