package polaris_test

import (
	"slices"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/naming"
)

// What is wrong with the reference at this door. More of it is beside what it
// is about; docs/polaris-compatibility.md lists all.

// A refused Discover came without service and type, so that SDKs could not
// match it and reported a time-out.
func TestReferenceDefectARefusedDiscoverIsNotEchoed(t *testing.T) {
	d := open(t)
	d.guard.admit(known(map[string][]string{"ann": {"m"}}))
	stream := d.discover(t)
	for _, typ := range allTypes() {
		for token, want := range map[string]uint32{"": 401000, "wrong": 401004, "ann-token": 401001} {
			if want == 401001 && typ != typeInstance {
				continue // tells nothing of the service
			}
			req := query(typ, "n", "a", "r")
			req.Service.Token, req.Direction = str(token), service_manage.DiscoverDirection(len(token)%2)
			res := stream.ask(t, req)
			wantCode(t, res, nil, want)
			checkEcho(t, req, res)
		}
	}
}

// An unsupported type was answered with the type ROUTING, so that polaris-go
// 1.7.0 waited in vain for NEARBY_ROUTE_RULE and failed its first call.
func TestReferenceDefectUnsupportedTypesAreAnsweredAsRouting(t *testing.T) {
	d := open(t)
	stream := d.discover(t)
	for _, typ := range allTypes() {
		res := stream.ask(t, query(typ, "n", "a", ""))
		if int32(res.GetType()) != int32(typ) {
			t.Errorf("%v is answered as %v", typ, res.GetType())
		}
		if slices.Contains(ruleTypes, typ) {
			wantCode(t, res, nil, 200000)
		}
	}
}

// The capability probe of polaris-java has a type and no service, and waits
// without a time limit.
func TestReferenceDefectAProbeWithoutAServicePanics(t *testing.T) {
	d := open(t)
	stream := d.discover(t)
	for _, typ := range allTypes() {
		req := &service_manage.DiscoverRequest{Type: typ}
		checkEcho(t, req, stream.ask(t, req))
	}
}

// What an operator had set was lost when its client registered again, or left
// and came back.
func TestReferenceDefectAnOperatorsWishIsLost(t *testing.T) {
	d := open(t)
	in := checked(message("n", "a", 1), 5)
	in.Weight, in.Isolate = num(50), yes(false)
	id := d.register(t, in)
	weight, isolated := uint32(7), true
	if _, err := d.operator.Modify(t.Context(), naming.Modify{ID: id, Set: naming.Setting{Weight: &weight, Isolated: &isolated}}); err != nil {
		t.Fatal(err)
	}
	shown := func(when string, weight uint32, isolated bool) {
		t.Helper()
		for _, res := range []*service_manage.DiscoverResponse{d.discover(t).instances(t, "n", "a", ""), reloaded(t, d)} {
			if all := res.GetInstances(); len(all) != 1 || all[0].GetWeight().GetValue() != weight || all[0].GetIsolate().GetValue() != isolated {
				t.Errorf("%s: %v, want weight %d, isolated %v", when, all, weight, isolated)
			}
		}
	}
	shown("set", 7, true)
	d.register(t, in)
	shown("after the client registered again", 7, true)
	res, err := d.DeregisterInstance(t.Context(), in)
	wantCode(t, res, err, 200000)
	in.Metadata, in.Isolate = map[string]string{"build": "2"}, nil
	d.register(t, in)
	shown("after the client left and came back", 7, true)
	if _, err := d.operator.Modify(t.Context(), naming.Modify{ID: id, Clear: naming.Clear{Weight: true, Isolated: true}}); err != nil {
		t.Fatal(err)
	}
	shown("after the operator let go", 50, false)
}
