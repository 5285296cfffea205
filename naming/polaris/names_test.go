package polaris_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/testing/protocmp"

	"polestar/naming"
)

// Services under other names than their own: aliases, and services that other
// namespaces export.

func key(ns, name string) naming.ServiceKey { return naming.ServiceKey{Namespace: ns, Name: name} }

func (d *door) alias(t testing.TB, alias, source naming.ServiceKey) {
	t.Helper()
	_, err := d.operator.PutAlias(t.Context(), naming.PutAlias{Key: alias, For: source, AutoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
}

// export sets whom a service is shown to.
func (d *door) export(t testing.TB, k naming.ServiceKey, to ...string) {
	t.Helper()
	if _, err := d.operator.PutService(t.Context(), naming.PutService{Key: k, ExportTo: &to, AutoCreate: true}); err != nil {
		t.Fatal(err)
	}
}

// places lists the instances of an answer.
func places(res *service_manage.DiscoverResponse) (out []string) {
	for _, i := range res.GetInstances() {
		out = append(out, fmt.Sprintf("%s/%s:%d", i.GetNamespace().GetValue(), i.GetService().GetValue(), i.GetPort().GetValue()))
	}
	return out
}

func listed(res *service_manage.DiscoverResponse) (out []string) {
	for _, s := range res.GetServices() {
		out = append(out, s.GetNamespace().GetValue()+"/"+s.GetName().GetValue())
	}
	return out
}

func TestDiscoverByAlias(t *testing.T) {
	d := open(t)
	d.register(t, message("n", "real", 1))
	d.alias(t, key("m", "alias"), key("n", "real"))
	stream := d.discover(t)
	source := stream.instances(t, "n", "real", "")
	res := stream.instances(t, "m", "alias", "")
	wantCode(t, res, nil, 200000)
	if diff := cmp.Diff(&service_manage.Service{Namespace: str("n"), Name: str("real")}, res.GetAliasFor(), protocmp.Transform()); diff != "" {
		t.Errorf("aliasFor (-want +got):\n%s", diff)
	}
	if s := res.GetService(); s.GetNamespace().GetValue() != "m" || s.GetName().GetValue() != "alias" {
		t.Errorf("the alias is answered as %v", s)
	}
	// Beside the names all is the source's, revision and order included.
	source.Service.Namespace, source.Service.Name = str("m"), str("alias")
	if diff := cmp.Diff(source, res, protocmp.Transform()); diff != "" {
		t.Errorf("source and alias differ (-source +alias):\n%s", diff)
	}
	revision := res.GetService().GetRevision().GetValue()
	wantCode(t, stream.instances(t, "m", "alias", revision), nil, 200001)
	d.register(t, message("n", "real", 2))
	if res = stream.instances(t, "m", "alias", revision); len(res.GetInstances()) != 2 {
		t.Errorf("after a change of the source: %v", res)
	}
	if got := listed(stream.ask(t, query(typeServices, "m", "", ""))); !cmp.Equal(got, []string{"m/alias"}) {
		t.Errorf("services of the alias' namespace: %v", got)
	}
	wantCode(t, stream.ask(t, query(service_manage.DiscoverRequest_ROUTING, "m", "alias", "")), nil, 200000)
}

// Registering to an alias would give one place two ids, so it is refused; what
// is there already is found by either name.
func TestPlacesByAlias(t *testing.T) {
	d := open(t)
	id := d.register(t, checked(message("n", "real", 1), 5))
	d.alias(t, key("m", "alias"), key("n", "real"))
	res, err := d.RegisterInstance(t.Context(), message("m", "alias", 2))
	wantCode(t, res, err, 400502)
	res, err = d.Heartbeat(t.Context(), message("m", "alias", 1))
	wantCode(t, res, err, 200000)
	res, err = d.Heartbeat(t.Context(), message("m", "alias", 2))
	wantCode(t, res, err, 400202)
	d.guard.take()
	res, err = d.DeregisterInstance(t.Context(), message("m", "alias", 1))
	wantCode(t, res, err, 200000)
	if got := res.GetInstance(); got.GetNamespace().GetValue() != "m" || got.GetService().GetValue() != "alias" {
		t.Errorf("the request is not repeated: %v", got)
	}
	if diff := cmp.Diff([]question{{"deregister", resource("n", "real")}}, d.guard.take()); diff != "" {
		t.Errorf("what is removed is what is asked for (-want +got):\n%s", diff)
	}
	if d.backend.World().Instance(id) != nil {
		t.Error("answered as removed, but there")
	}
}

// Another name does not widen what somebody may read.
func TestAnAliasIsReadWithTheRightsForItsSource(t *testing.T) {
	d := open(t)
	d.register(t, message("n", "secret", 1))
	d.alias(t, key("m", "alias"), key("n", "secret"))
	stream := d.discover(t)
	wantCode(t, stream.instances(t, "m", "alias", ""), nil, 200000) // somebody who may was here before
	d.guard.take()
	d.guard.refuseFor("n", errors.New("not n"))
	res := stream.instances(t, "m", "alias", "")
	wantCode(t, res, nil, 401001)
	if len(res.GetInstances()) != 0 || res.GetService().GetRevision() != nil || res.GetAliasFor() != nil {
		t.Errorf("a refused answer has data: %v", res)
	}
	checkEcho(t, query(typeInstance, "m", "alias", ""), res)
	if diff := cmp.Diff([]question{{"discover", resource("m", "alias")}, {"discover", resource("n", "secret")}}, d.guard.take()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// TestReferenceDefectDiscoverOfAnExportedServicePanics: main dereferences nil
// when a service exists only where it is exported from.
func TestReferenceDefectDiscoverOfAnExportedServicePanics(t *testing.T) {
	d := open(t)
	d.register(t, message("b", "x", 1))
	stream := d.discover(t)
	wantCode(t, stream.instances(t, "a", "x", ""), nil, 400202) // nobody exports it
	d.export(t, key("b", "x"), "c", "a")
	res := stream.instances(t, "a", "x", "")
	wantCode(t, res, nil, 200000)
	checkEcho(t, query(typeInstance, "a", "x", ""), res)
	if got := places(res); !cmp.Equal(got, []string{"b/x:1"}) || res.GetAliasFor().GetNamespace().GetValue() != "b" {
		t.Errorf("exported by one: %v, %v", got, res.GetAliasFor())
	}
}

func TestExportedServicesAreMerged(t *testing.T) {
	d := open(t)
	for n, ns := range []string{"d", "b", "c", "e"} {
		d.register(t, message(ns, "x", uint32(n+1)))
	}
	sick := message("c", "x", 9)
	sick.Healthy = yes(false)
	d.register(t, sick)
	d.alias(t, key("f", "x"), key("b", "x")) // the same instances by another name
	d.export(t, key("b", "x"), "a")
	d.export(t, key("c", "x"), "*")
	d.export(t, key("d", "x"), "z")
	if _, err := d.operator.PutNamespace(t.Context(), naming.PutNamespace{Name: "f", ServiceExportTo: &[]string{"a"}}); err != nil {
		t.Fatal(err)
	}
	stream := d.discover(t)
	ask := func(revision string) (*service_manage.DiscoverResponse, string) {
		t.Helper()
		res := stream.instances(t, "a", "x", revision)
		checkEcho(t, query(typeInstance, "a", "x", ""), res)
		return res, res.GetService().GetRevision().GetValue()
	}
	res, first := ask("")
	wantCode(t, res, nil, 200000)
	// By namespace, then id; each once, with its own names; not what d shows to
	// z only, not what e shows to whoever knows its full name.
	got := places(res)
	if len(got) != 3 || got[0] != "b/x:2" || got[1][:3] != "c/x" || got[2][:3] != "c/x" {
		t.Errorf("merged: %v", got)
	}
	if res.GetAliasFor().GetNamespace().GetValue() != "b" {
		t.Errorf("aliasFor %v, want the first one", res.GetAliasFor())
	}
	healthy := query(typeInstance, "a", "x", "")
	healthy.Filter = &service_manage.DiscoverFilter{OnlyHealthyInstance: true}
	if some := stream.ask(t, healthy); len(some.GetInstances()) != 2 || some.GetService().GetRevision().GetValue() == first {
		t.Errorf("healthy ones: %v", some)
	}
	if res, _ = ask(first); res.GetCode().GetValue() != 200001 {
		t.Errorf("unchanged: %v", res)
	}
	if again := reloadedAt(t, d, "a", "x"); again.GetService().GetRevision().GetValue() != first {
		t.Error("another revision after a restart")
	}
	seen := map[string]string{first: "first"}
	step := func(name string, want int, change func()) {
		t.Helper()
		change()
		changed, now := ask("")
		if len(changed.GetInstances()) != want || seen[now] != "" {
			t.Errorf("%s: %v, revision of %q", name, places(changed), seen[now])
		}
		seen[now] = name
	}
	step("a change in one of them", 4, func() { d.register(t, message("c", "x", 10)) })
	step("one more exports", 5, func() { d.export(t, key("d", "x"), "a", "z") })
	step("one exports no longer", 2, func() { d.export(t, key("c", "x")) })
	step("an own one hides all", 1, func() { d.register(t, message("a", "x", 77)) })
	if res, _ = ask(""); !cmp.Equal(places(res), []string{"a/x:77"}) {
		t.Errorf("own: %v", places(res))
	}
	// Who asks with the full name is always answered.
	for _, ns := range []string{"b", "c", "d", "e", "f"} {
		if res := stream.instances(t, ns, "x", ""); len(res.GetInstances()) == 0 {
			t.Errorf("%s/x: %v", ns, res)
		}
	}
}

func TestServicesListIncludesExportedOnes(t *testing.T) {
	d := open(t)
	for _, k := range []string{"m", "b", "c", "z"} {
		d.register(t, message(k, "own-"+k, 1))
		d.register(t, message(k, "other", 2))
	}
	d.export(t, key("b", "own-b"), "m")
	d.export(t, key("z", "own-z"), "*")
	d.export(t, key("c", "other"), "b")
	stream := d.discover(t)
	list := func(ns, revision string) *service_manage.DiscoverResponse {
		t.Helper()
		return stream.ask(t, query(typeServices, ns, "", revision))
	}
	for ns, want := range map[string][]string{
		"m":       {"m/other", "m/own-m", "b/own-b", "z/own-z"},
		"b":       {"b/other", "b/own-b", "c/other", "z/own-z"},
		"nowhere": {"z/own-z"},
		"":        {"b/other", "b/own-b", "c/other", "c/own-c", "m/other", "m/own-m", "z/other", "z/own-z"},
	} {
		if diff := cmp.Diff(want, listed(list(ns, ""))); diff != "" {
			t.Errorf("services of %q (-want +got):\n%s", ns, diff)
		}
	}
	was := list("m", "").GetService().GetRevision().GetValue()
	wantCode(t, list("m", was), nil, 200001)
	if _, err := d.operator.PutNamespace(t.Context(), naming.PutNamespace{Name: "c", ServiceExportTo: &[]string{"m"}}); err != nil {
		t.Fatal(err)
	}
	// c/other names others itself, so its namespace's list is not for it.
	res := list("m", was)
	if diff := cmp.Diff([]string{"m/other", "m/own-m", "b/own-b", "c/own-c", "z/own-z"}, listed(res)); diff != "" {
		t.Errorf("after a namespace exports (-want +got):\n%s", diff)
	}
	was = res.GetService().GetRevision().GetValue()
	d.export(t, key("b", "own-b"))
	if diff := cmp.Diff([]string{"m/other", "m/own-m", "c/own-c", "z/own-z"}, listed(list("m", was))); diff != "" {
		t.Errorf("after a service exports no longer (-want +got):\n%s", diff)
	}
}
