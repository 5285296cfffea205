package polaris_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"polestar/naming"
)

// polaris-java throws when the instance is missing, and both SDKs read the id
// only from there.
func TestAnswerOfARegistrationNamesTheInstance(t *testing.T) {
	d := open(t)
	want := &service_manage.Instance{
		Id: str("c34d52e1474f4e8463ebcc3cec1a57bb9f9eac2a"), Namespace: str("Polaris"), Service: str("polaris.checker"), VpcId: str(""),
		Host: str("127.0.0.1"), Port: num(8091),
	}
	for _, round := range []string{"first", "again, as polaris-java does after an outage"} {
		in := message("Polaris", "polaris.checker", 8091)
		in.Host = str(" 127.0.0.1 ")
		in.Id = str("") // polaris-go sends empty wrappers
		ctx := metadata.AppendToOutgoingContext(t.Context(), "async-regis", "true", "request-id", "1", "x-polaris-token", "")
		res, err := d.RegisterInstance(ctx, in)
		wantCode(t, res, err, 200000)
		if diff := cmp.Diff(want, res.GetInstance(), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", round, diff)
		}
		// With async-regis too, the answer comes after the fact.
		if d.backend.World().Instance(want.GetId().GetValue()) == nil {
			t.Errorf("%s: acknowledged, but not there", round)
		}
	}
	if got := d.backend.World().Revision(); got != 1 {
		t.Errorf("the same content twice made revision %d", got)
	}
}

// In the reference the first instance vanishes.
func TestReferenceDefectAKnownIDReplacesAnotherInstance(t *testing.T) {
	d := open(t)
	mine := message("n", "a", 1)
	mine.Id = str("mine")
	if got := d.register(t, mine); got != "mine" {
		t.Errorf("id %q", got)
	}
	other := message("m", "b", 2)
	other.Id = str("mine")
	res, err := d.RegisterInstance(t.Context(), other)
	wantCode(t, res, err, 400130)
	if info := res.GetInfo().GetValue(); strings.Contains(info, "n/a") {
		t.Errorf("the answer tells whose the id is: %s", info)
	}
	if i := d.backend.World().Instance("mine"); i == nil || i.Service.Name != "a" {
		t.Errorf("taken over: %+v", i)
	}
}

// The reference answers 400208 to all but one of them.
func TestReferenceDefectTheSameInstanceAtOnceIsAnError(t *testing.T) {
	d := open(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			res, err := d.RegisterInstance(t.Context(), message("n", "a", 80))
			if err != nil || res.GetCode().GetValue() != 200000 {
				t.Errorf("%v, %v", res, err)
			}
		})
	}
	all.Wait()
}

func TestDeregister(t *testing.T) {
	d := open(t)
	named := func(id string) *service_manage.Instance { return &service_manage.Instance{Id: str(id)} }
	place := message("n", "a", 1)
	blank := message("n", "a", 1)
	blank.Id = str("") // empty counts as not sent when there is a place
	foreign := message("m", "b", 9)
	foreign.Id = str(naming.InstanceID(naming.ServiceKey{Namespace: "n", Name: "a"}, "", "10.0.0.1", 1))
	for _, c := range []struct {
		name string
		in   *service_manage.Instance
		code uint32
		left int
	}{
		{"by place", place, 200000, 0},
		{"by place with an empty id", blank, 200000, 0},
		{"by id", named(foreign.GetId().GetValue()), 200000, 0},
		{"by id beside other names", foreign, 200000, 0},
		{"absent id", named("nobody"), 200000, 1},
		{"absent place", message("n", "a", 2), 200000, 1},
		{"empty id alone", named(""), 400130, 1},
		{"id too long", named(strings.Repeat("i", 129)), 400130, 1},
		{"place without port", &service_manage.Instance{Namespace: str("n"), Service: str("a"), Host: str("h")}, 400132, 1},
		{"nothing", &service_manage.Instance{}, 400120, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.register(t, message("n", "a", 1))
			res, err := d.DeregisterInstance(t.Context(), c.in)
			wantCode(t, res, err, c.code)
			if diff := cmp.Diff(c.in, res.GetInstance(), protocmp.Transform()); diff != "" {
				t.Errorf("the request is not repeated (-want +got):\n%s", diff)
			}
			if got := len(d.discover(t).instances(t, "n", "a", "").GetInstances()); got != c.left {
				t.Errorf("%d instances are left, want %d", got, c.left)
			}
		})
	}
}

func TestHeartbeat(t *testing.T) {
	d := open(t)
	beating, still := checked(message("n", "a", 1), 5), message("n", "a", 2)
	d.register(t, still)
	byID := &service_manage.Instance{Id: str(d.register(t, beating))}
	for _, c := range []struct {
		name string
		in   *service_manage.Instance
		code uint32
	}{
		{"by place", message("n", "a", 1), 200000},
		{"by id", byID, 200000},
		{"unknown place: at once, so that SDKs register again", message("n", "a", 3), 400202},
		{"unknown id", &service_manage.Instance{Id: str("x")}, 400202},
		{"without health check", message("n", "a", 2), 400141},
		{"no host", &service_manage.Instance{Namespace: str("n"), Service: str("a"), Port: num(1)}, 400131},
		{"no service", &service_manage.Instance{Namespace: str("n"), Host: str("h"), Port: num(1)}, 400120},
		{"empty id alone", &service_manage.Instance{Id: str("")}, 400130},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := d.Heartbeat(t.Context(), c.in)
			wantCode(t, res, err, c.code)
			if diff := cmp.Diff(c.in, res.GetInstance(), protocmp.Transform()); diff != "" {
				t.Errorf("the request is not repeated (-want +got):\n%s", diff)
			}
		})
	}
}

// No answer may give away the token of a request, whatever its outcome.
func TestAnswersNeverContainTheToken(t *testing.T) {
	const token = "t0ken-of-the-service"
	d := open(t)
	in := checked(message("n", "a", 1), 5)
	in.ServiceToken = str(token)
	for _, deny := range []error{nil, errors.New("no")} {
		d.guard.refuse(deny)
		for n, bad := range []string{"10.0.0.1", "", "a b"} {
			in.Host = str(bad)
			r1, e1 := d.RegisterInstance(t.Context(), in)
			r2, e2 := d.Heartbeat(t.Context(), in)
			req := query(typeInstance, "n", "a", "")
			req.Service.Token = str(token)
			r3 := d.discover(t).ask(t, req)
			r4, e4 := d.DeregisterInstance(t.Context(), in)
			if err := errors.Join(e1, e2, e4); err != nil {
				t.Fatal(err)
			}
			for _, m := range []proto.Message{r1, r2, r3, r4} {
				if raw, err := proto.Marshal(m); err != nil || strings.Contains(string(raw), token) {
					t.Errorf("host %d: the answer has the token: %v %v", n, m, err)
				}
			}
		}
	}
}
