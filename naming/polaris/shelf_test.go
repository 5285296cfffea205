package polaris

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"polestar/naming"
)

// page is a view that counts how often it is made.
type page struct {
	name    string
	at      naming.Revision
	size    int
	fail    error
	explode bool
	made    atomic.Int32
}

func (p *page) place() place     { return place{service: naming.ServiceKey{Name: p.name}} }
func (p *page) version() version { return version{revision: p.at} }
func (p *page) revision() string { return fmt.Sprint(p.name, "-", p.at) }

func (p *page) encode() (data, error) {
	p.made.Add(1)
	if p.explode {
		panic("boom")
	}
	return data{fields: bytes.Repeat([]byte{byte(p.at)}, p.size)}, p.fail
}

// read asks the shelf for a view.
func read(s *shelf, p *page) (string, data, error) {
	e := s.find(p.place(), p.version())
	revision, _ := e.revision.get(func() (string, error) { return p.revision(), nil })
	d, err := s.encoded(p.place(), e, p.encode)
	return revision, d, err
}

// held counts the bytes that the shelf can reach.
func (s *shelf) held() (n int) {
	for _, generation := range []map[place]*entry{s.fresh, s.old} {
		for _, e := range generation {
			n += len(e.data.v.fields)
		}
	}
	return n
}

func TestAVersionIsMadeOnceForAll(t *testing.T) {
	s := newShelf(1 << 20)
	p := &page{name: "a", at: 1, size: 100}
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if revision, d, err := read(s, p); err != nil || revision != "a-1" || len(d.fields) != 100 {
				t.Error(revision, len(d.fields), err)
			}
		})
	}
	all.Wait()
	if n := p.made.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
	next := &page{name: "a", at: 2, size: 50}
	if revision, d, _ := read(s, next); revision != "a-2" || d.fields[0] != 2 {
		t.Errorf("after a change: %s %v", revision, d.fields[0])
	}
	if got := s.held(); got != 50 {
		t.Errorf("%d bytes held: an old version stayed", got)
	}
}

// Somebody who still reads the snapshot before gets its content, and the newer
// one stays for the others.
func TestASlowCallerDoesNotDisplaceWhatIsNewer(t *testing.T) {
	s := newShelf(1 << 20)
	older, newer := &page{name: "a", at: 1, size: 1}, &page{name: "a", at: 2, size: 1}
	for range 3 {
		for _, p := range []*page{newer, older} {
			if revision, d, err := read(s, p); err != nil || revision != p.revision() || d.fields[0] != byte(p.at) {
				t.Errorf("asked for %d: %s %v %v", p.at, revision, d.fields, err)
			}
		}
	}
	if n := newer.made.Load(); n != 1 {
		t.Errorf("the newer one was made %d times", n)
	}
}

func TestTheShelfIsBounded(t *testing.T) {
	const most, size, names = 100_000, 1000, 2000
	s := newShelf(most)
	hot := &page{name: "hot", at: 1, size: size}
	for round := range naming.Revision(3) {
		for n := range names {
			p := &page{name: fmt.Sprint(n), at: round + 1, size: size}
			if _, _, err := read(s, p); err != nil {
				t.Fatal(err)
			}
			if n%20 == 0 {
				if _, _, err := read(s, hot); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.held(); got > 2*(most+size) {
				t.Fatalf("%d bytes held, the bound is %d", got, 2*(most+size))
			}
		}
	}
	if n := hot.made.Load(); n != 1 {
		t.Errorf("what is asked for all the time was made %d times", n)
	}
	if entries := len(s.fresh) + len(s.old); entries > 2*most/size {
		t.Errorf("%d entries", entries)
	}
	// Entries without data, as of unchanged polls, count too.
	for n := range 100_000 {
		s.find(place{business: fmt.Sprint(n)}, version{})
	}
	if entries := len(s.fresh) + len(s.old); entries > 2*most/entryBytes+2 {
		t.Errorf("%d entries without data", entries)
	}
}

// What cannot be made is an error for everybody, not a crash or an empty answer.
func TestWhatCannotBeMadeIsAnError(t *testing.T) {
	s := newShelf(1 << 20)
	bad := errors.New("bad")
	for range 2 {
		if _, _, err := read(s, &page{name: "fails", fail: bad}); !errors.Is(err, bad) {
			t.Error(err)
		}
	}
	p := &page{name: "panics", explode: true}
	func() {
		defer func() { _ = recover() }()
		_, _, _ = read(s, p)
	}()
	if _, d, err := read(s, p); !errors.Is(err, errNotMade) || d.fields != nil {
		t.Errorf("after a panic: %v %v", d, err)
	}
}
