package polaris_test

import (
	"errors"
	"strconv"
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

func TestCodesOfAWrongRegistration(t *testing.T) {
	d := open(t)
	long := func(n int) string { return strings.Repeat("x", n) }
	many := map[string]string{}
	for n := range 65 {
		many[strconv.Itoa(n)] = ""
	}
	type in = service_manage.Instance
	for _, c := range []struct {
		name   string
		code   uint32
		says   string
		change func(*in)
	}{
		{"service empty", 400120, "service", func(i *in) { i.Service = nil }},
		{"service length", 400120, "128", func(i *in) { i.Service = str(long(129)) }},
		{"service characters", 400120, "service", func(i *in) { i.Service = str("a b") }},
		{"namespace empty", 400110, "namespace", func(i *in) { i.Namespace = str("") }},
		{"namespace length", 400110, "64", func(i *in) { i.Namespace = str(long(65)) }},
		{"host missing", 400131, "host", func(i *in) { i.Host = nil }},
		{"host blank", 400131, "host", func(i *in) { i.Host = str("  ") }},
		{"host syntax", 400131, "host", func(i *in) { i.Host = str("a/b") }},
		{"host length", 400131, "128", func(i *in) { i.Host = str(long(129)) }},
		{"port missing", 400132, "port", func(i *in) { i.Port = nil }},
		{"port 0", 400132, "port", func(i *in) { i.Port = num(0) }},
		{"port above", 400132, "65535", func(i *in) { i.Port = num(65536) }},
		{"protocol", 400136, "32", func(i *in) { i.Protocol = str(long(33)) }},
		{"version", 400137, "32", func(i *in) { i.Version = str(long(33)) }},
		{"logic set", 400138, "128", func(i *in) { i.LogicSet = str(long(129)) }},
		{"id", 400130, "128", func(i *in) { i.Id = str(long(129)) }},
		{"metadata pairs", 400150, "64", func(i *in) { i.Metadata = many }},
		{"metadata key", 400150, "128", func(i *in) { i.Metadata = map[string]string{long(129): ""} }},
		{"metadata value", 400150, "4096", func(i *in) { i.Metadata = map[string]string{"k": long(4097)} }},
		{"weight", 400103, "65535", func(i *in) { i.Weight = num(65536) }},
		{"TTL", 400103, "3600", func(i *in) { checked(i, 3601) }},
		{"vpc", 400103, "64", func(i *in) { i.VpcId = str(long(65)) }},
		{"zone", 400103, "128", func(i *in) { i.Location = location("", long(129), "") }},
		{"nothing at all", 400120, "service", func(i *in) { proto.Reset(i) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			msg := message("n", "a", 80)
			c.change(msg)
			res, err := d.RegisterInstance(t.Context(), msg)
			wantCode(t, res, err, c.code)
			if !strings.Contains(res.GetInfo().GetValue(), c.says) {
				t.Errorf("the text %q does not say %q", res.GetInfo().GetValue(), c.says)
			}
			if res.GetInstance().GetHost().GetValue() != msg.GetHost().GetValue() || res.GetInstance() == nil {
				t.Errorf("the request is not repeated: %v", res)
			}
		})
	}
	if got := d.backend.World().Revision(); got != 0 {
		t.Errorf("something was written: revision %d", got)
	}
	if res, err := open(t, func(s *setup) { s.noAuto = true }).RegisterInstance(t.Context(), message("n", "a", 1)); true {
		wantCode(t, res, err, 400305)
	}
}

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

func TestAGivenIDIsKeptAndCannotBeTakenOver(t *testing.T) {
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
func TestTheSameInstanceAtOnceIsNoError(t *testing.T) {
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
