package polaris_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"polestar/naming"
	"polestar/naming/polaris"
)

// actor returns who made the newest commit, as the change log has it.
func (d *door) actor(t *testing.T) naming.Actor {
	t.Helper()
	head, err := d.backend.store.Head(t.Context())
	if err != nil || head == 0 {
		t.Fatalf("head %d, %v", head, err)
	}
	commits, err := d.backend.store.Since(t.Context(), head-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	return commits[0].Changes[0].Actor
}

// The reference knows no address of a client that speaks IPv6.
func TestReferenceDefectIPv6ClientsHaveNoAddress(t *testing.T) {
	for _, c := range []struct {
		name string
		peer net.Addr
		want string
	}{
		{"IPv4", &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 4}, "10.1.2.3"},
		{"IPv6", &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 4}, "2001:db8::1"},
		{"IPv6 with a zone", &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 4, Zone: "eth0"}, "fe80::1%eth0"},
		{"a socket without an address", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, func(s *setup) { s.peer, s.agent = c.peer, "polaris-test/1" })
			d.register(t, message("n", "a", 1))
			got := d.actor(t)
			if got.Address != c.want || !strings.HasPrefix(got.Agent, "polaris-test/1 grpc-go/") {
				t.Errorf("actor %+v, want address %q", got, c.want)
			}
		})
	}
}

// HTTP/2 carries any byte in a header; a record that cannot be encoded would
// fail its whole group of registrations.
func TestHostileHeadersAreMadePlain(t *testing.T) {
	for name, agent := range map[string]string{
		"not UTF-8": "caf\xe9 \xff\xfe", "C1 control": "a\u0085b", "cut inside a character": strings.Repeat("é", 100) + "x",
		"cut at another byte": "x" + strings.Repeat("é", 100), "long": strings.Repeat("x", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, func(s *setup) { s.agent = agent })
			d.register(t, message("n", "a", 1))
			got := d.actor(t).Agent
			if !utf8.ValidString(got) || len(got) > 128 || strings.ContainsAny(got, "\u0085\ufffd") || got == "" {
				t.Errorf("stored as %q", got)
			}
		})
	}
}

// scripted answers every registration with one error, or waits for ctx.
type scripted struct {
	polaris.Registry
	mu    sync.Mutex
	err   error
	begun chan struct{} // when not nil: wait for ctx
	ended chan error    // the cause for which ctx ended
}

func (s *scripted) Register(ctx context.Context, _ naming.Registration) (naming.Result, error) {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if s.begun == nil {
		return naming.Result{}, err
	}
	s.begun <- struct{}{}
	<-ctx.Done()
	s.ended <- context.Cause(ctx)
	return naming.Result{}, &naming.Error{Kind: naming.NotDone, Err: context.Cause(ctx)}
}

func TestErrorsOverTheWire(t *testing.T) {
	s := &scripted{}
	d := open(t, func(o *setup) { o.registry = func(r polaris.Registry) polaris.Registry { s.Registry = r; return s } })
	inner := errors.New("dial tcp 10.1.2.3:3306")
	for kind, want := range map[naming.ErrorKind]uint32{
		naming.Internal: 500000, naming.Invalid: 400103, naming.NotFound: 400202, naming.Conflict: 409000, naming.Denied: 401001,
		naming.Overloaded: 429001, naming.StoreFailed: 500001, naming.NotDone: 500008, naming.OutcomeUnknown: 500001, naming.NotReady: 500000,
		naming.NoHealthCheck: 400141,
	} {
		s.mu.Lock()
		s.err = &naming.Error{Kind: kind, Msg: "public", Err: inner}
		s.mu.Unlock()
		res, err := d.RegisterInstance(t.Context(), message("n", "a", 1))
		wantCode(t, res, err, want)
		if info := res.GetInfo().GetValue(); !strings.HasSuffix(info, ": public") {
			t.Errorf("kind %d: text %q", kind, info)
		}
		if res.GetInstance().GetHost().GetValue() != "10.0.0.1" {
			t.Errorf("kind %d: the request is not repeated: %v", kind, res)
		}
	}
}

// The caller's time limit reaches whoever waits for the commit.
func TestDeadlineAndCancelReachTheWriter(t *testing.T) {
	s := &scripted{begun: make(chan struct{}, 1), ended: make(chan error, 1)}
	d := open(t, func(o *setup) { o.registry = func(r polaris.Registry) polaris.Registry { s.Registry = r; return s } })

	began := false
	for limit := 30 * time.Millisecond; !began; limit *= 2 { // a busy machine may let a short one pass before the call arrives
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		res, err := d.RegisterInstance(ctx, message("n", "a", 1))
		cancel()
		if status.Code(err) != codes.DeadlineExceeded && res.GetCode().GetValue() != 500008 { // either end may see it first
			t.Fatalf("deadline: %v, %v", res, err)
		}
		select {
		case <-s.begun:
			began = true
		default:
		}
	}
	if cause := <-s.ended; cause == nil {
		t.Error("the writer was not told that the time ran out")
	}

	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := d.RegisterInstance(ctx, message("n", "a", 1))
		answered <- err
	}()
	<-s.begun
	cancel()
	if err := <-answered; status.Code(err) != codes.Canceled {
		t.Errorf("cancel: %v", err)
	}
	if cause := <-s.ended; !errors.Is(cause, context.Canceled) {
		t.Errorf("the writer was told %v", cause)
	}
}

// A stream ends with its client, whether it says goodbye or not.
func TestDiscoverEndsWithItsStream(t *testing.T) {
	d := open(t)
	polite := d.discover(t)
	polite.instances(t, "n", "a", "")
	if err := polite.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if res, err := polite.Recv(); err == nil || status.Code(err) == codes.Unknown && err.Error() != "EOF" {
		t.Errorf("after the client closed: %v, %v", res, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rude, err := d.Discover(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if res := (discoverer{rude}).instances(t, "n", "a", ""); res.GetCode().GetValue() != 400202 {
		t.Errorf("%v", res)
	}
	cancel() // the server's handler must end: goleak looks
	if _, err = rude.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("after a cancel: %v", err)
	}
}
