package ads

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"polestar/xds/resource"
)

// FuzzMachine lets a conforming client and a changing world race in every
// order, with refusals, and compares at the end what the client has with what
// exists. The checks on the way are the client's.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte("\x01\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0"))
	f.Add([]byte("\x03abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"))
	f.Add([]byte("\x02\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x00\x01\x02\x03\x04\x05"))
	f.Fuzz(playMachine)
}

// TestMachineAtRandom is a taste of FuzzMachine for each test run.
func TestMachineAtRandom(t *testing.T) { atRandom(t, playMachine) }

func atRandom(t *testing.T, play func(*testing.T, []byte)) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		script := make([]byte, 5+random.IntN(100))
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		play(t, script)
	}
}

func playMachine(t *testing.T, script []byte) {
	if len(script) == 0 || len(script) > 400 {
		return
	}
	c := newClient(t, newWorld(), script[0]&1 != 0, script[0]&2 != 0)
	if script[0]&4 != 0 {
		c.refuses = func(name, version string) bool { return version == "v3" || version == "v2" && name == "a" }
	}
	for _, t := range []resource.Type{resource.Cluster, resource.Listener} {
		c.types[t].wildcard = c.envoy && script[0]&8 != 0
	}
	for _, b := range script[1:] {
		c.do(b)
	}
	c.settle()
	// Let the client unblock what waits for its turn.
	c.now = c.now.Add(time.Hour)
	c.settle()
	c.check()
}

// do plays one step.
func (c *client) do(b byte) {
	t, name := namedTypes()[b>>2&3], string(rune('a'+b&3))
	c.note("-- %#x", b)
	switch b >> 4 {
	case 0, 1, 2, 3:
		c.w.put(t, name, fmt.Sprintf("v%d", b>>4))
	case 4:
		c.w.put(t, name, "")
		c.types[t].asked[name] = true // it may come back as it was
	case 5:
		c.subscribe(t, name)
	case 6:
		c.unsubscribe(t, name)
	case 7:
		c.start(t)
	case 8, 9:
		c.stepUp()
	case 10, 11:
		c.stepServer()
	case 12, 13:
		c.stepDown()
	case 14:
		c.now = c.now.Add(time.Duration(b&15) * time.Second)
	default:
		if b == 0xff {
			c.connect()
		} else {
			c.settle()
		}
	}
}

// FuzzOrder lets services come and go, each a cluster that the one route
// names, and checks at the client that no route ever names a cluster that the
// client does not have.
func FuzzOrder(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3})
	f.Add([]byte("\x01\x03\x10\x20\x30\x05\x10\x20\x30\x00\x20\x30\x10\x07"))
	f.Add([]byte("\x02\x0f\x10\x10\x20\x20\x20\x30\x0e\x20\x30\x10\x01\x20"))
	f.Fuzz(playOrder)
}

// TestOrderAtRandom is a taste of FuzzOrder for each test run.
func TestOrderAtRandom(t *testing.T) { atRandom(t, playOrder) }

func playOrder(t *testing.T, script []byte) {
	if len(script) == 0 || len(script) > 400 {
		return
	}
	c := newClient(t, newWorld(), script[0]&1 != 0, true)
	o := order{client: c, up: map[string]bool{}}
	o.change("")
	c.start(resource.Cluster)
	c.settle()
	c.subscribe(resource.Route, "routes")
	c.settle()
	for _, b := range script[1:] {
		o.do(b)
	}
	c.settle()
	c.now = c.now.Add(time.Hour)
	c.settle()
	c.check()
	o.check()
}

type order struct {
	*client
	up map[string]bool
	n  int
}

func (o *order) do(b byte) {
	switch b >> 4 & 3 {
	case 0: // two services at once
		o.change(string(rune('a'+b&3)), string(rune('a'+b>>2&3)))
	case 1:
		o.stepUp()
	case 2:
		o.stepServer()
	case 3:
		o.stepDown()
	}
	o.check()
}

// change toggles services and publishes their clusters with the route.
func (o *order) change(names ...string) {
	o.n++
	for _, name := range names {
		if name == "" {
			continue
		}
		if o.up[name] = !o.up[name]; o.up[name] {
			o.w.put(resource.Cluster, name, fmt.Sprint("v", o.n))
			o.w.put(resource.Endpoints, name, fmt.Sprint("v", o.n))
		} else {
			o.w.put(resource.Cluster, name, "")
			o.w.put(resource.Endpoints, name, "")
		}
	}
	var list strings.Builder
	for _, name := range []string{"a", "b", "c", "d"} {
		if o.up[name] {
			list.WriteString(name)
		}
		for t := range o.types {
			o.types[t].asked[name] = true
		}
	}
	o.w.put(resource.Route, "routes", fmt.Sprintf("%s.%d", &list, o.n))
}

func (o *order) check() {
	clusters := o.types[resource.Cluster].have
	routes, _, _ := strings.Cut(o.types[resource.Route].have["routes"], ".")
	for _, name := range routes {
		if clusters[string(name)] == "" {
			o.fail("the route names %c, clusters are %v", name, clusters)
		}
	}
}
