package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errGuilty = errors.New("guilty")

// fake records what was committed; items that start with "bad" fail their
// whole group, "boom" panics.
type fake struct {
	mu     sync.Mutex
	groups [][]string
	gate   chan struct{} // when set, a commit waits for it
}

func (f *fake) commit(_ context.Context, items []string) ([]string, error) {
	if f.gate != nil {
		<-f.gate
	}
	out := make([]string, len(items))
	for n, i := range items {
		switch {
		case strings.HasPrefix(i, "bad"):
			return nil, errGuilty
		case i == "boom":
			panic("boom")
		}
		out[n] = "did " + i
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups = append(f.groups, slices.Clone(items))
	return out, nil
}

func (f *fake) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Concat(f.groups...)
}

// bounds is a config with one kind.
func bounds(queue, group int) Config {
	c := Default("a")
	c.Kinds[0].QueueSize, c.Kinds[0].MaxBatchCount = queue, group
	return c
}

// start runs a batcher and returns it with the function that stops it.
func start(t testing.TB, cfg Config, f *fake) (*Batcher[string, string], func()) {
	t.Helper()
	b, err := New(cfg, Deps[string, string]{
		Commit: f.commit, Splittable: func(err error) bool { return errors.Is(err, errGuilty) },
		Parallel: 1, Metrics: prometheus.NewRegistry(), Log: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	return b, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestIdleWriteWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, Default("a"), &fake{})
		defer stop()
		began := time.Now()
		res, err := b.Do(t.Context(), 0, "a")
		if res != "did a" || err != nil || time.Since(began) != 0 {
			t.Errorf("Do = %q, %v after %s; want an answer at once", res, err, time.Since(began))
		}
	})
}

func TestNextGroupGathersWhileOneCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{gate: make(chan struct{})}
		b, stop := start(t, Default("a"), f)
		defer stop()
		var wg sync.WaitGroup
		for n := range 5 {
			wg.Go(func() {
				if _, err := b.Do(t.Context(), 0, fmt.Sprint(n)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // arrival order
		}
		close(f.gate)
		wg.Wait()
		if diff := cmp.Diff([][]string{{"0"}, {"1", "2", "3", "4"}}, f.groups); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFullQueueIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{gate: make(chan struct{})}
		b, stop := start(t, bounds(1, 1), f)
		defer stop()
		var wg sync.WaitGroup
		for _, item := range []string{"running", "queued"} {
			wg.Go(func() { _, _ = b.Do(t.Context(), 0, item) })
			synctest.Wait()
		}
		if _, err := b.Do(t.Context(), 0, "over"); !errors.Is(err, ErrFull) {
			t.Errorf("err = %v, want ErrFull", err)
		}
		close(f.gate)
		wg.Wait()
	})
}

func TestCallerThatGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{gate: make(chan struct{})}
		b, stop := start(t, Default("a"), f)
		defer stop()
		running, queuedErr := make(chan error, 1), make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := b.Do(ctx, 0, "running"); running <- err }()
		synctest.Wait()
		go func() { _, err := b.Do(ctx, 0, "queued"); queuedErr <- err }()
		synctest.Wait()
		cancel()
		if err := <-running; !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("a committing item: %v, want ErrOutcomeUnknown", err)
		}
		if err := <-queuedErr; !errors.Is(err, ErrNotDone) {
			t.Errorf("a queued item: %v, want ErrNotDone", err)
		}
		if _, err := b.Do(ctx, 0, "late"); !errors.Is(err, ErrNotDone) {
			t.Errorf("an ended context: %v, want ErrNotDone", err)
		}
		close(f.gate)
		synctest.Wait()
		if diff := cmp.Diff([]string{"running"}, f.all()); diff != "" {
			t.Error("what was reported as not done must never be written:", diff)
		}
	})
}

func TestOnlyTheGuiltyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{gate: make(chan struct{})}
		b, stop := start(t, Default("a"), f)
		defer stop()
		errs := make(map[string]error)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, item := range []string{"first", "a", "b", "bad", "c", "d"} {
			wg.Go(func() {
				_, err := b.Do(t.Context(), 0, item)
				mu.Lock()
				defer mu.Unlock()
				errs[item] = err
			})
			synctest.Wait()
		}
		close(f.gate)
		wg.Wait()
		for item, err := range errs {
			if (item == "bad") != errors.Is(err, errGuilty) {
				t.Errorf("%s: %v", item, err)
			}
		}
		if diff := cmp.Diff([]string{"first", "a", "b", "c", "d"}, f.all()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPanicAnswersItsGroupAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, Default("a"), &fake{})
		defer stop()
		if _, err := b.Do(t.Context(), 0, "boom"); !errors.Is(err, ErrPanicked) {
			t.Errorf("err = %v, want ErrPanicked", err)
		}
		if res, err := b.Do(t.Context(), 0, "next"); err != nil || res != "did next" {
			t.Errorf("after a panic: %q, %v", res, err)
		}
	})
}

func TestStopAnswersWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{gate: make(chan struct{})}
		b, stop := start(t, bounds(10, 1), f)
		var wg sync.WaitGroup
		for n := range 3 {
			wg.Go(func() {
				if _, err := b.Do(t.Context(), 0, fmt.Sprint(n)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(f.gate)
		stop()
		wg.Wait()
		if _, err := b.Do(t.Context(), 0, "late"); !errors.Is(err, ErrClosed) {
			t.Errorf("after the stop: %v, want ErrClosed", err)
		}
	})
}

// Whatever callers do, an item is committed exactly when its caller was not
// told otherwise.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		bad := rapid.SliceOfN(rapid.Bool(), 1, 40).Draw(r, "bad")
		patience := rapid.SliceOfN(rapid.IntRange(0, 3), len(bad), len(bad)).Draw(r, "patience")
		group := rapid.IntRange(1, 8).Draw(r, "group")
		f := &fake{}
		b, stop := start(t, bounds(1000, group), f)
		errs := make([]error, len(bad))
		var wg sync.WaitGroup
		name := func(n int) string {
			if bad[n] {
				return fmt.Sprint("bad", n)
			}
			return fmt.Sprint(n)
		}
		for n := range bad {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				if patience[n] == 0 {
					go cancel()
				}
				_, errs[n] = b.Do(ctx, 0, name(n))
				cancel()
			})
		}
		wg.Wait()
		stop()
		written := map[string]bool{}
		for _, i := range f.all() {
			if written[i] {
				r.Fatalf("%s was written twice", i)
			}
			written[i] = true
		}
		for n, err := range errs {
			switch {
			case err == nil && !written[name(n)]:
				r.Fatalf("%s was acknowledged and not written", name(n))
			case (errors.Is(err, ErrNotDone) || errors.Is(err, errGuilty)) && written[name(n)]:
				r.Fatalf("%s was refused (%v) and written", name(n), err)
			}
		}
	})
}

func TestConfigNamesTheField(t *testing.T) {
	for want, change := range map[string]func(*Config, *KindConfig){
		"batch.commit-timeout":    func(c *Config, _ *KindConfig) { c.CommitTimeout = time.Hour },
		"batch.a.queue-size":      func(_ *Config, k *KindConfig) { k.QueueSize = 0 },
		"batch.a.max-batch-count": func(_ *Config, k *KindConfig) { k.MaxBatchCount = 10_001 },
		"batch.a.concurrency":     func(_ *Config, k *KindConfig) { k.Concurrency = 0 },
		"batch.a.task-life":       func(_ *Config, k *KindConfig) { k.TaskLife = time.Millisecond },
		"batch.a.wait-time":       func(_ *Config, k *KindConfig) { k.WaitTime = 2 * time.Second },
		"task-life (1s)":          func(_ *Config, k *KindConfig) { k.WaitTime = time.Second },
		"no kind":                 func(c *Config, _ *KindConfig) { c.Kinds = nil },
	} {
		c := Default("a")
		change(&c, &c.Kinds[0])
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error naming %s", err, want)
		}
	}
	if _, err := New(Default("a"), Deps[int, int]{}); err == nil {
		t.Error("a store that runs no commit was accepted")
	}
}

func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			bt, stop := start(b, Default("a"), &fake{})
			defer stop()
			b.SetParallelism(callers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := bt.Do(context.Background(), 0, "x"); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
