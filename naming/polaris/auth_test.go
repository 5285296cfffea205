package polaris_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"polestar/auth"
	"polestar/naming"
)

// methods walks the services as the protocol describes them, so that a method
// that is added one day is met here without being listed.
func methods(t *testing.T) (all []protoreflect.MethodDescriptor) {
	t.Helper()
	for _, name := range services {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			t.Fatal(err)
		}
		in := d.(protoreflect.ServiceDescriptor).Methods()
		for n := range in.Len() {
			all = append(all, in.Get(n))
		}
	}
	return all
}

// services are what the door serves.
var services = []string{"v1.PolarisGRPC", "v1.PolarisServiceContractGRPC"}

// call makes one call of any method with a token, unless it is empty, and
// returns the code of the answer. Its message is empty, but asks for instances
// where it must ask for something.
func call(t *testing.T, d *door, m protoreflect.MethodDescriptor, token string) uint32 {
	t.Helper()
	desc := &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}
	stream, err := d.conn.NewStream(withToken(t.Context(), token), desc, "/"+string(m.Parent().FullName())+"/"+string(m.Name()))
	if err != nil {
		t.Fatal(err)
	}
	in := dynamicpb.NewMessage(m.Input())
	if typ := m.Input().Fields().ByName("type"); m.Name() == "Discover" {
		in.Set(typ, protoreflect.ValueOfEnum(protoreflect.EnumNumber(typeInstance)))
	}
	if err = stream.SendMsg(in); err != nil {
		t.Fatal(err)
	}
	if err = stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	out := dynamicpb.NewMessage(m.Output())
	if err = stream.RecvMsg(out); err != nil {
		t.Fatalf("%s: %v", m.Name(), err)
	}
	code := out.Get(m.Output().Fields().ByName("code")).Message()
	return uint32(code.Get(code.Descriptor().Fields().ByName("value")).Uint())
}

// In the reference anybody may beat and report.
func TestReferenceDefectHeartbeatsAreUnauthenticated(t *testing.T) {
	d := open(t)
	people := known(map[string][]string{"ann": nil, "off": nil, "old": nil})
	for n := range people {
		people[n].hold = map[string]auth.Reason{"off": auth.Disabled, "old": auth.Expired}[people[n].Name]
	}
	d.guard.admit(people)
	all, served := methods(t), 0
	for name, info := range d.server.GetServiceInfo() {
		if !slices.Contains(services, name) {
			t.Errorf("%s is served, but nobody looks who may", name)
		}
		served += len(info.Methods)
	}
	if len(all) != served || served < 7 {
		t.Fatalf("the walk meets %d methods, but %d are served", len(all), served)
	}
	actions := map[string]string{}
	for _, m := range all {
		d.guard.take()
		for token, want := range map[string]uint32{"": 401000, "wrong": 401004, "old-token": 401004, "off-token": 401003} {
			if got := call(t, d, m, token); got != want {
				t.Errorf("%s answers %d to the token %q, want %d", m.Name(), got, token, want)
			}
		}
		if asked := d.guard.take(); len(asked) != 0 {
			t.Errorf("%s asked what strangers may: %v", m.Name(), asked)
		}
		d.guard.told()
		if got := call(t, d, m, "ann-token"); got != 401001 {
			t.Errorf("%s answers %d to somebody who may do nothing, want 401001", m.Name(), got)
		}
		if told := d.guard.told(); len(told) != 1 || told[0].Method != string(m.Name()) || told[0].Reason != auth.Forbidden || told[0].Principal.Name != "ann" {
			t.Errorf("%s told %+v", m.Name(), told)
		}
		if asked := d.guard.take(); len(asked) != 1 {
			t.Errorf("%s asked %v", m.Name(), asked)
		} else {
			actions[string(m.Name())] = string(asked[0].Action)
		}
	}
	want := map[string]string{
		"RegisterInstance": "register", "DeregisterInstance": "deregister", "Heartbeat": "heartbeat", "Discover": "discover", "ReportClient": "report",
		"ReportServiceContract": "contract", "GetServiceContract": "discover",
	}
	if diff := cmp.Diff(want, actions); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
}

// A node that is loading or cut off must say neither that it does not know
// something nor that somebody may not: SDKs would register again, all at once,
// or drop what they have.
func TestEveryMethodOfANodeThatIsNotReadySays5xx(t *testing.T) {
	d := open(t)
	d.register(t, message("n", "a", 1))
	d.loading.Store(true)
	d.guard.admit([]person{}) // who may what is not loaded either
	for _, m := range methods(t) {
		if got := call(t, d, m, ""); got != 500000 {
			t.Errorf("%s answers %d, want 500000", m.Name(), got)
		}
	}
	if d.backend.World().Revision() != 1 {
		t.Error("something was written")
	}
}

func TestARefusalDoesNothingAndSaysWhy(t *testing.T) {
	d := open(t)
	in := checked(message("n", "a", 1), 5)
	d.register(t, in)
	was := d.backend.World().Revision()
	d.guard.refuse(errors.New("team-b may not touch n/a"))

	res, err := d.RegisterInstance(t.Context(), message("n", "a", 2))
	wantCode(t, res, err, 401001)
	if !strings.Contains(res.GetInfo().GetValue(), "team-b may not touch n/a") || res.GetInstance().GetPort().GetValue() != 2 {
		t.Errorf("answer %v", res)
	}
	res, err = d.DeregisterInstance(t.Context(), in)
	wantCode(t, res, err, 401001)
	res, err = d.Heartbeat(t.Context(), in)
	wantCode(t, res, err, 401001)
	client, err := d.ReportClient(t.Context(), &service_manage.Client{Id: str("c"), Host: str("10.0.0.77")})
	wantCode(t, client, err, 401001)
	if client.GetClient().GetLocation() != nil {
		t.Error("a refused client was located")
	}
	answer := d.discover(t).instances(t, "n", "a", "")
	wantCode(t, answer, nil, 401001)
	if len(answer.GetInstances()) != 0 || answer.GetService().GetRevision() != nil {
		t.Errorf("a refused answer has data: %v", answer)
	}
	if got := d.backend.World().Revision(); got != was {
		t.Errorf("a refused call wrote revision %d", got)
	}
}

// A request that carries an id is judged by the instance that has it: names
// beside the id prove nothing. The reference asks for the names and removes by
// the id.
func TestReferenceDefectDeletionByTheIDOfAnotherService(t *testing.T) {
	d := open(t)
	victim := checked(message("n", "victim", 1), 5)
	victim.Id = str("v")
	d.register(t, victim)
	d.guard.take()
	lie := message("m", "mine", 1)
	lie.Id = str("v")
	free := message("m", "mine", 1)
	free.Id = str("unknown")
	for _, c := range []struct {
		name string
		in   *service_manage.Instance
		want question
	}{
		{"stored id", lie, question{"heartbeat", resource("n", "victim")}},
		{"id alone", &service_manage.Instance{Id: str("v")}, question{"heartbeat", resource("n", "victim")}},
		{"unknown id", free, question{"heartbeat", resource("m", "mine")}},
		{"unknown id alone", &service_manage.Instance{Id: str("unknown")}, question{"heartbeat", resource("", "")}},
		{"place", message("m", "mine", 1), question{"heartbeat", resource("m", "mine")}},
	} {
		for _, action := range []string{"heartbeat", "deregister"} {
			want := c.want
			want.Action = "heartbeat"
			d.guard.refuse(errors.New("only look"))
			call := d.Heartbeat
			if action == "deregister" {
				call, want.Action = d.DeregisterInstance, "deregister"
			}
			res, err := call(t.Context(), c.in)
			wantCode(t, res, err, 401001)
			if diff := cmp.Diff([]question{want}, d.guard.take()); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", c.name, action, diff)
			}
		}
	}
}

// squat stores an instance whose id belongs to another place: nobody may
// register it so, but a store may have it from elsewhere.
func (d *door) squat(t *testing.T, service naming.ServiceKey, id string) {
	t.Helper()
	res, err := d.backend.Do(t.Context(), &naming.Register{AutoCreate: true, Instance: naming.Instance{
		ID: id, Service: service, Host: "10.0.0.1", Port: 9, Weight: 100, TTL: 5,
	}})
	if err != nil || res.Err != nil {
		t.Fatal(err, res.Err)
	}
}

// Whoever took the id that belongs to the place of another service kept that
// from registering, and got rid of what an operator had set on it.
func TestNobodyTakesTheIDOfAnotherPlace(t *testing.T) {
	d := open(t)
	squatter := message("m", "squat", 9)
	squatter.Id = str(naming.InstanceID(key("n", "a"), "", "10.0.0.1", 1))
	res, err := d.RegisterInstance(t.Context(), squatter)
	wantCode(t, res, err, 400130)
	d.register(t, message("n", "a", 1))
	own := message("n", "a", 1)
	own.Id = squatter.GetId()
	res, err = d.RegisterInstance(t.Context(), own)
	wantCode(t, res, err, 200000)
}

// An instance may have the id that belongs to the place of another service.
// Whoever may remove from that service must not remove this one.
func TestAPlaceOfOneServiceNeverHitsAnother(t *testing.T) {
	d := open(t)
	id := naming.InstanceID(key("n", "a"), "", "10.0.0.1", 1)
	d.squat(t, key("m", "squat"), id)
	res, err := d.DeregisterInstance(t.Context(), message("n", "a", 1))
	wantCode(t, res, err, 409000)
	res, err = d.Heartbeat(t.Context(), message("n", "a", 1))
	wantCode(t, res, err, 400202)
	if d.backend.World().Instance(id) == nil {
		t.Error("removed with the rights for another service")
	}
}
