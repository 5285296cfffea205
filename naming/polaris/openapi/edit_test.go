package openapi_test

import (
	"encoding/json"
	"maps"
	"testing"

	"polestar/naming"
)

const (
	edited  = "/naming/v1/instances"
	byHost  = "/naming/v1/instances/isolate/host"
	isolate = `[{"namespace":"n","service":"s","host":"10.0.0.1","isolate":true}]`
	restore = `[{"namespace":"n","service":"s","host":"10.0.0.1","isolate":false}]`
)

func (d *door) instance(t testing.TB) *naming.Instance {
	t.Helper()
	i := d.backend.World().Instance("i1")
	if i == nil {
		t.Fatal("the instance is gone")
	}
	return i
}

// The console sends back all that it was shown. Only what somebody changed of
// it is an operator's wish: everything else stays the client's and the leases'.
func TestConsoleEdits(t *testing.T) {
	d := open(t)
	d.must(t, "POST", edited, `[{"id":"i1","namespace":"n","service":"s","host":"10.0.0.1","port":1,"version":"v1","protocol":"grpc","metadata":{"k":"v"},
		"healthCheck":{"type":1,"heartbeat":{"ttl":5}},"location":{"region":"r"}}]`)
	shown := d.must(t, "GET", edited+"?namespace=n&service=s", "").items(t, "instances")[0]
	save := func(field string, value any) int {
		t.Helper()
		sent := maps.Clone(shown)
		if field != "" {
			sent[field] = value
		}
		text, err := json.Marshal([]any{sent})
		if err != nil {
			t.Fatal(err)
		}
		return d.must(t, "PUT", edited, string(text)).Codes[0]
	}
	if code := save("", nil); code != 200002 {
		t.Errorf("saved as it was shown: %d", code)
	}
	if code := save("weight", 30); code != 200000 {
		t.Errorf("another weight: %d", code)
	}
	i := d.instance(t)
	if i.Weight != 30 || i.Operator == nil || i.Operator.Weight == nil || i.Operator.Healthy != nil || i.Operator.Isolated != nil {
		t.Errorf("weight %d, operator's %+v", i.Weight, i.Operator)
	}
	if len(i.Metadata) != 1 {
		t.Errorf("metadata %v", i.Metadata)
	}
	if code := save("weight", 100); code != 200000 {
		t.Errorf("the client's weight again: %d", code)
	}
	if i := d.instance(t); i.Weight != 100 || i.Operator != nil {
		t.Errorf("weight %d, operator's %+v", i.Weight, i.Operator)
	}
	save("metadata", map[string]any{})
	save("enableHealthCheck", false)
	save("version", "v2")
	if i := d.instance(t); i.Version != "v2" || i.TTL != 5 || len(i.Metadata) != 1 { // each save sends all that was shown at first
		t.Errorf("after the last save: %+v", i)
	}
	if got := d.must(t, "PUT", edited, `[{"id":"i1","enableHealthCheck":false,"metadata":{},"priority":3,"logic_set":"l","location":{"zone":"z"}}]`); got.Codes[0] != 200000 {
		t.Errorf("by id: %v", got.Codes)
	}
	if i := d.instance(t); i.TTL != 0 || len(i.Metadata) != 0 || i.Priority != 3 || i.LogicSet != "l" || i.Location != (naming.Location{Region: "r", Zone: "z"}) {
		t.Errorf("by id: %+v", i)
	}
}

// Who takes an isolation back leaves nothing behind that would win over the
// client later, unless the client isolated itself.
func TestIsolationAndBack(t *testing.T) {
	d := open(t)
	register := func(own string) {
		d.must(t, "POST", edited, `[{"id":"i1","namespace":"n","service":"s","host":"10.0.0.1","port":1,"isolate":`+own+`}]`)
	}
	register("false")
	d.must(t, "PUT", byHost, isolate)
	if i := d.instance(t); !i.Isolated {
		t.Error("not isolated")
	}
	register("false")
	if i := d.instance(t); !i.Isolated {
		t.Error("the client's registration won over the operator")
	}
	d.must(t, "PUT", byHost, restore)
	if i := d.instance(t); i.Isolated || i.Operator != nil {
		t.Errorf("isolated %t, operator's %+v", i.Isolated, i.Operator)
	}
	register("true")
	d.must(t, "PUT", byHost, restore)
	if i := d.instance(t); i.Isolated {
		t.Error("still isolated by its own wish")
	}
}

// Who changed it is in the history.
func TestActor(t *testing.T) {
	d := open(t)
	d.send(t, "POST", "/naming/v1/namespaces", `[{"name":"n"}]`, "User-Agent", "console\x01/1")
	n := d.backend.World().Namespace("n")
	if n == nil || n.Creator != "1" || n.Owner != "ann" {
		t.Errorf("namespace %+v", n)
	}
}
