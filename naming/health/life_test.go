package health

import (
	"container/heap"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"polestar/naming"
)

// beater is a client and when it beats next.
type beater struct {
	id   string
	ttl  time.Duration
	next time.Duration
}

type beaters []*beater

func (b beaters) Len() int           { return len(b) }
func (b beaters) Less(i, j int) bool { return b[i].next < b[j].next }
func (b beaters) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *beaters) Push(x any)        { *b = append(*b, x.(*beater)) } //nolint:forcetypeassert // ours
func (b *beaters) Pop() any          { x := (*b)[len(*b)-1]; *b = (*b)[:len(*b)-1]; return x }

// A day of a thousand clients whose beats come up to a tenth of a TTL early or
// late and of which one in twenty is lost: nobody flips, and nothing is held.
func TestADayWithoutAFalseFlip(t *testing.T) {
	bubble(t, func(l *Leases, j *journal) {
		random := rand.New(rand.NewPCG(1, 2))
		var clients beaters
		for n := range 1000 {
			ttl := []uint32{5, 10, 20, 30, 60}[n%5]
			b := &beater{id: name(n), ttl: time.Duration(ttl) * time.Second}
			b.next = time.Duration(random.Int64N(int64(b.ttl)))
			l.TrackIn(b.id, naming.ServiceKey{Name: strconv.Itoa(n / 50)}, ttl, true)
			clients = append(clients, b)
		}
		heap.Init(&clients)
		for now := time.Duration(0); now < 24*time.Hour; {
			now += 100 * time.Millisecond
			time.Sleep(100 * time.Millisecond)
			for clients[0].next <= now {
				b := clients[0]
				if !l.Beat(b.id) {
					t.Fatalf("%s is unknown after %s", b.id, now)
				}
				wait := b.ttl*9/10 + time.Duration(random.Int64N(int64(b.ttl/5)))
				if random.IntN(20) == 0 {
					wait += b.ttl // one beat is lost
				}
				b.next += wait
				heap.Fix(&clients, 0)
			}
		}
		j.expect()
		if n := j.gauge("polestar_lease_held_total", "service") + j.gauge("polestar_lease_held_total", "all"); n != 0 {
			t.Errorf("%v were held", n)
		}
		if n := j.gauge("polestar_lease_pauses_total", ""); n != 0 {
			t.Errorf("%v pauses", n)
		}
		if n := j.gauge("polestar_beats_total", "ok"); n < 5_000_000 {
			t.Errorf("only %v beats", n)
		}
	})
}

// Everything at once from many goroutines: for the race detector.
func TestManyGoroutines(t *testing.T) {
	bubbleWith(t, Default(), nil, func(l *Leases, j *journal) {
		j.then = l.Stored
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
