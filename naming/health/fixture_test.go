package health

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
)

var (
	web = naming.ServiceKey{Namespace: "prod", Name: "web"}
	api = naming.ServiceKey{Namespace: "prod", Name: "api"}
)

func name(n int) string { return fmt.Sprintf("%05d", n) }

// journal is what was written, with the time since the start.
type journal struct {
	t       *testing.T
	start   time.Time
	metrics *prometheus.Registry
	jump    *atomic.Int64          // adds to the leases' clock: time in which the process did not run
	reading atomic.Pointer[func()] // when set, called before each reading of the clock
	mu      sync.Mutex
	lines   []string
	err     atomic.Pointer[error]               // when set, nothing is written
	fail    func(id string, healthy bool) error // when set, asked for each flip
	then    func(id string, healthy bool)       // called after a flip was written
	gate    chan struct{}                       // when set, a flip waits for it before it is written
	waiting atomic.Int32
	tried   atomic.Int32
}

func (j *journal) flip(ctx context.Context, id string, healthy bool) error {
	j.tried.Add(1)
	if j.gate != nil {
		j.waiting.Add(1)
		select {
		case <-j.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
		j.waiting.Add(-1)
	}
	if err := j.err.Load(); err != nil {
		return *err
	}
	if j.fail != nil {
		if err := j.fail(id, healthy); err != nil {
			return err
		}
	}
	j.mu.Lock()
	j.lines = append(j.lines, fmt.Sprintf("%s %v %s", id, healthy, time.Since(j.start)))
	j.mu.Unlock()
	if j.then != nil {
		j.then(id, healthy)
	}
	return nil
}

func (j *journal) expect(want ...string) {
	j.t.Helper()
	if diff := cmp.Diff(want, j.written()); diff != "" {
		j.t.Error(diff)
	}
}

func (j *journal) written() []string {
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// count counts the flips to one side.
func (j *journal) count(healthy bool) int {
	n := 0
	for _, line := range j.written() {
		if strings.Contains(line, fmt.Sprintf(" %v ", healthy)) {
			n++
		}
	}
	return n
}

// gauge reads a metric of the leases.
func (j *journal) gauge(name, label string) float64 {
	j.t.Helper()
	families, err := j.metrics.Gather()
	if err != nil {
		j.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label != "" && (len(m.GetLabel()) != 1 || m.GetLabel()[0].GetValue() != label) {
				continue
			}
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	j.t.Errorf("no metric %s %q", name, label)
	return 0
}

// bubble runs f with running leases on fake time.
func bubble(t *testing.T, f func(l *Leases, j *journal)) { bubbleWith(t, Default(), nil, f) }

// bubbleWith does, with a config, after before was called with the leases that
// do not run yet.
func bubbleWith(t *testing.T, cfg Config, before func(l *Leases, j *journal), f func(l *Leases, j *journal)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{t: t, start: time.Now(), metrics: prometheus.NewRegistry(), jump: &atomic.Int64{}}
		l, err := New(cfg, Deps{Flip: j.flip, Metrics: j.metrics, Log: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		l.clock = func() time.Duration {
			if hook := j.reading.Load(); hook != nil {
				(*hook)()
			}
			return time.Since(j.start) + time.Duration(j.jump.Load())
		}
		if before != nil {
			before(l, j)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		synctest.Wait()
		f(l, j)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// beats lets each of ids beat every interval from now on, spread evenly over
// it, for a time.
func beats(l *Leases, ids []string, interval, during time.Duration) {
	const steps = 20
	for n := range int(during / (interval / steps)) {
		for i := n % steps; i < len(ids); i += steps {
			l.Beat(ids[i])
		}
		time.Sleep(interval / steps)
	}
}

// track makes n leases of a service, and returns their ids.
func track(l *Leases, service naming.ServiceKey, n int, ttl uint32) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = service.Name + name(i)
		l.TrackIn(ids[i], service, ttl, true)
	}
	return ids
}
