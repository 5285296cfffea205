package audit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"polestar/auth"
	"polestar/auth/audit"
	"polestar/naming"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log keeps what was written, and fails on command.
type log struct {
	mu      sync.Mutex
	fail    error
	commits [][]naming.Refusal
}

func (l *log) write(_ context.Context, all []naming.Refusal) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail == nil {
		l.commits = append(l.commits, slices.Clone(all))
	}
	return l.fail
}

func (l *log) count() (n uint64) {
	for _, c := range l.commits {
		for _, r := range c {
			n += r.Count
		}
	}
	return n
}

// recording runs a recorder in a bubble of fake time; end stops it.
func recording(t *testing.T, l *log) (r *audit.Recorder, end func()) {
	t.Helper()
	r, err := audit.New(audit.Deps{Write: l.write, Now: time.Now, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func knock(who string) auth.Refusal {
	return auth.Refusal{
		Principal: auth.Principal{ID: "1", Name: who, Token: "t"}, Address: "10.0.0.1", Method: "GET /x", Action: auth.Read,
		Resource: auth.Resource{Namespace: "n", Service: "s", ServiceCreator: "c"}, Reason: auth.Forbidden,
	}
}

func TestEqualRefusalsAreCountedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		r, end := recording(t, l)
		r.Refused(knock("eve"))
		synctest.Wait()
		if len(l.commits) != 1 { // at once, for it was quiet
			t.Fatalf("%d commits", len(l.commits))
		}
		want := naming.Refusal{
			Principal: "eve", Address: "10.0.0.1", Action: "read", Service: naming.ServiceKey{Namespace: "n", Name: "s"}, Reason: "forbidden",
			Method: "GET /x", Count: 1, First: naming.Micros(time.Now().UnixMicro()), Last: naming.Micros(time.Now().UnixMicro()),
		}
		if got := l.commits[0][0]; got != want {
			t.Errorf("wrote %+v, want %+v", got, want)
		}
		for range 1000 {
			r.Refused(knock("eve"))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(l.commits) != 2 || l.commits[1][0].Count != 1000 || l.commits[1][0].Last-l.commits[1][0].First != 999_000 {
			t.Errorf("wrote %+v", l.commits[1:])
		}
		end()
	})
}

// A flood of different refusals costs two commits in twenty seconds, and the
// sum is right.
func TestFloodsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		r, end := recording(t, l)
		for n := range 100_000 {
			r.Refused(knock(fmt.Sprint("eve", n)))
		}
		time.Sleep(15 * time.Second)
		end()
		if len(l.commits) > 2 || l.count() != 100_000 {
			t.Errorf("%d commits with %d refusals", len(l.commits), l.count())
		}
		for _, c := range l.commits {
			if len(c) > naming.MaxRefusals {
				t.Errorf("a commit of %d", len(c))
			}
		}
	})
}

// While the store is away refusals wait; what is left at the end is written.
func TestNothingIsLostWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{fail: errors.New("away")}
		r, end := recording(t, l)
		for n := range 30 {
			r.Refused(knock(fmt.Sprint("eve", n%3)))
			time.Sleep(time.Second)
		}
		l.mu.Lock()
		l.fail = nil
		l.mu.Unlock()
		end()
		if l.count() != 30 || len(l.commits) != 1 || len(l.commits[0]) != 3 {
			t.Errorf("%+v", l.commits)
		}
	})
}

// Who is refused for days with words of his own choice takes no more of the
// change log than a small part of its bound, and everything is counted.
func TestFloodsDoNotPushOutTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		r, end := recording(t, l)
		const times = 24 * 3600
		for n := range times {
			f := knock(fmt.Sprint("eve", n))
			f.Address = fmt.Sprint("127.0.", n%256, ".1")
			r.Refused(f)
			time.Sleep(time.Second)
		}
		end()
		records := 0
		for _, c := range l.commits {
			records += len(c)
		}
		if records > 30_000 || l.count() != times {
			t.Errorf("a day took %d records in %d commits, for %d of %d refusals", records, len(l.commits), l.count(), times)
		}
	})
}
