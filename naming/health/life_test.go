package health

import (
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"polestar/naming"
)

// A day of a thousand clients whose beats come up to a tenth of a TTL early or
// late and of which one in twenty is lost: nobody flips, and nothing is held.
func TestADayWithoutAFalseFlip(t *testing.T) {
	const step = 100 * time.Millisecond
	ttls := [...]uint32{10, 20, 30, 60, 60}
	bubble(t, func(l *Leases, j *journal) {
		random := rand.New(rand.NewPCG(1, 2))
		var due [2048][]int // by step, which clients beat; the longest wait is shorter than it is round
		ids := make([]string, 1000)
		for n := range ids {
			ids[n] = name(n)
			l.TrackIn(ids[n], naming.ServiceKey{Name: strconv.Itoa(n / 50)}, ttls[n%5], true)
			first := random.IntN(int(ttls[n%5]) * 10)
			due[first] = append(due[first], n)
		}
		for now := range int(24 * time.Hour / step) {
			clients := due[now%2048]
			due[now%2048] = nil
			for _, n := range clients {
				if !l.Beat(ids[n]) {
					t.Fatalf("%s is unknown after %s", ids[n], time.Since(j.start))
				}
				ttl := int(ttls[n%5]) * 10 // steps
				wait := ttl*9/10 + random.IntN(ttl/5)
				if random.IntN(20) == 0 {
					wait += ttl // one beat is lost
				}
				next := (now + wait) % 2048
				due[next] = append(due[next], n)
			}
			time.Sleep(step)
		}
		j.expect()
		if n := j.gauge("polestar_lease_held_total", "service") + j.gauge("polestar_lease_held_total", "all"); n != 0 {
			t.Errorf("%v were held", n)
		}
		if n := j.gauge("polestar_lease_pauses_total", ""); n != 0 {
			t.Errorf("%v pauses", n)
		}
		if n := j.gauge("polestar_beats_total", "ok"); n < 3_000_000 {
			t.Errorf("only %v beats", n)
		}
	})
}

// Everything at once from many goroutines: for the race detector.
func TestManyGoroutines(t *testing.T) {
	bubbleWith(t, Default(), nil, func(l *Leases, j *journal) {
		j.then = l.Flipped
		var all sync.WaitGroup
		for g := range 8 {
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(g), 0))
				for range 2000 {
					id := name(random.IntN(200))
					service := naming.ServiceKey{Name: name(random.IntN(5))}
					switch random.IntN(10) {
					case 0:
						l.TrackIn(id, service, 1+random.Uint32N(3), random.IntN(2) == 0)
					case 1:
						l.Forget(id)
					case 2:
						l.Stored(id, random.IntN(2) == 0)
						l.Flipped(id, random.IntN(2) == 0)
					case 3:
						l.State(id)
						l.Suspects()
						l.Release(service)
					case 4:
						time.Sleep(time.Duration(random.IntN(int(2 * time.Second))))
					default:
						l.Beat(id)
					}
					runtime.Gosched()
				}
			})
		}
		all.Wait()
		for n := range 200 {
			l.Forget(name(n))
		}
		time.Sleep(time.Minute)
		empty(t, l)
	})
}
