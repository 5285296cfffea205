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

// start runs a batcher and returns it with the function that stops it.
func start(t testing.TB, cfg Config, f *fake) (*Batcher[string, string], func()) {
	t.Helper()
	b, err := New(cfg, Deps[string, string]{
		Commit: f.commit, Splittable: func(err error) bool { return errors.Is(err, errGuilty) },
		Metrics: prometheus.NewRegistry(), Log: zap.NewNop(),
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
		b, stop := start(t, Default(), &fake{})
		defer stop()
		began := time.Now()
		res, err := b.Do(t.Context(), "a")
		if res != "did a" || err != nil || time.Since(began) != 0 {
			t.Errorf("Do = %q, %v after %s; want an answer at once", res, err, time.Since(began))
		}
	})
}

func TestNextGroupGathersWhileOneCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{gate: make(chan struct{})}
		b, stop := start(t, Default(), f)
		defer stop()
		var wg sync.WaitGroup
		for n := range 5 {
			wg.Go(func() {
				if _, err := b.Do(t.Context(), fmt.Sprint(n)); err != nil {
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
		b, stop := start(t, Config{QueueSize: 1, MaxGroup: 1, CommitTimeout: time.Second}, f)
		defer stop()
		var wg sync.WaitGroup
		for _, item := range []string{"running", "queued"} {
			wg.Go(func() { _, _ = b.Do(t.Context(), item) })
			synctest.Wait()
		}
		if _, err := b.Do(t.Context(), "over"); !errors.Is(err, ErrFull) {
			t.Errorf("err = %v, want ErrFull", err)
		}
		close(f.gate)
		wg.Wait()
	})
}

func TestCallerThatGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{gate: make(chan struct{})}
		b, stop := start(t, Default(), f)
		defer stop()
		running, queuedErr := make(chan error, 1), make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := b.Do(ctx, "running"); running <- err }()
		synctest.Wait()
		go func() { _, err := b.Do(ctx, "queued"); queuedErr <- err }()
		synctest.Wait()
		cancel()
		if err := <-running; !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("a committing item: %v, want ErrOutcomeUnknown", err)
		}
		if err := <-queuedErr; !errors.Is(err, ErrNotDone) {
			t.Errorf("a queued item: %v, want ErrNotDone", err)
		}
		if _, err := b.Do(ctx, "late"); !errors.Is(err, ErrNotDone) {
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
		b, stop := start(t, Default(), f)
		defer stop()
		errs := make(map[string]error)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, item := range []string{"first", "a", "b", "bad", "c", "d"} {
			wg.Go(func() {
				_, err := b.Do(t.Context(), item)
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
		b, stop := start(t, Default(), &fake{})
		defer stop()
		if _, err := b.Do(t.Context(), "boom"); !errors.Is(err, ErrPanicked) {
			t.Errorf("err = %v, want ErrPanicked", err)
		}
		if res, err := b.Do(t.Context(), "next"); err != nil || res != "did next" {
			t.Errorf("after a panic: %q, %v", res, err)
		}
	})
}

func TestStopAnswersWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{gate: make(chan struct{})}
		b, stop := start(t, Config{QueueSize: 10, MaxGroup: 1, CommitTimeout: time.Second}, f)
		var wg sync.WaitGroup
		for n := range 3 {
			wg.Go(func() {
				if _, err := b.Do(t.Context(), fmt.Sprint(n)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(f.gate)
		stop()
		wg.Wait()
		if _, err := b.Do(t.Context(), "late"); !errors.Is(err, ErrClosed) {
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
		b, stop := start(t, Config{QueueSize: 1000, MaxGroup: group, CommitTimeout: time.Second}, f)
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
				_, errs[n] = b.Do(ctx, name(n))
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
	for want, cfg := range map[string]Config{
		"batch.queue-size":     {QueueSize: 0, MaxGroup: 1, CommitTimeout: time.Second},
		"batch.max-group":      {QueueSize: 1, MaxGroup: 0, CommitTimeout: time.Second},
		"batch.commit-timeout": {QueueSize: 1, MaxGroup: 1, CommitTimeout: time.Hour},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error naming %s", cfg, err, want)
		}
	}
}

func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			bt, stop := start(b, Default(), &fake{})
			defer stop()
			b.SetParallelism(callers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := bt.Do(context.Background(), "x"); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
