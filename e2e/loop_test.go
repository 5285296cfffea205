package e2e

import (
	"maps"
	"sync"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// loop sends requests until it is stopped: ten every 50 ms, so that all
// clients together leave some of the machine to what is tested.
type loop struct {
	stop func() // waits for the request under way

	mu  sync.Mutex
	sum harness.Counts
}

func startLoop(t *testing.T, call caller) *loop {
	end, ended := make(chan struct{}), make(chan struct{})
	l := &loop{stop: sync.OnceFunc(func() { close(end); <-ended })}
	go func() {
		defer close(ended)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			l.add(call(10))
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(l.stop)
	return l
}

func (l *loop) add(c harness.Counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sum.By == nil {
		l.sum.By = map[string]int{}
	}
	for name, n := range c.By {
		l.sum.By[name] += n
	}
	if l.sum.Errors += c.Errors; c.Errors > 0 {
		l.sum.Last = c.Last
	}
}

// beside is a caller whose answers include those that the loop got meanwhile.
// A proxy that takes turns may give one backend to the one and the other to
// the other of two callers in lock-step; together they see both.
func (l *loop) beside(call caller) caller {
	return func(n int) harness.Counts {
		before := l.by()
		out := call(n)
		for name, n := range l.by() {
			if more := n - before[name]; more > 0 {
				if out.By == nil { // the call itself failed
					out.By = map[string]int{}
				}
				out.By[name] += more
			}
		}
		return out
	}
}

func (l *loop) by() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.sum.By)
}

func (l *loop) counts() (answered, failed int, last string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum.Total(), l.sum.Errors, l.sum.Last
}
