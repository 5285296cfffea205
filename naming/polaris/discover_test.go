package polaris_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

type reqType = service_manage.DiscoverRequest_DiscoverRequestType

const (
	typeInstance   = service_manage.DiscoverRequest_INSTANCE
	typeServices   = service_manage.DiscoverRequest_SERVICES
	typeNamespaces = service_manage.DiscoverRequest_NAMESPACES
)

// The SHA-1 of the empty text: the revision of "no rules" in the reference.
const noRules = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

// allTypes is every type of the protocol, and some that nobody knows yet.
func allTypes() []reqType {
	out := []reqType{77, 4711, -1}
	for n := range service_manage.DiscoverRequest_DiscoverRequestType_name {
		out = append(out, reqType(n))
	}
	slices.Sort(out)
	return out
}

// ruleTypes must be answered with 200000 for every service, known or not:
// SDKs return no instance before they have an answer.
var ruleTypes = []reqType{
	service_manage.DiscoverRequest_ROUTING, service_manage.DiscoverRequest_RATE_LIMIT, service_manage.DiscoverRequest_CIRCUIT_BREAKER,
	service_manage.DiscoverRequest_FAULT_DETECTOR, service_manage.DiscoverRequest_NEARBY_ROUTE_RULE, service_manage.DiscoverRequest_LANE,
}

// TestEveryAnswerRepeatsItsRequest sends every type about every sort of
// service without waiting, and holds the answers to the rules by which SDKs
// pair them: one each, in order, with type, names and direction as asked.
func TestEveryAnswerRepeatsItsRequest(t *testing.T) {
	services := []*service_manage.Service{
		nil,
		{},
		{Namespace: str("n")},
		{Name: str("a")},
		{Namespace: str("n"), Name: str("a"), Revision: str(""), Business: str("")},
		{Namespace: str("n"), Name: str("unknown")},
		{Namespace: str("x\x00y"), Name: str("")},
		{Namespace: str(strings.Repeat("n", 300)), Name: str(strings.Repeat("ü", 300))},
	}
	for _, mode := range []struct {
		name  string
		begin func(*door)
		code  uint32 // 0: it depends
	}{
		{"ready", func(*door) {}, 0},
		{"denied", func(d *door) { d.guard.admit([]person{}) }, 401000},
		{"loading", func(d *door) { d.loading.Store(true) }, 500000},
	} {
		t.Run(mode.name, func(t *testing.T) {
			d := open(t)
			d.register(t, message("n", "a", 1))
			mode.begin(d)
			var asked []*service_manage.DiscoverRequest
			stream := d.discover(t)
			for _, typ := range allTypes() {
				for n, svc := range services {
					asked = append(asked, &service_manage.DiscoverRequest{Type: typ, Service: svc, Direction: service_manage.DiscoverDirection(n % 2)})
				}
			}
			for _, req := range asked {
				if err := stream.Send(req); err != nil {
					t.Fatal(err)
				}
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			for n, req := range asked {
				res, err := stream.Recv()
				if err != nil {
					t.Fatalf("answer %d of %d: %v", n, len(asked), err)
				}
				checkEcho(t, req, res)
				if mode.code != 0 {
					wantCode(t, res, nil, mode.code)
				} else if res.GetCode().GetValue() >= 500000 {
					t.Errorf("%v about %v: %d closes the SDK's stream", req.GetType(), req.GetService(), res.GetCode().GetValue())
				}
			}
			if res, err := stream.Recv(); err == nil {
				t.Errorf("one answer too many: %v", res)
			}
		})
	}
}

func checkEcho(t *testing.T, req *service_manage.DiscoverRequest, res *service_manage.DiscoverResponse) {
	t.Helper()
	if int32(res.GetType()) != int32(req.GetType()) || res.GetDirection() != req.GetDirection() {
		t.Errorf("asked for type %v, direction %v; answered %v, %v", req.GetType(), req.GetDirection(), res.GetType(), res.GetDirection())
	}
	if res.GetService() == nil {
		t.Fatalf("%v: an answer without service makes SDKs drop the stream", req.GetType())
	}
	if res.GetService().GetNamespace().GetValue() != req.GetService().GetNamespace().GetValue() ||
		res.GetService().GetName().GetValue() != req.GetService().GetName().GetValue() {
		t.Errorf("%v: asked about %v, answered about %v", req.GetType(), req.GetService(), res.GetService())
	}
}

func TestCodesOfDiscover(t *testing.T) {
	d := open(t)
	d.register(t, message("n", "a", 1))
	stream := d.discover(t)
	for _, typ := range allTypes() {
		unsupported := uint32(400004)
		if slices.Contains(ruleTypes, typ) || typ == typeServices || typ == typeNamespaces {
			unsupported = 200000
		}
		known, unknown, empty := unsupported, unsupported, unsupported
		if typ == typeInstance {
			known, unknown, empty = 200000, 400202, 400120
		}
		for _, c := range []struct {
			req  *service_manage.DiscoverRequest
			want uint32
		}{
			{query(typ, "n", "a", ""), known},
			{query(typ, "n", "b", ""), unknown},
			{query(typ, "m", "a", ""), unknown},
			{query(typ, "N", "A", ""), unknown}, // names are case-sensitive
			{query(typ, "n", "", ""), empty},
			{&service_manage.DiscoverRequest{Type: typ}, empty}, // polaris-java's probe
		} {
			res := stream.ask(t, c.req)
			if got := res.GetCode().GetValue(); got != c.want {
				t.Errorf("%v: code %d (%s), want %d", c.req, got, res.GetInfo().GetValue(), c.want)
			}
			if data := withoutEnvelope(res); c.want >= 400000 && proto.Size(data) != 0 {
				t.Errorf("%v: a refusal with data: %v", c.req, data)
			}
		}
	}
}

// withoutEnvelope leaves the data of an answer.
func withoutEnvelope(res *service_manage.DiscoverResponse) *service_manage.DiscoverResponse {
	out := proto.CloneOf(res)
	out.Code, out.Info, out.Type, out.Service, out.Direction = nil, nil, 0, nil, 0
	return out
}

func TestRuleTypesHaveNoRulesAndARevision(t *testing.T) {
	d := open(t)
	stream := d.discover(t)
	for _, typ := range ruleTypes {
		res := stream.ask(t, query(typ, "n", "nobody", "old"))
		wantCode(t, res, nil, 200000)
		if got := res.GetService().GetRevision().GetValue(); got != noRules {
			t.Errorf("%v: revision %q", typ, got)
		}
		data := withoutEnvelope(res)
		if typ == service_manage.DiscoverRequest_ROUTING {
			if r := data.GetRouting(); r.GetNamespace().GetValue() != "n" || r.GetService().GetValue() != "nobody" || r.GetRevision().GetValue() != noRules ||
				len(r.GetInbounds()) != 0 || len(r.GetOutbounds()) != 0 {
				t.Errorf("routing: %v", r)
			}
			data.Routing = nil
		}
		if proto.Size(data) != 0 {
			t.Errorf("%v: data %v", typ, data)
		}
		res = stream.ask(t, query(typ, "n", "nobody", noRules))
		wantCode(t, res, nil, 200001)
		if proto.Size(withoutEnvelope(res)) != 0 || res.GetService().GetRevision().GetValue() != noRules {
			t.Errorf("%v unchanged: %v", typ, res)
		}
	}
}

func TestServices(t *testing.T) {
	d := open(t)
	for n, key := range []string{"n/b", "n/a", "m/a", "n-x/a", "n/a"} {
		ns, name, _ := strings.Cut(key, "/")
		d.register(t, message(ns, name, uint32(n+1)))
	}
	stream := d.discover(t)
	list := func(ns, business, revision string) (*service_manage.DiscoverResponse, []string) {
		t.Helper()
		req := query(typeServices, ns, "", revision)
		req.Service.Business = str(business)
		res := stream.ask(t, req)
		var out []string
		for _, s := range res.GetServices() {
			if s.GetRevision().GetValue() == "" {
				t.Errorf("%v has no revision", s)
			}
			out = append(out, s.GetNamespace().GetValue()+"/"+s.GetName().GetValue())
		}
		return res, out
	}
	for _, c := range []struct {
		ns, business string
		want         []string
	}{
		{"n", "", []string{"n/a", "n/b"}},
		{"", "", []string{"m/a", "n/a", "n/b", "n-x/a"}},
		{"nobody", "", nil},
		{"n", "other", nil},
	} {
		res, got := list(c.ns, c.business, "")
		wantCode(t, res, nil, 200000)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("services of %q (-want +got):\n%s", c.ns, diff)
		}
	}

	first, _ := list("n", "", "")
	revision := first.GetService().GetRevision().GetValue()
	d.register(t, message("n", "a", 99)) // instances are not in the list
	d.register(t, message("m", "new", 1))
	res, got := list("n", "", revision)
	wantCode(t, res, nil, 200001)
	if got != nil {
		t.Errorf("data with 200001: %v", got)
	}
	d.register(t, message("n", "c", 1))
	res, got = list("n", "", revision)
	wantCode(t, res, nil, 200000)
	if len(got) != 3 || res.GetService().GetRevision().GetValue() == revision {
		t.Errorf("after a new service: %v", res)
	}
}

func TestNamespaces(t *testing.T) {
	d := open(t)
	for n, ns := range []string{"b", "a"} {
		d.register(t, message(ns, "s", uint32(n+1)))
	}
	stream := d.discover(t)
	ask := func(revision string) (*service_manage.DiscoverResponse, []string) {
		res := stream.ask(t, query(typeNamespaces, "", "", revision))
		var out []string
		for _, n := range res.GetNamespaces() {
			out = append(out, n.GetName().GetValue())
		}
		return res, out
	}
	res, got := ask("")
	wantCode(t, res, nil, 200000)
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	revision := res.GetService().GetRevision().GetValue()
	if res, got = ask(revision); res.GetCode().GetValue() != 200001 || got != nil {
		t.Errorf("unchanged: %v", res)
	}
	d.register(t, message("c", "s", 3))
	if res, got = ask(revision); res.GetCode().GetValue() != 200000 || len(got) != 3 {
		t.Errorf("after a new namespace: %v", res)
	}
}

// What is authorised is what is read: an empty namespace stands for the
// default one before anybody is asked.
func TestDiscoverAuthorisesWhatItReads(t *testing.T) {
	d := open(t)
	d.register(t, message("default", "a", 1))
	d.guard.take()
	stream := d.discover(t)
	res := stream.instances(t, "", "a", "")
	wantCode(t, res, nil, 200000)
	if len(res.GetInstances()) != 1 || res.GetAliasFor().GetNamespace().GetValue() != "default" {
		t.Errorf("not the instances of the default namespace: %v", res)
	}
	stream.ask(t, query(typeServices, "", "", ""))
	stream.instances(t, "n", "b", "")
	want := []question{
		{"discover", resource("default", "a")},
		{"discover", resource("n", "b")}, // what a list shows is asked for each service
	}
	if diff := cmp.Diff(want, d.guard.take()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// Two streams that poll while somebody registers see every registration that
// was acknowledged before they asked.
func TestDiscoverShowsWhatWasAcknowledged(t *testing.T) {
	d := open(t)
	stream := d.discover(t)
	revision := ""
	for n := range 50 {
		d.register(t, message("n", "a", uint32(n+1)))
		res := stream.instances(t, "n", "a", revision)
		wantCode(t, res, nil, 200000)
		if len(res.GetInstances()) != n+1 {
			t.Fatalf("%d instances after %d registrations", len(res.GetInstances()), n+1)
		}
		if !slices.IsSortedFunc(res.GetInstances(), byID) {
			t.Fatal("the order of instances is not fixed")
		}
		revision = res.GetService().GetRevision().GetValue()
		again := d.discover(t).instances(t, "n", "a", "")
		if !proto.Equal(res, again) {
			t.Fatalf("two answers of one state differ:\n%s", cmp.Diff(res, again, protocmp.Transform()))
		}
	}
	res := stream.instances(t, "n", "a", revision)
	wantCode(t, res, nil, 200001)
	if proto.Size(withoutEnvelope(res)) != 0 || res.GetService().GetRevision().GetValue() != revision {
		t.Errorf("200001 with data or without revision: %v", res)
	}
}

func byID(a, b *service_manage.Instance) int {
	return strings.Compare(a.GetId().GetValue(), b.GetId().GetValue())
}

// A name that no service can have is not repeated in the text as well: the
// answer would be larger than SDKs take.
func TestDiscoverDoesNotRepeatHugeNames(t *testing.T) {
	d := open(t).discover(t)
	huge := strings.Repeat("n", 1<<20)
	res := d.ask(t, &service_manage.DiscoverRequest{Type: typeInstance, Service: &service_manage.Service{Namespace: str(huge), Name: str(huge)}})
	if res.GetCode().GetValue() != 400202 || len(res.GetInfo().GetValue()) > 200 {
		t.Errorf("code %d and %d bytes of text, want 400202 and a line", res.GetCode().GetValue(), len(res.GetInfo().GetValue()))
	}
}
