package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is what was written, with the time since the start.
type journal struct {
	t     *testing.T
	start time.Time
	mu    sync.Mutex
	lines []string
	err   atomic.Pointer[error]
	gate  chan struct{} // when set, a flip waits for it before it is written
}

func (j *journal) flip(_ context.Context, id string, healthy bool) error {
	if j.gate != nil {
		<-j.gate
	}
	if err := j.err.Load(); err != nil {
		return *err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf("%s %v %s", id, healthy, time.Since(j.start)))
	return nil
}

func (j *journal) expect(want ...string) {
	j.t.Helper()
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	if diff := cmp.Diff(want, j.lines); diff != "" {
		j.t.Error(diff)
	}
}

// bubble runs f with running leases on fake time.
func bubble(t *testing.T, f func(l *Leases, j *journal)) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{t: t, start: time.Now()}
		l, err := New(Default(), Deps{Flip: j.flip, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
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

func TestExpiresAfterThreeTTLsAndOneTick(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 2, true)
		time.Sleep(10 * time.Second)
		j.expect("a false 6.25s")
	})
}

func TestBeatsKeepHealthy(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		for range 24 * 3600 { // a day
			time.Sleep(time.Second)
			if !l.Beat("a") {
				t.Fatal("the lease is gone")
			}
		}
		j.expect()
	})
}

func TestBeatExactlyAtTheDeadlineIsInTime(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 2, true)
		for range 100 {
			time.Sleep(6 * time.Second)
			l.Beat("a")
		}
		j.expect()
	})
}

func TestFirstBeatMakesHealthyAtOnce(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		time.Sleep(10 * time.Second)
		l.Beat("a")
		j.expect("a false 3.25s", "a true 10s")
		time.Sleep(10 * time.Second)
		j.expect("a false 3.25s", "a true 10s", "a false 13.25s")
	})
}

func TestRegistrationIsABeat(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		time.Sleep(2 * time.Second)
		l.Track("a", 1, true)
		time.Sleep(2 * time.Second)
		j.expect()
		time.Sleep(2 * time.Second)
		j.expect("a false 5.25s")
	})
}

func TestForgottenNeverExpires(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		l.Track("b", 1, true)
		l.Forget("a")
		l.Track("b", 0, true) // registered again without a health check
		time.Sleep(10 * time.Second)
		j.expect()
		if l.Beat("a") || l.Beat("b") || l.Beat("never seen") {
			t.Error("a beat found a lease that is gone")
		}
		if _, known := l.State("never seen"); known {
			t.Error("a beat of an unknown id left something behind")
		}
	})
}

func TestLongTTL(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 3600, true)
		time.Sleep(4 * time.Hour)
		j.expect("a false 3h0m0.25s")
	})
}

func TestUnhealthyAtTheStartComesBackOnABeat(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, false)
		time.Sleep(10 * time.Second)
		j.expect()
		l.Beat("a")
		j.expect("a true 10s")
	})
}

// A beat that arrives while the flip to unhealthy is being written is not
// forgotten: the flip back follows.
func TestBeatDuringTheFlip(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		j.gate = make(chan struct{})
		l.Track("a", 1, true)
		time.Sleep(4 * time.Second)
		l.Beat("a")
		close(j.gate)
		j.expect("a false 4s", "a true 4s")
	})
}

// A flip that is overtaken by a new registration must not leave the instance
// unhealthy while it beats.
func TestStaleFlipIsUndone(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		l.Track("a", 1, true)
		l.Forget("a")
		l.Track("a", 1, true)
		l.Stored("a", false) // the old lease's flip was committed last
		time.Sleep(time.Second)
		l.Beat("a")
		j.expect("a true 250ms")
	})
}

func TestStoreThatTakesNoWritesHoldsLeases(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		down := errors.New("store is away")
		j.err.Store(&down)
		l.Track("a", 1, true)
		time.Sleep(30 * time.Second)
		j.err.Store(nil)
		time.Sleep(1200 * time.Millisecond)
		if st, _ := l.State("a"); !st.Healthy {
			t.Error("the lease was not held")
		}
		time.Sleep(10 * time.Second)
		j.mu.Lock()
		defer j.mu.Unlock()
		last := j.lines[len(j.lines)-1]
		if !strings.HasPrefix(last, "a false") {
			t.Errorf("after the outage a dead instance must expire: %v", j.lines)
		}
	})
}

// Time in which the process did not run is no silence of the clients'. The
// sweeper's steps are taken by hand: nothing else can stop it on fake time.
func TestPauseOfTheServerExpiresNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Default(), Deps{Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		run := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				time.Sleep(l.cfg.Tick)
				l.step(l.cfg.Tick)
			}
		}
		for n := range 100 {
			l.Track(fmt.Sprint(n), 1, true)
		}
		run(time.Second)
		time.Sleep(40 * time.Second)
		l.step(40 * time.Second)
		run(2 * time.Second) // clients are back within two TTLs
		for n := range 100 {
			l.Beat(fmt.Sprint(n))
		}
		run(2 * time.Second)
		if n := len(l.flips); n != 0 {
			t.Errorf("%d instances were to expire", n)
		}
		run(2 * time.Second)
		if n := len(l.flips); n != 100 {
			t.Errorf("%d instances expire when their beats really end, want 100", n)
		}
	})
}

func TestRunGivesFullTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{t: t, start: time.Now()}
		l, _ := New(Default(), Deps{Flip: j.flip, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
		l.Track("a", 1, true)
		time.Sleep(time.Minute) // loading took long
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		time.Sleep(10 * time.Second)
		j.expect("a false 1m3.25s")
		cancel()
		<-done
	})
}

func BenchmarkBeat(b *testing.B) {
	l, err := New(Default(), Deps{Flip: func(context.Context, string, bool) error { return nil }, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	ids := make([]string, 1_000_000)
	for n := range ids {
		ids[n] = fmt.Sprintf("%040d", n)
		l.Track(ids[n], 5, true)
	}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			l.Beat(ids[n*7919%len(ids)])
		}
	})
}
