package ads

import (
	"fmt"
	"testing"
	"time"

	"polestar/xds/resource"
)

// FuzzHostile lets a client say anything in any order, while the world
// changes. It may end its stream with an error; it must not do more: one
// response per type is in flight, the machine comes to rest, and its
// subscriptions are those that it watches (the world panics otherwise).
func FuzzHostile(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte("\x01\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"))
	f.Add([]byte("\x02abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"))
	f.Fuzz(playHostile)
}

// TestBoundsAgainstAHostileClient is a taste of FuzzHostile for each test run.
func TestBoundsAgainstAHostileClient(t *testing.T) { atRandom(t, playHostile) }

// letters are the bytes of a script, read one after the other.
type letters []byte

func (l *letters) next() int {
	if len(*l) == 0 {
		return 0
	}
	b := (*l)[0]
	*l = (*l)[1:]
	return int(b)
}

var hostileNames = []string{"a", "b", "c", "*", "", "default/cart", "x/y/z", "\x00"}

func (l *letters) names(most int) []string {
	var out []string
	for range l.next() % (most + 1) {
		out = append(out, hostileNames[l.next()%len(hostileNames)])
	}
	return out
}

func playHostile(t *testing.T, script []byte) {
	if len(script) > 400 {
		return
	}
	l := letters(script)
	kind := l.next()
	delta, w := kind&1 != 0, newWorld()
	m := NewSotW(w, kind&2 != 0)
	if delta {
		m = NewDelta(w, kind&2 != 0)
	}
	now := zero
	unanswered := map[string]string{} // nonce by type
	nonces := []string{""}
	pump := func(most int) {
		for range most {
			m.Changed(w.take())
			r := m.Next(now)
			if r == nil {
				return
			}
			if r.known {
				if unanswered[r.URL] != "" {
					t.Fatalf("%s sent while #%s is in flight", describe(r), unanswered[r.URL])
				}
				unanswered[r.URL] = r.Nonce
			}
			nonces = append(nonces, r.Nonce)
		}
		if most > 1 {
			t.Fatal("does not come to rest")
		}
	}
	for len(l) > 0 {
		switch typ := resource.Type(l.next() % types); l.next() % 6 {
		case 0:
			w.put(typ, hostileNames[l.next()%3], fmt.Sprint("v", l.next()%4))
		case 1:
			w.put(typ, hostileNames[l.next()%3], "")
		case 2:
			pump(1)
		case 3:
			now = now.Add(time.Duration(l.next()%8) * time.Second)
		default:
			r := hostileRequest(&l, typ, nonces)
			if r.Nonce != "" && r.Nonce == unanswered[r.URL] {
				delete(unanswered, r.URL)
			}
			if _, err := m.Request(now, r); err != nil {
				return // the stream ends
			}
		}
	}
	pump(100)
	now = now.Add(time.Hour)
	pump(100)
	for _, n := range m.Names() {
		_ = n.State()
	}
}

func hostileRequest(l *letters, typ resource.Type, nonces []string) Request {
	how := l.next()
	r := Request{URL: typ.URL(), Nonce: nonces[len(nonces)-1-l.next()%min(3, len(nonces))], Refused: how&1 != 0, Reason: "\xff no"}
	if how&2 != 0 {
		r.Nonce = "never sent"
	}
	if how&12 == 12 {
		r.URL = fmt.Sprint("unknown/", how>>4&3)
	}
	r.Subscribe, r.Unsubscribe = l.names(4), l.names(3)
	if how&16 != 0 {
		r.Initial = map[string]string{}
		for _, name := range l.names(3) {
			r.Initial[name] = fmt.Sprint("v", l.next()%5)
		}
	}
	return r
}
