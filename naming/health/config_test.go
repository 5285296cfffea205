package health

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

func TestValidateNamesKeyAndBound(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key   string
		wrong []func(*Config)
	}{
		{"lease.factor", []func(*Config){func(c *Config) { c.Factor = 1 }, func(c *Config) { c.Factor = 11 }}},
		{"lease.tick", []func(*Config){func(c *Config) { c.Tick = time.Millisecond }, func(c *Config) { c.Tick = 2 * time.Second }}},
		{"lease.pause", []func(*Config){func(c *Config) { c.Pause = 2 * c.Tick }}},
		{"lease.workers", []func(*Config){func(c *Config) { c.Workers = 0 }, func(c *Config) { c.Workers = 1025 }}},
		{"lease.retry-wait", []func(*Config){func(c *Config) { c.RetryWait = c.Tick - 1 }, func(c *Config) { c.RetryWait = time.Minute + 1 }}},
		{"lease.guard-share", []func(*Config){func(c *Config) { c.GuardShare = 0 }, func(c *Config) { c.GuardShare = 101 }}},
		{"lease.guard-min", []func(*Config){func(c *Config) { c.GuardMin = 0 }, func(c *Config) { c.GuardMin = 1001 }}},
		{"lease.guard-hold", []func(*Config){func(c *Config) { c.GuardHold = time.Second - 1 }, func(c *Config) { c.GuardHold = time.Hour + 1 }}},
	} {
		for n, wrong := range c.wrong {
			cfg := Default()
			wrong(&cfg)
			if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.key+": ") {
				t.Errorf("%s %d: %v", c.key, n, err)
			}
			if _, err := New(cfg, Deps{Metrics: prometheus.NewRegistry(), Log: zap.NewNop()}); err == nil {
				t.Errorf("%s %d: New took it", c.key, n)
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.TrackIn("a", web, 1, true)
		l.TrackIn("b", web, 1, false)
		l.TrackIn("c", web, 60, true)
		time.Sleep(5 * time.Second) // a expires
		for _, id := range []string{"a", "c", "nobody", "nobody"} {
			l.Beat(id)
		}
		j.written()
		for metric, want := range map[string]float64{
			"polestar_leases healthy":            2,
			"polestar_leases unhealthy":          1,
			"polestar_leases suspect":            0,
			"polestar_leases_suspect":            0,
			"polestar_lease_expirations_total":   1,
			"polestar_lease_recoveries_total":    1,
			"polestar_lease_flip_failures_total": 0,
			"polestar_lease_held_total store":    0,
			"polestar_lease_outage_seconds":      0,
			"polestar_beats_total ok":            2,
			"polestar_beats_total unknown":       2,
		} {
			name, label, _ := strings.Cut(metric, " ")
			if got := j.gauge(name, label); got != want {
				t.Errorf("%s = %v, want %v", metric, got, want)
			}
		}
	})
}

// A second set of leases on the same registry is a mistake of the wiring.
func TestMetricsTwice(t *testing.T) {
	r := prometheus.NewRegistry()
	var errs []error
	for range 2 {
		_, err := New(Default(), Deps{Metrics: r, Log: zap.NewNop()})
		errs = append(errs, err)
	}
	if !slices.Equal([]bool{errs[0] == nil, errs[1] == nil}, []bool{true, false}) {
		t.Error(errs)
	}
}
