package naming_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

func TestEvents(t *testing.T) {
	i := func(change ...func(*naming.Instance)) *naming.Instance {
		out := &naming.Instance{ID: "a", Service: orders, Host: "h", Port: 1, Weight: 100, Healthy: true}
		for _, f := range change {
			f(out)
		}
		return out
	}
	sick := func(i *naming.Instance) { i.Healthy = false }
	isolated := func(i *naming.Instance) { i.Isolated = true }
	light := func(i *naming.Instance) { i.Weight = 1 }
	set := func(i *naming.Instance) { i.Operator = &naming.Operator{Weight: new(uint32(100)), Own: i.Own()} }
	ns, svc, contract := &naming.Namespace{Name: "n"}, &naming.Service{Key: orders}, &naming.Contract{Service: orders}
	alias, kept, proc := &naming.Service{Key: stocks, AliasFor: orders}, &naming.Override{InstanceID: "a"}, &naming.Client{ID: "c"}
	user, group, token, policy := &naming.User{ID: "u"}, &naming.Group{ID: "g"}, &naming.Token{ID: "t"}, &naming.Policy{ID: "p"}
	seen := map[naming.EventType]bool{}
	for _, c := range []struct {
		name          string
		before, after naming.Object
		want          []naming.EventType
	}{
		{"registered", nil, i(), []naming.EventType{naming.InstanceOnline}},
		{"registered isolated and sick", nil, i(sick, isolated), []naming.EventType{naming.InstanceOnline}},
		{"removed", i(), nil, []naming.EventType{naming.InstanceOffline}},
		{"sick", i(), i(sick), []naming.EventType{naming.InstanceTurnUnHealth}},
		{"healthy again", i(sick), i(), []naming.EventType{naming.InstanceTurnHealth}},
		{"isolated", i(), i(isolated), []naming.EventType{naming.InstanceOpenIsolate}},
		{"not isolated", i(isolated), i(), []naming.EventType{naming.InstanceCloseIsolate}},
		{"all at once", i(), i(sick, isolated, light), []naming.EventType{naming.InstanceTurnUnHealth, naming.InstanceOpenIsolate, naming.InstanceUpdate}},
		{"another weight", i(), i(light), []naming.EventType{naming.InstanceUpdate}},
		{"an operator's word only", i(), i(set), []naming.EventType{naming.InstanceUpdate}},
		{"an operator's word and a flip", i(), i(set, sick), []naming.EventType{naming.InstanceTurnUnHealth}},
		{"namespace", nil, ns, []naming.EventType{naming.NamespaceCreated}},
		{"namespace", ns, ns, []naming.EventType{naming.NamespaceUpdated}},
		{"namespace", ns, nil, []naming.EventType{naming.NamespaceDeleted}},
		{"service", nil, svc, []naming.EventType{naming.ServiceCreated}},
		{"service", svc, svc, []naming.EventType{naming.ServiceUpdated}},
		{"service", svc, nil, []naming.EventType{naming.ServiceDeleted}},
		{"alias", nil, alias, []naming.EventType{naming.AliasCreated}},
		{"alias", alias, alias, []naming.EventType{naming.AliasUpdated}},
		{"alias", alias, nil, []naming.EventType{naming.AliasDeleted}},
		{"contract", nil, contract, []naming.EventType{naming.ContractCreated}},
		{"contract", contract, contract, []naming.EventType{naming.ContractUpdated}},
		{"contract", contract, nil, []naming.EventType{naming.ContractDeleted}},
		{"override", nil, kept, []naming.EventType{naming.OverrideCreated}},
		{"override", kept, kept, []naming.EventType{naming.OverrideUpdated}},
		{"override", kept, nil, []naming.EventType{naming.OverrideDeleted}},
		{"client", nil, proc, []naming.EventType{naming.ClientCreated}},
		{"client", proc, proc, []naming.EventType{naming.ClientUpdated}},
		{"client", proc, nil, []naming.EventType{naming.ClientDeleted}},
		{"user", nil, user, []naming.EventType{naming.UserCreated}},
		{"user", user, user, []naming.EventType{naming.UserUpdated}},
		{"user", user, nil, []naming.EventType{naming.UserDeleted}},
		{"group", nil, group, []naming.EventType{naming.GroupCreated}},
		{"group", group, group, []naming.EventType{naming.GroupUpdated}},
		{"group", group, nil, []naming.EventType{naming.GroupDeleted}},
		{"token", nil, token, []naming.EventType{naming.TokenCreated}},
		{"token", token, token, []naming.EventType{naming.TokenUpdated}},
		{"token", token, nil, []naming.EventType{naming.TokenDeleted}},
		{"policy", nil, policy, []naming.EventType{naming.PolicyCreated}},
		{"policy", policy, policy, []naming.EventType{naming.PolicyUpdated}},
		{"policy", policy, nil, []naming.EventType{naming.PolicyDeleted}},
		{"refusal", nil, &naming.Refusal{}, []naming.EventType{naming.RequestRefused}},
	} {
		var got []naming.EventType
		commit := naming.Commit{Revision: 7, Time: 9, Changes: []naming.Change{
			{After: svc}, {Before: c.before, After: c.after, Cause: naming.CauseOperator},
		}}
		for n, e := range naming.Events(commit)[1:] {
			if e.Revision != 7 || e.Index != n+1 || e.Time != 9 || e.Change.Cause != naming.CauseOperator {
				t.Errorf("%s: %+v", c.name, e)
			}
			got = append(got, e.Type)
			seen[e.Type] = true
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	for _, et := range naming.EventTypes() {
		if !seen[et] {
			t.Errorf("%s comes from no change", et)
		}
	}
	if len(seen) != len(naming.EventTypes()) {
		t.Errorf("%d types came, %d are listed", len(seen), len(naming.EventTypes()))
	}
}

// A difference lists what changed and nothing else; a whole object all that is
// not empty.
func TestDifferences(t *testing.T) {
	meta := func(pairs map[string]string) func(*naming.Instance) {
		return func(i *naming.Instance) { i.Metadata = naming.NewMetadata(pairs) }
	}
	i := func(change ...func(*naming.Instance)) *naming.Instance {
		out := &naming.Instance{ID: "a", Service: orders, Host: "h", Port: 1, Weight: 100, Healthy: true, Revision: 1, Modified: 1}
		for _, f := range change {
			f(out)
		}
		return out
	}
	drained := func(own uint32) func(*naming.Instance) {
		return func(i *naming.Instance) {
			i.Weight, i.Revision = 0, 2
			i.Operator = &naming.Operator{Weight: new(uint32(0)), Own: naming.Attributes{Weight: own, Healthy: true}, By: "me"}
		}
	}
	type d = naming.Difference
	for _, c := range []struct {
		name          string
		before, after naming.Object
		want          []d
	}{
		{"came", nil, i(meta(map[string]string{"k": "v", "e": ""})), []d{{"weight", nil, uint32(100)}, {"healthy", nil, true}, {"metadata.k", nil, "v"}}},
		{"went", i(), nil, []d{{"weight", uint32(100), nil}, {"healthy", true, nil}}},
		{"its own weight", i(), i(func(i *naming.Instance) { i.Weight = 5 }), []d{{"weight", uint32(100), uint32(5)}}},
		{"an operator's weight", i(), i(drained(100)), []d{{"weight", uint32(100), uint32(0)}, {"set.weight", nil, uint32(0)}}},
		{"its own weight under that", i(drained(100)), i(drained(50)), []d{{"own.weight", uint32(100), uint32(50)}}},
		{"cleared", i(drained(100)), i(), []d{{"weight", uint32(0), uint32(100)}, {"set.weight", uint32(0), nil}}},
		{"zero to something", i(), i(func(i *naming.Instance) { i.TTL, i.Location.Zone = 5, "z" }), []d{{"ttl_seconds", uint32(0), uint32(5)}, {"zone", "", "z"}}},
		{"metadata", i(meta(map[string]string{"a": "1", "b": "2"})), i(meta(map[string]string{"b": "3", "c": ""})), []d{
			{"metadata.a", "1", nil}, {"metadata.b", "2", "3"}, {"metadata.c", nil, ""},
		}},
		{"namespace", &naming.Namespace{Name: "n"}, &naming.Namespace{Name: "n", ServiceExportTo: []string{"a", "b"}}, []d{{"service_export_to", "", "a,b"}}},
		{"service", &naming.Service{Key: orders, Auto: true}, &naming.Service{Key: orders, Comment: "c", Cmdb: [3]string{"", "x"}}, []d{
			{"comment", "", "c"}, {"cmdb_mod2", "", "x"}, {"auto_created", true, false},
		}},
		{"alias", nil, &naming.Service{Key: stocks, AliasFor: orders}, []d{{"for", nil, "default/orders"}}},
		{"override", nil, &naming.Override{InstanceID: "a", Operator: naming.Operator{Isolated: new(true)}}, []d{{"set.isolated", nil, true}}},
		{"client", &naming.Client{ID: "c"}, &naming.Client{ID: "c", Stats: []naming.ClientStat{{Target: "prometheus", Port: 1, Path: "/m", Protocol: "http"}}}, []d{
			{"stat", "", "prometheus:1/m http"},
		}},
		{"contract", &naming.Contract{Body: []byte("a")}, &naming.Contract{Body: []byte("b")}, []d{
			{"body", "1 bytes, SHA-256 ca978112ca1bbdca", "1 bytes, SHA-256 3e23e8160039594a"},
		}},
	} {
		if diff := cmp.Diff(c.want, naming.Differences(&naming.Change{Before: c.before, After: c.after})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestSubjects(t *testing.T) {
	contract := &naming.Contract{Service: orders, Type: "t"}
	for _, c := range []struct {
		of   naming.Object
		want naming.Subject
	}{
		{&naming.Namespace{Name: "n"}, naming.Subject{Kind: "namespace", Service: naming.ServiceKey{Namespace: "n"}}},
		{&naming.Service{Key: orders}, naming.Subject{Kind: "service", Service: orders}},
		{&naming.Service{Key: stocks, AliasFor: orders}, naming.Subject{Kind: "alias", Service: stocks}},
		{&naming.Instance{ID: "a", Service: orders, Host: "h", Port: 1}, naming.Subject{Kind: "instance", Service: orders, ID: "a", Host: "h", Port: 1}},
		{&naming.Override{InstanceID: "a", Service: orders, Host: "h", Port: 1}, naming.Subject{Kind: "override", Service: orders, ID: "a", Host: "h", Port: 1}},
		{&naming.Client{ID: "c", Host: "h"}, naming.Subject{Kind: "client", ID: "c", Host: "h"}},
		{contract, naming.Subject{Kind: "contract", Service: orders, ID: contract.ID()}},
	} {
		if got := naming.SubjectOf(c.of); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}
