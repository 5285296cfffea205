package polaris_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
	"polestar/naming/polaris"
)

func location(region, zone, campus string) *model.Location {
	return &model.Location{Region: str(region), Zone: str(zone), Campus: str(campus)}
}

// full is a registration with every field.
func full() *service_manage.Instance {
	in := checked(message("n", "a", 8080), 7)
	in.Id, in.VpcId, in.Protocol, in.Version, in.LogicSet = str("my-id"), str("vpc"), str("grpc"), str("1.2"), str("set")
	in.Priority, in.Weight, in.Healthy, in.Isolate = num(3), num(0), yes(false), yes(true)
	in.Location = location("r", "z", "c")
	in.Metadata = map[string]string{"k": "v", "version": "overwritten"}
	in.ServiceToken = str("s3cr3t")
	return in
}

func TestInstanceIsShownAsRegistered(t *testing.T) {
	d := open(t)
	d.register(t, full())
	res := d.discover(t).instances(t, "n", "a", "")
	wantCode(t, res, nil, 200000)
	if len(res.GetInstances()) != 1 {
		t.Fatalf("answer: %v", res)
	}
	got := res.GetInstances()[0]
	want := full()
	want.ServiceToken = nil
	want.EnableHealthCheck = yes(true)
	// SDKs match routing rules on these labels.
	want.Metadata = map[string]string{"k": "v", "version": "1.2", "protocol": "grpc", "region": "r", "zone": "z", "campus": "c"}
	if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(&service_manage.Instance{}, "ctime", "mtime", "revision")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, text := range []*wrapperspb.StringValue{got.GetCtime(), got.GetMtime()} {
		at, err := time.ParseInLocation("2006-01-02 15:04:05", text.GetValue(), time.Local)
		if err != nil || time.Since(at) > time.Hour || time.Since(at) < 0 {
			t.Errorf("time %q, %v", text.GetValue(), err)
		}
	}
	if got.GetRevision().GetValue() == "" {
		t.Error("the instance has no revision")
	}
	alias := &service_manage.Service{Namespace: str("n"), Name: str("a")}
	if diff := cmp.Diff(alias, res.GetAliasFor(), protocmp.Transform()); diff != "" {
		t.Errorf("aliasFor (-want +got):\n%s", diff)
	}
	if s := res.GetService(); s.GetRevision().GetValue() == "" || s.GetId().GetValue() == "" || s.GetOwners().GetValue() != "Polaris" {
		t.Errorf("service: %v", s)
	}
}

func TestDefaultsOfAShownInstance(t *testing.T) {
	d := open(t)
	d.register(t, message("n", "a", 80))
	got := d.discover(t).instances(t, "n", "a", "").GetInstances()[0]
	if got.GetWeight().GetValue() != 100 || !got.GetHealthy().GetValue() || got.GetIsolate().GetValue() ||
		got.GetEnableHealthCheck().GetValue() || got.GetHealthCheck() != nil || len(got.GetMetadata()) != 0 {
		t.Errorf("defaults: %v", got)
	}
}

func TestHealthCheckOfARegistration(t *testing.T) {
	d := open(t)
	for name, c := range map[string]struct {
		change func(*service_manage.Instance)
		want   uint32 // TTL; 0: no health check
	}{
		"with a TTL":       {func(in *service_manage.Instance) { checked(in, 9) }, 9},
		"without a TTL":    {func(in *service_manage.Instance) { checked(in, 0).HealthCheck.Heartbeat.Ttl = nil }, 5},
		"switched on":      {func(in *service_manage.Instance) { checked(in, 9).EnableHealthCheck = yes(true) }, 9},
		"switched off":     {func(in *service_manage.Instance) { checked(in, 9).EnableHealthCheck = yes(false) }, 0},
		"on without check": {func(in *service_manage.Instance) { in.EnableHealthCheck = yes(true) }, 0},
		"empty check":      {func(in *service_manage.Instance) { in.HealthCheck = &service_manage.HealthCheck{} }, 0},
	} {
		in := message("n", "a", 80)
		c.change(in)
		d.register(t, in)
		got := d.discover(t).instances(t, "n", "a", "").GetInstances()[0]
		if got.GetHealthCheck().GetHeartbeat().GetTtl().GetValue() != c.want || got.GetEnableHealthCheck().GetValue() != (c.want > 0) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Every change that a client can see moves the revision, and nothing else
// does: an SDK that polls with its revision is told of it in the next answer.
func TestRevisionMovesExactlyWithWhatIsSeen(t *testing.T) {
	d := open(t)
	stream := d.discover(t)
	in := message("n", "a", 80)
	revision := ""
	seen := map[string]string{}
	step := func(name string, moves bool, change func()) {
		t.Helper()
		change()
		res := stream.instances(t, "n", "a", revision)
		if code := res.GetCode().GetValue(); moves && code != 200000 || !moves && code != 200001 {
			t.Errorf("%s: code %d", name, code)
		}
		revision = res.GetService().GetRevision().GetValue()
		if other, twice := seen[revision]; moves && twice {
			t.Errorf("%s has the revision of %s", name, other)
		}
		seen[revision] = name
		if again := reloaded(t, d).GetService().GetRevision().GetValue(); again != revision {
			t.Errorf("%s: revision %s here, %s after a restart", name, revision, again)
		}
	}
	again := func(change func()) func() {
		return func() {
			t.Helper()
			change()
			d.register(t, in)
		}
	}
	step("first registration", true, again(func() {}))
	step("the same again", false, again(func() {}))
	step("the defaults spelled out", false, again(func() { in.Weight, in.Healthy, in.Isolate = num(100), yes(true), yes(false) }))
	step("weight", true, again(func() { in.Weight = num(99) }))
	step("weight 0", true, again(func() { in.Weight = num(0) }))
	step("healthy", true, again(func() { in.Healthy = yes(false) }))
	step("isolate", true, again(func() { in.Isolate = yes(true) }))
	step("isolate not sent", false, again(func() { in.Isolate = nil }))
	step("priority", true, again(func() { in.Priority = num(1) }))
	step("protocol", true, again(func() { in.Protocol = str("http") }))
	step("version", true, again(func() { in.Version = str("2") }))
	step("logic set", true, again(func() { in.LogicSet = str("l") }))
	step("region", true, again(func() { in.Location = location("r", "", "") }))
	step("zone", true, again(func() { in.Location = location("r", "z", "") }))
	step("campus", true, again(func() { in.Location = location("r", "z", "c") }))
	step("metadata", true, again(func() { in.Metadata = map[string]string{"a": "1", "b": "2"} }))
	step("metadata key", true, again(func() { in.Metadata = map[string]string{"a": "1", "c": "2"} }))
	step("metadata value", true, again(func() { in.Metadata = map[string]string{"a": "2", "c": "2"} }))
	step("metadata gone, weight moved", true, again(func() { in.Metadata, in.Weight = nil, num(7) }))
	step("TTL", true, again(func() { checked(in, 5) }))
	step("other TTL", true, again(func() { checked(in, 6) }))
	step("another instance", true, func() { d.register(t, message("n", "a", 81)) })
	step("another service", false, func() { d.register(t, message("n", "b", 81)) })
	step("a client", false, func() {
		res, err := d.ReportClient(t.Context(), &service_manage.Client{Id: str("c"), Host: str("h")})
		wantCode(t, res, err, 200000)
	})
	with := revision
	step("a third instance", true, func() { d.register(t, message("n", "a", 82)) })
	delete(seen, with)
	step("removal goes back to the content before", true, func() {
		res, err := d.DeregisterInstance(t.Context(), message("n", "a", 82))
		wantCode(t, res, err, 200000)
	})
	if revision != with {
		t.Error("equal content has two revisions")
	}
}

// reloaded asks a second server that read the store of the first.
func reloaded(t *testing.T, d *door) *service_manage.DiscoverResponse {
	t.Helper()
	return reloadedAt(t, d, "n", "a")
}

func reloadedAt(t *testing.T, d *door, ns, name string) *service_manage.DiscoverResponse {
	t.Helper()
	return polaris.Answer(t.Context(), serve(newBackend(t, d.backend.store)), query(typeInstance, ns, name, ""))
}

// The reference honours the filter over HTTP only.
func TestReferenceDefectOnlyHealthyIsIgnored(t *testing.T) {
	d := open(t)
	d.register(t, message("n", "a", 1))
	sick := message("n", "a", 2)
	sick.Healthy = yes(false)
	d.register(t, sick)
	isolated := message("n", "a", 3)
	isolated.Isolate = yes(true)
	d.register(t, isolated)
	stream := d.discover(t)
	ask := func(healthy bool, revision string) (*service_manage.DiscoverResponse, string) {
		t.Helper()
		req := query(typeInstance, "n", "a", revision)
		if healthy {
			req.Filter = &service_manage.DiscoverFilter{OnlyHealthyInstance: true}
		}
		res := stream.ask(t, req)
		return res, res.GetService().GetRevision().GetValue()
	}
	all, rev := ask(false, "")
	wantCode(t, all, nil, 200000)
	if len(all.GetInstances()) != 3 {
		t.Errorf("without a filter all are shown, healthy or not, isolated or not: %v", all)
	}
	some, healthyRev := ask(true, rev)
	wantCode(t, some, nil, 200000)
	if len(some.GetInstances()) != 2 || healthyRev == rev {
		t.Errorf("filtered: %d instances, revision %q beside %q", len(some.GetInstances()), healthyRev, rev)
	}
	for _, i := range some.GetInstances() {
		if !i.GetHealthy().GetValue() {
			t.Errorf("not healthy: %v", i)
		}
	}
	same, _ := ask(true, healthyRev)
	wantCode(t, same, nil, 200001)
	other, _ := ask(false, healthyRev)
	wantCode(t, other, nil, 200000)
}

// A service with its own attributes, as another node may have stored it.
func TestServiceAttributesAreShown(t *testing.T) {
	d := open(t)
	svc := func(n int) *naming.Service {
		return &naming.Service{
			ID: "id", Key: naming.ServiceKey{Namespace: "n", Name: "a"}, Metadata: naming.Metadata{{Key: "k", Value: "v"}},
			Business: "shop", Department: "d", Ports: "80", Comment: strconv.Itoa(n), Owner: "o",
			Cmdb: [3]string{"c1", "c2", "c3"}, ExportTo: []string{"m"},
		}
	}
	apply := func(rev naming.Revision, n int) {
		t.Helper()
		if err := d.backend.Apply(naming.Commit{Revision: rev, Changes: []naming.Change{{After: svc(n)}}}); err != nil {
			t.Fatal(err)
		}
	}
	apply(1, 1)
	stream := d.discover(t)
	res := stream.instances(t, "n", "a", "")
	wantCode(t, res, nil, 200000)
	want := &service_manage.Service{
		Id: str("id"), Namespace: str("n"), Name: str("a"), Metadata: map[string]string{"k": "v"}, Business: str("shop"),
		Department: str("d"), Ports: str("80"), Comment: str("1"), Owners: str("o"),
		CmdbMod1: str("c1"), CmdbMod2: str("c2"), CmdbMod3: str("c3"), ExportTo: []*wrapperspb.StringValue{str("m")},
	}
	if diff := cmp.Diff(want, res.GetService(), protocmp.Transform(), protocmp.IgnoreFields(want, "ctime", "mtime", "revision")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	req := query(typeServices, "", "", "")
	req.Service.Business = str("shop")
	list := stream.ask(t, req)
	if len(list.GetServices()) != 1 || list.GetServices()[0].GetMetadata()["k"] != "v" || list.GetServices()[0].GetBusiness().GetValue() != "shop" {
		t.Errorf("by business: %v", list)
	}
	apply(2, 2)
	if got := stream.instances(t, "n", "a", res.GetService().GetRevision().GetValue()); got.GetCode().GetValue() != 200000 {
		t.Errorf("a changed comment: %v", got)
	}
	if got := stream.ask(t, query(typeServices, "", "", list.GetService().GetRevision().GetValue())); proto.Size(withoutEnvelope(got)) == 0 {
		t.Errorf("a changed comment does not move the list: %v", got)
	}
}
