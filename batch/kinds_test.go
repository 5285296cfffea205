package batch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// room is a batcher with kinds a and b in a bubble, over a store of which a
// commit takes some time.
type room struct {
	*Batcher[string, string]
	t       *testing.T
	metrics *prometheus.Registry
	stop    func()
	start   time.Time
	callers sync.WaitGroup

	mu       sync.Mutex
	takes    func(items []string) time.Duration // nil: no time
	commits  []string                           // when each began, and what was in it
	running  map[string]int                     // keys of the commits that run
	most     int                                // commits that ran at once
	errs     map[string]error
	answered map[string]time.Duration
}

// inRoom runs f in a bubble. key is what stands before a dot of an item.
func inRoom(t *testing.T, parallel int, change func(a, b *KindConfig), f func(r *room)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := Default("a", "b")
		if change != nil {
			change(&cfg.Kinds[0], &cfg.Kinds[1])
		}
		r := &room{
			t: t, metrics: prometheus.NewRegistry(), start: time.Now(),
			running: map[string]int{}, errs: map[string]error{}, answered: map[string]time.Duration{},
		}
		var err error
		r.Batcher, err = New(cfg, Deps[string, string]{
			Commit: r.commit, Splittable: func(err error) bool { return errors.Is(err, errGuilty) }, Parallel: parallel,
			Key: key, Metrics: r.metrics, Log: zap.NewNop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		r.stop = sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		f(r)
		r.callers.Wait()
		r.stop()
	})
}

func key(item string) string { k, _, _ := strings.Cut(item, "."); return k }

func (r *room) commit(_ context.Context, items []string) ([]string, error) {
	r.mu.Lock()
	r.commits = append(r.commits, fmt.Sprint(time.Since(r.start).Milliseconds(), " ", strings.Join(items, " ")))
	var takes time.Duration
	if r.takes != nil {
		takes = r.takes(items)
	}
	mine := map[string]bool{}
	for _, i := range items {
		mine[key(i)] = true
	}
	for k := range mine {
		if r.running[k]++; r.running[k] > 1 {
			r.t.Errorf("%q is in two running groups", k)
		}
	}
	r.running[""]++
	r.most = max(r.most, r.running[""])
	r.mu.Unlock()
	time.Sleep(takes)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[""]--
	for k := range mine {
		r.running[k]--
	}
	for _, i := range items {
		if strings.HasPrefix(i, "bad") {
			return nil, errGuilty
		}
	}
	return items, nil
}

// do sends items one after the other, without waiting for their answers.
func (r *room) do(ctx context.Context, kind int, items ...string) {
	for _, i := range items {
		r.callers.Go(func() {
			_, err := r.Do(ctx, kind, i)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.errs[i], r.answered[i] = err, time.Since(r.start)
		})
		synctest.Wait()
	}
}

// expect compares the commits, once all callers are answered.
func (r *room) expect(want ...string) {
	r.t.Helper()
	r.callers.Wait()
	if diff := cmp.Diff(want, r.commits); diff != "" {
		r.t.Error(diff)
	}
}

func each(d time.Duration) func([]string) time.Duration {
	return func([]string) time.Duration { return d }
}

// 10 ms for every commit: who waits behind one does not wait for no time.
const step = 10 * time.Millisecond

func TestEveryKindIsInEveryGroup(t *testing.T) {
	inRoom(t, 1, func(a, _ *KindConfig) { a.MaxBatchCount = 2 }, func(r *room) {
		r.takes = each(step)
		r.do(r.t.Context(), 0, "1", "2", "3", "4", "5", "6")
		r.do(r.t.Context(), 1, "flip1")
		r.do(r.t.Context(), 0, "7")
		r.do(r.t.Context(), 1, "flip2")
		r.expect("0 1", "10 2 3 flip1 flip2", "20 4 5", "30 6 7")
	})
}

func TestArrivalOrderOverKinds(t *testing.T) {
	inRoom(t, 1, nil, func(r *room) {
		r.takes = each(step)
		r.do(r.t.Context(), 0, "running")
		for n := range 3 {
			r.do(r.t.Context(), n%2, fmt.Sprint("x.", n))
		}
		r.expect("0 running", "10 x.0 x.1 x.2")
	})
}

func TestAFullQueueRefusesItsKindOnly(t *testing.T) {
	inRoom(t, 1, func(a, _ *KindConfig) { a.QueueSize = 1 }, func(r *room) {
		r.takes = each(step)
		r.do(r.t.Context(), 0, "running", "waiting", "over")
		r.do(r.t.Context(), 1, "other")
		r.expect("0 running", "10 waiting other")
		if !errors.Is(r.errs["over"], ErrFull) || r.answered["over"] != 0 || r.errs["other"] != nil {
			t.Errorf("over: %v after %s; other: %v", r.errs["over"], r.answered["over"], r.errs["other"])
		}
	})
}

// Who gave up leaves his place to others.
func TestTheQueueHoldsNobodyWhoLeft(t *testing.T) {
	inRoom(t, 1, func(a, _ *KindConfig) { a.QueueSize = 1 }, func(r *room) {
		r.takes = each(step)
		r.do(r.t.Context(), 0, "running")
		for n := range 100 {
			ctx, cancel := context.WithCancel(r.t.Context())
			r.do(ctx, 0, fmt.Sprint("impatient", n))
			cancel()
			synctest.Wait()
		}
		r.do(r.t.Context(), 0, "patient")
		r.expect("0 running", "10 patient")
		if err := r.errs["impatient99"]; !errors.Is(err, ErrNotDone) || r.errs["patient"] != nil {
			t.Errorf("impatient: %v, patient: %v", err, r.errs["patient"])
		}
	})
}

func TestAClosedKindCommitsEachAlone(t *testing.T) {
	inRoom(t, 1, func(a, _ *KindConfig) { a.Open, a.WaitTime = false, 500*time.Millisecond }, func(r *room) {
		r.takes = each(step)
		r.do(r.t.Context(), 0, "1", "2", "3")
		r.do(r.t.Context(), 1, "x", "y", "z")
		// They take turns, so that neither starves; a wait for a full group is for nothing.
		r.expect("0 1", "10 x y z", "20 2", "30 3")
	})
}

func TestWaitTimeFillsAGroup(t *testing.T) {
	inRoom(t, 1, func(a, _ *KindConfig) { a.WaitTime, a.MaxBatchCount = 50*time.Millisecond, 3 }, func(r *room) {
		r.do(r.t.Context(), 0, "1")
		time.Sleep(20 * time.Millisecond)
		r.do(r.t.Context(), 0, "2")
		time.Sleep(40 * time.Millisecond) // 1 has waited for its time
		r.do(r.t.Context(), 0, "3", "4", "5")
		time.Sleep(10 * time.Millisecond)
		r.do(r.t.Context(), 0, "6")
		r.do(r.t.Context(), 1, "other") // takes along what waits
		r.expect("50 1 2", "60 3 4 5", "70 6 other")
	})
}

func TestStopDoesNotWaitForAFullGroup(t *testing.T) {
	inRoom(t, 1, func(a, _ *KindConfig) { a.WaitTime = 900 * time.Millisecond }, func(r *room) {
		r.do(r.t.Context(), 0, "1")
		r.stop()
		r.expect("0 1")
		if r.errs["1"] != nil {
			t.Error(r.errs["1"])
		}
	})
}

// What waits behind a store that hangs is dropped when its life is over, and
// what is being committed is in doubt after the commit timeout.
func TestTaskLifeAndCommitTimeout(t *testing.T) {
	inRoom(t, 1, func(_, b *KindConfig) { b.DropExpireTask = false }, func(r *room) {
		r.takes = func([]string) time.Duration {
			if len(r.commits) == 1 {
				return 10 * time.Second
			}
			return 0
		}
		r.do(r.t.Context(), 0, "running", "a")
		r.do(r.t.Context(), 1, "b")
		time.Sleep(9500 * time.Millisecond)
		r.do(r.t.Context(), 0, "a2")
		r.do(r.t.Context(), 1, "b2")
		r.expect("0 running", "10000 a2 b2")
		for item, want := range map[string]struct {
			err error
			at  time.Duration
		}{
			"running": {ErrOutcomeUnknown, 3 * time.Second},
			"a":       {ErrNotDone, time.Second},
			"b":       {ErrNotDone, 3 * time.Second},
			"b2":      {nil, 10 * time.Second},
		} {
			if !errors.Is(r.errs[item], want.err) || r.answered[item] != want.at {
				t.Errorf("%s: %v after %s, want %v after %s", item, r.errs[item], r.answered[item], want.err, want.at)
			}
		}
	})
}

// While the first half of a split group is tried, nothing of the second half
// has begun: a caller who leaves then is told so, and it is true.
func TestLeavingASplitGroup(t *testing.T) {
	inRoom(t, 1, nil, func(r *room) {
		r.takes = each(step)
		r.do(r.t.Context(), 0, "running", "bad", "1")
		ctx, cancel := context.WithTimeout(r.t.Context(), 25*time.Millisecond)
		defer cancel()
		r.do(ctx, 0, "2")
		r.do(r.t.Context(), 0, "3")
		r.expect("0 running", "10 bad 1 2 3", "20 bad 1", "30 bad", "40 1", "50 3")
		if !errors.Is(r.errs["2"], ErrNotDone) || r.errs["1"] != nil || r.errs["3"] != nil || !errors.Is(r.errs["bad"], errGuilty) {
			t.Error(r.errs)
		}
	})
}

func TestParallelCommitsShareNoKey(t *testing.T) {
	inRoom(t, 3, func(a, _ *KindConfig) { a.Concurrency = 2 }, func(r *room) {
		r.takes = func([]string) time.Duration { return time.Duration(len(r.commits)) * step }
		r.do(r.t.Context(), 0, "x.1")        // begins at once
		r.do(r.t.Context(), 1, "x.2")        // waits for it
		r.do(r.t.Context(), 0, "y.1")        // begins beside it
		r.do(r.t.Context(), 0, "z.1", "x.3") // the third would be one too many of its kind
		r.do(r.t.Context(), 1, "w.1", "x.4") // another kind has a place left
		r.expect("0 x.1", "0 y.1", "0 w.1", "10 x.2 z.1 x.3 x.4")
		if r.most != 3 {
			t.Errorf("%d commits ran at once, want 3", r.most)
		}
	})
}

// Many callers and keys over a store that runs four commits: every item is
// committed once, in the order of its key, and no key is in two groups.
func TestParallelKeepsTheOrderOfAKey(t *testing.T) {
	inRoom(t, 4, func(a, b *KindConfig) { a.MaxBatchCount, b.MaxBatchCount = 7, 3 }, func(r *room) {
		r.takes = func(items []string) time.Duration { return time.Duration(len(items)) * time.Millisecond }
		const keys, times = 10, 20
		for n := range keys * times {
			r.do(r.t.Context(), n%keys%2, fmt.Sprintf("%d.%d", n%keys, n/keys))
			time.Sleep(time.Duration(n%3) * time.Millisecond)
		}
		r.callers.Wait()
		next := map[string]int{}
		for _, line := range r.commits {
			for _, i := range strings.Fields(line)[1:] {
				if want := fmt.Sprintf("%s.%d", key(i), next[key(i)]); i != want {
					t.Fatalf("%s was committed where %s was due", i, want)
				}
				next[key(i)]++
			}
		}
		for k, n := range next {
			if n != times {
				t.Errorf("%d commits of %s, want %d", n, k, times)
			}
		}
		if r.most < 2 {
			t.Error("no commits ran at once")
		}
	})
}

func TestMetricsTellOfEachKind(t *testing.T) {
	inRoom(t, 1, func(a, _ *KindConfig) { a.QueueSize = 1 }, func(r *room) {
		r.takes = each(2 * time.Second)
		r.do(r.t.Context(), 0, "running", "expires", "full")
		r.do(r.t.Context(), 1, "b")
		gauges := r.read()
		if gauges["polestar_batch_queue_length a"] != 1 || gauges["polestar_batch_queue_length b"] != 1 {
			t.Errorf("while they wait: %v", gauges)
		}
		r.callers.Wait()
		got := r.read()
		for name, want := range map[string]float64{
			"polestar_batch_queue_length a": 0, "polestar_batch_refused_total a full": 1, "polestar_batch_refused_total a expired": 1,
			"polestar_batch_refused_total b expired": 1, "polestar_batch_group_size a": 1, "polestar_batch_wait_seconds a": 1,
			"polestar_batch_commit_seconds a": 1, "polestar_batch_commits_total done": 1,
		} {
			if got[name] != want {
				t.Errorf("%s = %v, want %v", name, got[name], want)
			}
		}
	})
}

// read returns gauges and counters, and how much histograms counted.
func (r *room) read() map[string]float64 {
	families, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				name = append(name, l.GetValue())
			}
			out[strings.Join(name, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}
