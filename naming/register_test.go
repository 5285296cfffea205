package naming_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

// places is a Locator.
type places map[string]naming.Location

func (p places) Locate(ip string) naming.Location { return p[ip] }

func TestRegisterStoresWhatWasSent(t *testing.T) {
	r, s, _ := registrar(t)
	in := naming.Registration{
		ID: "i", Service: orders, Host: " h ", Port: new(uint32(1)), VpcID: "v", Protocol: "p", Version: "1", LogicSet: "l",
		Priority: 4294967295, Weight: new(uint32(0)), Healthy: new(false), Isolated: new(true), HealthCheck: true, TTL: 7,
		Location: naming.Location{Region: "r", Zone: "z", Campus: "c"}, Metadata: map[string]string{"k": "v"}, Actor: client,
	}
	if _, err := r.Register(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	want := &naming.Instance{
		ID: "i", Service: orders, Host: "h", Port: 1, VpcID: "v", Protocol: "p", Version: "1", LogicSet: "l",
		Priority: 4294967295, Weight: 0, Healthy: false, Isolated: true, TTL: 7,
		Location: naming.Location{Region: "r", Zone: "z", Campus: "c"}, Metadata: naming.Metadata{{Key: "k", Value: "v"}},
		Created: at(1), Modified: at(1), Revision: 1,
	}
	if diff := cmp.Diff(want, s.instances["i"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDefaultsOfARegistration(t *testing.T) {
	r, s, _ := registrar(t)
	stored := func(change func(*naming.Registration)) *naming.Instance {
		in := registration()
		change(&in)
		res, err := r.Register(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return s.instances[res.Instance.ID]
	}
	i := stored(func(*naming.Registration) {})
	if i.Weight != 100 || !i.Healthy || i.Isolated || i.TTL != 0 || i.Metadata != nil {
		t.Errorf("defaults: %+v", i)
	}
	if i = stored(func(in *naming.Registration) { in.HealthCheck = true }); i.TTL != 5 {
		t.Errorf("a health check without TTL has %d s, want 5", i.TTL)
	}
	if i = stored(func(in *naming.Registration) { in.TTL = 9 }); i.TTL != 0 {
		t.Errorf("a TTL without health check gave %d s, want none", i.TTL)
	}
}

func TestLocationComesFromTheRequestElseFromTheAddress(t *testing.T) {
	s := newShelf()
	here, there := naming.Location{Region: "r", Zone: "here"}, naming.Location{Zone: "there"}
	r := naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{
		Writer: s, World: s, Beats: beats{}, Locator: places{"10.0.0.1": here},
	})
	for _, c := range []struct {
		host       string
		sent, want naming.Location
	}{{"10.0.0.1", naming.Location{}, here}, {"10.0.0.1", there, there}, {"10.0.0.2", naming.Location{}, naming.Location{}}} {
		in := registration()
		in.Host, in.Location = c.host, c.sent
		res, err := r.Register(t.Context(), in)
		if err != nil || res.Instance.Location != c.want {
			t.Errorf("%s sent %v: %v, %v", c.host, c.sent, res.Instance.Location, err)
		}
	}
	for _, c := range []struct{ host, from string }{{"10.0.0.1", ""}, {"", "10.0.0.1"}} {
		got, err := r.ReportClient(t.Context(), naming.Client{ID: "c", Host: c.host}, naming.Actor{Address: c.from})
		if err != nil || got.Location != here {
			t.Errorf("client at %q from %q: %v, %v", c.host, c.from, got.Location, err)
		}
	}
}

func TestReportClientWithoutIDIsNotStored(t *testing.T) {
	r, s, _ := registrar(t)
	if c, err := r.ReportClient(t.Context(), naming.Client{Host: "h"}, client); err != nil || c.Host != "h" {
		t.Errorf("%+v, %v", c, err)
	}
	if len(s.clients) != 0 {
		t.Error("stored")
	}
	if _, err := r.ReportClient(t.Context(), naming.Client{ID: "c", Host: "h"}, client); err != nil || s.clients["c"] == nil {
		t.Errorf("not stored: %v", err)
	}
}

func TestRegisteringTheSameAgainRenewsTheLease(t *testing.T) {
	r, s, b := registrar(t)
	in := registration()
	in.HealthCheck = true
	res, err := r.Register(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	b[res.Instance.ID] = 0 // whoever applies the commit starts the lease
	if res, err = r.Register(t.Context(), in); err != nil || res.Outcome != naming.Unchanged || s.head != 1 {
		t.Errorf("again: %+v, %v, head %d", res, err, s.head)
	}
	if b[res.Instance.ID] != 1 {
		t.Error("the lease was not renewed")
	}
}

func TestHeartbeat(t *testing.T) {
	r, _, b := registrar(t)
	in := registration()
	in.HealthCheck = true
	beating, err := r.Register(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	b[beating.Instance.ID] = 0
	still := registration()
	still.ID, still.Port = "still", new(uint32(1))
	if _, err = r.Register(t.Context(), still); err != nil {
		t.Fatal(err)
	}
	fresh := in
	fresh.ID, fresh.Port = "fresh", new(uint32(2)) // its lease has not started yet
	if _, err = r.Register(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	place := naming.Ref{Service: orders, Host: "10.0.0.1", Port: new(uint32(8080))}
	for _, c := range []struct {
		name  string
		ref   naming.Ref
		kind  naming.ErrorKind
		beats int // of the first instance, afterwards
	}{
		{"by place", place, 0, 1},
		{"by id", naming.Ref{ID: &beating.Instance.ID}, 0, 2},
		{"by id and its service", naming.Ref{ID: &beating.Instance.ID, Service: orders}, 0, 3},
		{"by id and another service", naming.Ref{ID: &beating.Instance.ID, Service: stocks}, naming.NotFound, 3},
		{"unknown id", naming.Ref{ID: new("x")}, naming.NotFound, 3},
		{"unknown place", naming.Ref{Service: orders, Host: "10.0.0.1", Port: new(uint32(3))}, naming.NotFound, 3},
		{"without health check", naming.Ref{ID: new("still")}, naming.NoHealthCheck, 3},
		{"lease not started yet", naming.Ref{ID: new("fresh")}, 0, 3},
		{"place without port", naming.Ref{Service: orders, Host: "10.0.0.1"}, naming.Invalid, 3},
	} {
		i, err := r.Heartbeat(t.Context(), c.ref)
		if (err == nil) != (c.kind == 0) || err != nil && naming.KindOf(err) != c.kind || (i == nil) == (err == nil) {
			t.Errorf("%s: %v, %v", c.name, i, err)
		}
		if b[beating.Instance.ID] != c.beats {
			t.Errorf("%s: %d beats, want %d", c.name, b[beating.Instance.ID], c.beats)
		}
	}
}

func TestDeregister(t *testing.T) {
	r, s, _ := registrar(t)
	in := registration()
	in.ID = naming.InstanceID(stocks, "", "10.0.0.1", 8080) // squats on the id of a place of stocks
	if _, err := r.Register(t.Context(), in); naming.KindOf(err) != naming.Invalid {
		t.Errorf("registered with the id of another place: %v", err)
	}
	squatter := &naming.Register{AutoCreate: true, Instance: naming.Instance{ID: in.ID, Service: orders, Host: "10.0.0.1", Port: 9}}
	if res, err := s.Do(t.Context(), squatter); err != nil || res.Err != nil { // a store may have it from elsewhere
		t.Fatal(err, res.Err)
	}
	place := naming.Ref{Service: stocks, Host: "10.0.0.1", Port: new(uint32(8080))}
	for _, c := range []struct {
		name string
		ref  naming.Ref
		want naming.Outcome
		kind naming.ErrorKind // 0: no error
	}{
		{"place of another service", place, 0, naming.Conflict},
		{"id with another service", naming.Ref{ID: &in.ID, Service: stocks}, 0, naming.Conflict},
		{"unknown id", naming.Ref{ID: new("x"), Service: stocks}, naming.Absent, 0},
		{"id with its service", naming.Ref{ID: &in.ID, Service: orders}, naming.Deleted, 0},
		{"again", naming.Ref{ID: &in.ID}, naming.Absent, 0},
		{"place, nobody there", place, naming.Absent, 0},
	} {
		res, err := r.Deregister(t.Context(), c.ref, client)
		if (err == nil) != (c.kind == 0) || err != nil && naming.KindOf(err) != c.kind || res.Outcome != c.want {
			t.Errorf("%s: %+v, %v", c.name, res, err)
		}
	}
	if len(s.instances) != 0 {
		t.Error("something is left")
	}
}

func TestModifyOfAnUnknownInstance(t *testing.T) {
	r, _, _ := registrar(t)
	if _, err := r.Modify(t.Context(), naming.Modify{ID: "x", Set: naming.Setting{Isolated: new(true)}}); naming.KindOf(err) != naming.NotFound {
		t.Errorf("error %v, want NotFound", err)
	}
	in := registration()
	in.ID = "x"
	if _, err := r.Register(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	res, err := r.Modify(t.Context(), naming.Modify{ID: "x", Set: naming.Setting{Isolated: new(true)}})
	if err != nil || res.Outcome != naming.Updated || !res.Instance.Isolated {
		t.Errorf("%+v, %v", res, err)
	}
}

// failing is a Writer that answers one error.
type failing struct{ err error }

func (f failing) Do(context.Context, naming.Write) (naming.Result, error) {
	return naming.Result{}, f.err
}

func TestErrorsOfTheWriterReachTheCaller(t *testing.T) {
	full := naming.Errorf(naming.Overloaded, "", "full")
	s, b := newShelf(), beats{}
	r := naming.NewRegistrar(naming.Config{}, naming.Deps{Writer: failing{full}, World: s, Beats: b})
	_, e1 := r.Register(t.Context(), registration())
	_, e2 := r.Deregister(t.Context(), naming.Ref{ID: new("x")}, client)
	_, e3 := r.Modify(t.Context(), naming.Modify{ID: "x"})
	for n, err := range []error{e1, e2, e3} {
		if !errors.Is(err, full) {
			t.Errorf("call %d: %v", n, err)
		}
	}
	// A refused write is an error too.
	r = naming.NewRegistrar(naming.Config{AutoCreate: false}, naming.Deps{Writer: s, World: s, Beats: b})
	if _, err := r.Register(t.Context(), registration()); naming.KindOf(err) != naming.NotFound {
		t.Errorf("error %v, want NotFound", err)
	}
}

// hanging is a Writer that answers when its caller has given up.
type hanging struct{}

func (hanging) Do(ctx context.Context, _ naming.Write) (naming.Result, error) {
	<-ctx.Done()
	return naming.Result{}, naming.Errorf(naming.OutcomeUnknown, "", "%s", ctx.Err())
}

// polaris-go sends no Discover before a report went well: a store that is away
// must not keep a new process from what this server knows.
func TestAReportIsAnsweredWhileTheStoreIsAway(t *testing.T) {
	here := naming.Location{Zone: "here"}
	fails := func(kind naming.ErrorKind) naming.Writer { return failing{naming.Errorf(kind, "", "no")} }
	for name, c := range map[string]struct {
		writer naming.Writer
		want   naming.ErrorKind // of the error; none when it is answered
		answer bool
	}{
		"refused":        {fails(naming.StoreFailed), 0, true},
		"queued in vain": {fails(naming.NotDone), 0, true},
		"in doubt":       {fails(naming.OutcomeUnknown), 0, true},
		"queue full":     {fails(naming.Overloaded), 0, true},
		"hanging":        {hanging{}, 0, true},
		"stopping":       {fails(naming.NotReady), naming.NotReady, false},
		"invalid":        {fails(naming.Invalid), naming.Invalid, false},
		"a bug":          {fails(naming.Internal), naming.Internal, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []error
				r := naming.NewRegistrar(naming.Config{}, naming.Deps{
					Writer: c.writer, World: newShelf(), Beats: beats{}, Locator: places{"10.0.0.1": here},
					Unrecorded: func(err error) { told = append(told, err) },
				})
				began := time.Now()
				got, err := r.ReportClient(t.Context(), naming.Client{ID: "c", Host: "10.0.0.1"}, client)
				if took := time.Since(began); took > 500*time.Millisecond {
					t.Errorf("answered after %s", took)
				}
				if !c.answer {
					if naming.KindOf(err) != c.want || err == nil || len(told) != 0 {
						t.Errorf("%v, told %v", err, told)
					}
					return
				}
				if err != nil || got.Location != here || got.Revision != 0 || len(told) != 1 {
					t.Errorf("%+v, %v, told %v", got, err, told)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := naming.NewRegistrar(naming.Config{}, naming.Deps{Writer: hanging{}, World: newShelf(), Beats: beats{}})
	if _, err := r.ReportClient(ctx, naming.Client{ID: "c"}, client); err == nil {
		t.Error("a caller that gave up is answered")
	}
}

func TestErrors(t *testing.T) {
	inner := errors.New("disk full")
	for _, c := range []struct {
		err  *naming.Error
		want string
	}{
		{&naming.Error{Msg: "for the caller"}, "for the caller"},
		{&naming.Error{Err: inner}, "disk full"},
		{&naming.Error{Msg: "for the caller", Err: inner}, "for the caller: disk full"},
	} {
		if c.err.Error() != c.want {
			t.Errorf("%q, want %q", c.err, c.want)
		}
		if errors.Is(c.err, inner) != (c.err.Err != nil) {
			t.Errorf("%v does not unwrap", c.err)
		}
	}
	wrapped := errors.Join(errors.New("outer"), naming.Errorf(naming.Conflict, "f", "m"))
	if naming.KindOf(wrapped) != naming.Conflict || naming.KindOf(inner) != naming.Internal {
		t.Error("KindOf does not look through wrapping")
	}
}
