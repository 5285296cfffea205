package health

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
)

// million makes leases of a million ids as Polaris makes them, in services of
// 100.
func million(tb testing.TB) (*Leases, []string) {
	tb.Helper()
	l, err := New(Default(), Deps{
		Flip: func(context.Context, string, bool) error { return nil }, Metrics: prometheus.NewRegistry(), Log: zap.NewNop(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	ids := make([]string, 1_000_000)
	for n := range ids {
		ids[n] = fmt.Sprintf("%040d", n)
	}
	for n, id := range ids {
		l.TrackIn(id, naming.ServiceKey{Namespace: "prod", Name: strconv.Itoa(n / 100)}, 5, true)
	}
	return l, ids
}

func TestLeaseFitsIntoItsSizeClass(t *testing.T) {
	if n := unsafe.Sizeof(lease{}); n > 64 {
		t.Errorf("a lease takes %d bytes", n)
	}
}

func BenchmarkBeat(b *testing.B) {
	l, ids := million(b)
	b.ResetTimer()
	before := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			l.Beat(ids[n*7919%len(ids)])
		}
	})
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpu is the processor time of this process: what other processes take does not
// show in it.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func BenchmarkBeatUnknown(b *testing.B) {
	l, _ := million(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Beat("nobody has this id")
		}
	})
}

// BenchmarkSweep is a tick with a million leases that beat every five seconds.
func BenchmarkSweep(b *testing.B) {
	l, ids := million(b)
	var now time.Duration
	l.clock = func() time.Duration { return now }
	share := len(ids) / 20
	turn := func(n int) {
		for _, id := range ids[n%20*share : (n%20+1)*share] {
			l.Beat(id)
		}
		now += l.cfg.Tick
	}
	for n := range 100 {
		turn(n)
		l.step(now)
	}
	b.ResetTimer()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		turn(n)
		b.StartTimer()
		l.step(now)
	}
}

// BenchmarkMassLoss is the tick in which a million leases are held at once.
func BenchmarkMassLoss(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		l, ids := million(b)
		now := l.clock()
		l.clock = func() time.Duration { return now }
		l.renew(now)
		now += 15*time.Second + l.cfg.Tick
		l.last = now
		b.StartTimer()
		l.step(now)
		b.StopTimer()
		if n := int(l.all.suspects.Load()); n != len(ids) {
			b.Fatalf("%d suspects", n)
		}
		b.StartTimer()
	}
}

// BenchmarkMemory reports the bytes per lease beyond its id.
func BenchmarkMemory(b *testing.B) {
	ids := make([]string, 1_000_000)
	for n := range ids {
		ids[n] = fmt.Sprintf("%040d", n)
	}
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		l, _ := New(Default(), Deps{Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
		for n, id := range ids {
			l.TrackIn(id, naming.ServiceKey{Namespace: "prod", Name: strconv.Itoa(n / 100)}, 5, true)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(ids)), "B/lease")
		runtime.KeepAlive(l)
	}
	runtime.KeepAlive(ids)
}
