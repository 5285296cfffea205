package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// The benchmarks measure a whole server and leave nothing behind.
func TestBenchMeasuresAWholeServer(t *testing.T) {
	w := startWhole(t, t.TempDir())
	addrs := []string{"--polaris-addr", w.app.polaris.Addr().String()}
	out, err := run(t, append([]string{"bench", "register", "--callers", "1,4", "--duration", "50ms", "--repeat", "2", "-o", "json"}, addrs...)...)
	if err != nil {
		t.Fatal(err)
	}
	var registers []registerRun
	if err = json.Unmarshal([]byte(out), &registers); err != nil {
		t.Fatal(err)
	}
	for _, r := range registers {
		if r.PerSecond <= 0 || r.Errors != 0 || r.Latency.Count == 0 || r.Latency.P99 < r.Latency.P50 {
			t.Errorf("%+v", r)
		}
	}
	if len(registers) != 4 {
		t.Errorf("%d runs, want 4", len(registers))
	}
	for _, protocol := range []string{"delta", "sotw"} {
		out, err = run(t, append([]string{
			"bench", "push", "--xds-addr", w.xdsAddr(), "--protocol", protocol, "--watchers", "3", "--instances", "5", "--changes", "7",
			"--repeat", "2", "-o", "json",
		}, addrs...)...)
		if err != nil {
			t.Fatal(err)
		}
		var pushes []pushRun
		if err = json.Unmarshal([]byte(out), &pushes); err != nil {
			t.Fatal(err)
		}
		for _, p := range pushes {
			if p.FromSending.Count != 21 || p.BytesPerChange < 100 {
				t.Errorf("%s: %+v", protocol, p)
			}
		}
	}
	if _, _, left, _ := w.registry.Snapshot().Counts(); left != 0 {
		t.Errorf("%d instances are left behind", left)
	}
}

func TestBenchStaysOnThisMachine(t *testing.T) {
	_, err := run(t, "bench", "register", "--polaris-addr", "192.0.2.1:8091")
	if err == nil || !strings.Contains(err.Error(), "--not-loopback") {
		t.Errorf("err = %v", err)
	}
}

func TestSummary(t *testing.T) {
	var all []time.Duration
	for n := 100; n >= 1; n-- {
		all = append(all, time.Duration(n)*time.Millisecond)
	}
	if got := summarise(all); got != (latencies{Count: 100, P50: 50, P90: 90, P99: 99, Max: 100}) {
		t.Errorf("%+v", got)
	}
	if got := summarise(nil); got != (latencies{}) {
		t.Errorf("nothing measured: %+v", got)
	}
	if m := median([]float64{3, 1, 2, 10}); m != 2.5 {
		t.Errorf("median %v", m)
	}
}
