package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/xds/explain"
	"polestar/xds/resource"
)

// explained asks by the command line, of the only stream of a client.
func (w *whole) explained(t *testing.T, args ...string) explain.Report {
	t.Helper()
	var a explain.Answer
	out := w.command(t, append([]string{"explain", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &a); err != nil || len(a.Reports) != 1 || a.Revision != w.pipeline.Revision() {
		t.Fatalf("%v: %+v\n%s", err, a, out)
	}
	return a.Reports[0]
}

// settled waits until the client has everything that there is for it.
func (w *whole) settled(t *testing.T) { w.command(t, "wait", "--timeout", "1m") }

// saying finds the text of a cause.
func saying(causes []explain.Cause, code string) string {
	for _, c := range causes {
		if c.Code == code {
			return c.Text
		}
	}
	return ""
}

// instanceOf finds the report on an instance.
func instanceOf(t *testing.T, r explain.Report, id string) explain.Instance {
	t.Helper()
	for _, i := range r.Instances {
		if i.ID == id {
			return i
		}
	}
	t.Fatalf("nothing is said of %s: %+v", id, r)
	return explain.Instance{}
}

func weight(n uint32) func(*service_manage.Instance) {
	return func(i *service_manage.Instance) { i.Weight = wrapperspb.UInt32(n) }
}

// accepting subscribes, and answers everything with an ACK until the stream
// ends.
func (f *follower) accepting(types ...resource.Type) {
	f.t.Helper()
	for _, typ := range types {
		names := []string{"default/cart", "default/other"}
		if typ == resource.Cluster {
			names = nil // all
		}
		f.accept(f.subscribe(typ, names...))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			r, err := f.stream.Recv()
			if err != nil {
				return
			}
			if err := f.stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}); err != nil {
				return
			}
		}
	}()
	f.t.Cleanup(func() { _ = f.stream.CloseSend(); <-done })
}

// What keeps an instance from a client that has accepted everything.
func TestExplainInstances(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	w := startWhole(t, t.TempDir())
	at := func(vpc string) func(*service_manage.Instance) {
		return func(i *service_manage.Instance) { i.VpcId = wrapperspb.String(vpc) }
	}
	good := w.put(t, "cart", "10.0.0.1")
	byOperator := w.put(t, "cart", "10.0.0.2")
	w.command(t, "isolate", byOperator, "--reason", "disk is failing")
	byClient := w.put(t, "cart", "10.0.0.3", func(i *service_manage.Instance) { i.Isolate = wrapperspb.Bool(true) })
	idle := w.put(t, "cart", "10.0.0.4", weight(0))
	sick := w.put(t, "cart", "10.0.0.5", func(i *service_manage.Instance) { i.Healthy = wrapperspb.Bool(false) })
	setSick := w.put(t, "cart", "10.0.0.6")
	w.command(t, "set", "healthy", "false", setSick, "--reason", "on fire")
	named := w.put(t, "cart", "cart.internal")
	twin, other := w.put(t, "cart", "10.0.0.7", at("vpc-1")), w.put(t, "cart", "10.0.0.7", at("vpc-2"))
	if other < twin {
		twin, other = other, twin // the lowest id is served
	}
	elsewhere := w.put(t, "other", "host.example") // a service of names: its cluster has them
	w.follow(t, "envoy-1").accepting(resource.Cluster, resource.Endpoints)
	w.settled(t)

	r := w.explained(t, "--client", "envoy-1", "--service", "cart")
	if len(r.Causes) > 0 || r.Service.Instances != 9 || len(r.Instances) != 9 || r.Client.Node != "envoy-1" || r.Client.Protocol != "delta" {
		t.Errorf("%+v", r)
	}
	for _, c := range []struct {
		id, at, health string
		code           string
		says           []string
	}{
		{good, explain.Yes, "healthy", "", nil},
		{byOperator, explain.No, "", explain.Isolated, []string{"isolated by ", " since 20", "disk is failing"}},
		{byClient, explain.No, "", explain.Isolated, []string{"isolated by its own client"}},
		{idle, explain.No, "", explain.WeightZero, []string{"weight 0 by its own client"}},
		{sick, explain.Yes, "unhealthy", explain.Unhealthy, []string{"unhealthy by its own client"}},
		{setSick, explain.Yes, "unhealthy", explain.Unhealthy, []string{"unhealthy by ", "on fire"}},
		{named, explain.No, "", explain.HostIsName, []string{`"cart.internal" is a name`}},
		{twin, explain.Yes, "healthy", "", nil},
		{other, explain.No, "", explain.SameAddress, []string{"instance " + twin + " has the same address"}},
	} {
		i := instanceOf(t, r, c.id)
		health := ""
		if i.Served != nil {
			health = i.Served.Health
		}
		text := saying(i.Causes, c.code)
		if i.AtClient != c.at || health != c.health || (len(i.Causes) > 0) != (c.code != "") {
			t.Errorf("%s %s: %+v", c.code, i.Address, i)
		}
		for _, want := range c.says {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q does not say %q", c.code, text, want)
			}
		}
	}
	for _, name := range []string{"10.0.0.1:80", good} {
		one := w.explained(t, "--client", strconv.FormatUint(r.Client.Stream, 10), "--service", "default/cart", "--instance", name)
		if len(one.Instances) != 1 || one.Instances[0].ID != good || one.Instances[0].Served.Weight != 100 {
			t.Errorf("--instance %s: %+v", name, one.Instances)
		}
	}
	if r = w.explained(t, "--client", "envoy-1", "--service", "other"); len(r.Causes) > 0 || r.Instances[0].AtClient != explain.Yes ||
		r.Instances[0].Served.Weight != 100 {
		t.Errorf("a service of names: %+v", r)
	}
	for name, code := range map[string]string{elsewhere: explain.OfOtherService, "10.9.9.9:80": explain.NotRegistered} {
		one := w.explained(t, "--client", "envoy-1", "--service", "cart", "--instance", name)
		if len(one.Instances) != 1 || one.Instances[0].AtClient != explain.No || saying(one.Instances[0].Causes, code) == "" {
			t.Errorf("--instance %s: %+v", name, one.Instances)
		}
	}
}

// What keeps a whole service from a client.
func TestExplainServices(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	w := startWhole(t, t.TempDir())
	w.put(t, "cart", "10.0.0.1")
	w.put(t, "unasked", "10.0.0.1")
	w.put(t, "abroad", "10.0.0.1", func(i *service_manage.Instance) { i.Namespace = wrapperspb.String("shop") })
	w.put(t, "hidden", "10.0.0.1", func(i *service_manage.Instance) { i.Namespace = wrapperspb.String("shop") })
	w.command(t, "update", "service", "shop/hidden", "--export-to", "backoffice")
	w.command(t, "create", "alias", "default/basket", "--for", "default/cart")
	w.follow(t, "envoy-1").accepting(resource.Cluster, resource.Endpoints)
	w.settled(t)
	for _, c := range []struct {
		service, code, says string
	}{
		{"nothing", explain.UnknownService, "no service default/nothing is registered"},
		{"Cart", explain.UnknownService, "there is default/cart"},
		{"abroad", explain.OtherNamespace, "shop/abroad"},
		{"shop/hidden", explain.NotVisible, "not exported to default"},
		{"basket", explain.Alias, "an alias of default/cart"},
		{"unasked", explain.NotAsked, "does not ask for the endpoints"},
		{"shop/hidden", explain.NotAsked, ""},
	} {
		r := w.explained(t, "--client", "envoy-1", "--service", c.service)
		if text := saying(r.Causes, c.code); text == "" || !strings.Contains(text, c.says) {
			t.Errorf("%s: no %s that says %q in %+v", c.service, c.code, c.says, r.Causes)
		}
		for _, i := range r.Instances {
			if want := c.service == "basket"; (i.AtClient == explain.Yes) != want {
				t.Errorf("%s: %+v", c.service, i)
			}
		}
	}
	if _, err := run(t, "explain", "--server", w.http(), "--client", "nobody", "--service", "cart"); err == nil ||
		!strings.Contains(err.Error(), "connected are envoy-1") {
		t.Errorf("an unknown client: %v", err)
	}
}

// What the client has not accepted.
func TestExplainDelivery(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	w := startWhole(t, t.TempDir())
	old := w.put(t, "cart", "10.0.0.1")
	leaves := w.put(t, "cart", "10.0.0.2")
	c := w.follow(t, "envoy-1")
	first := c.subscribe(resource.Endpoints, "default/cart")
	ask := func() explain.Report { return w.explained(t, "--client", "envoy-1", "--service", "cart") }
	r := ask()
	if text := saying(r.Causes, explain.NotAcked); !strings.Contains(text, "is not answered; it has nothing of it") ||
		instanceOf(t, r, old).AtClient != explain.NotYet {
		t.Errorf("sent and not accepted: %q, %+v", text, r.Instances)
	}
	c.accept(first)
	w.settled(t)

	fresh := w.put(t, "cart", "10.0.0.3")
	second := c.hear()
	w.command(t, "isolate", leaves)
	r = ask()
	i := instanceOf(t, r, fresh)
	if text := saying(i.Causes, explain.Newer); i.AtClient != explain.NotYet || !strings.Contains(text, "it changed at revision ") {
		t.Errorf("registered after what was accepted: %+v", i)
	}
	if text := saying(r.Causes, explain.NotSent); !strings.Contains(text, "has not answered the response before it") {
		t.Errorf("what waits behind it: %+v", r.Causes)
	}
	if i = instanceOf(t, r, leaves); i.AtClient != explain.Still || !strings.Contains(saying(i.Causes, explain.Newer), "may still use it") {
		t.Errorf("isolated after what was accepted: %+v", i)
	}
	if i = instanceOf(t, r, old); i.AtClient != explain.Yes {
		t.Errorf("what did not change is where it was: %+v", i)
	}

	c.accept(second)
	c.refuse(c.hear(), "no such weight")
	for r = ask(); saying(r.Causes, explain.Refused) == ""; r = ask() { // the refusal is on its way
		time.Sleep(time.Millisecond)
	}
	if text := saying(r.Causes, explain.Refused); !strings.Contains(text, "It says: no such weight") {
		t.Errorf("%q", text)
	}
	if i = instanceOf(t, r, fresh); i.AtClient != explain.Yes {
		t.Errorf("accepted before the refusal: %+v", i)
	}
}

// Instances whose beats stop: one is unhealthy, too many at once are held.
func TestExplainSilence(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	beats := func(i *service_manage.Instance) {
		i.EnableHealthCheck = wrapperspb.Bool(true)
		i.HealthCheck = &service_manage.HealthCheck{
			Type: service_manage.HealthCheck_HEARTBEAT, Heartbeat: &service_manage.HeartbeatHealthCheck{Ttl: wrapperspb.UInt32(1)},
		}
	}
	for name, c := range map[string]struct {
		instances int
		code, at  string
		health    string
		says      string
	}{
		"one":  {1, explain.Unhealthy, explain.Yes, "unhealthy", "no beat for "},
		"many": {8, explain.Suspect, explain.Yes, "healthy", "the mass-loss guard holds it healthy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startWhole(t, t.TempDir(), func(c *Config) { c.Lease.Factor, c.Lease.Tick = 2, 20*time.Millisecond })
			var id string
			for n := range c.instances {
				id = w.put(t, "cart", "10.0.0."+strconv.Itoa(n+1), beats)
			}
			w.follow(t, "envoy-1").accepting(resource.Endpoints)
			var i explain.Instance
			for saying(i.Causes, c.code) == "" { // two TTLs, and what the flip takes
				time.Sleep(10 * time.Millisecond)
				i = instanceOf(t, w.explained(t, "--client", "envoy-1", "--service", "cart"), id)
			}
			w.settled(t)
			i = instanceOf(t, w.explained(t, "--client", "envoy-1", "--service", "cart"), id)
			if text := saying(i.Causes, c.code); i.AtClient != c.at || i.Served.Health != c.health || !strings.Contains(text, c.says) {
				t.Errorf("%+v", i)
			}
		})
	}
}

// An Envoy that wants isolated instances has them as draining; one that is far
// away does not get what is beyond the service's limit.
func TestExplainDrainingAndDistance(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	w := startWhole(t, t.TempDir())
	in := func(region string) func(*service_manage.Instance) {
		return func(i *service_manage.Instance) { i.Location = &model.Location{Region: wrapperspb.String(region)} }
	}
	near, far := w.put(t, "cart", "10.0.0.1", in("north")), w.put(t, "cart", "10.0.0.2", in("south"))
	w.put(t, "other", "10.0.0.3")
	drained := w.put(t, "other", "10.0.0.4")
	w.command(t, "isolate", drained)
	w.command(t, "update", "service", "default/cart",
		"--metadata", "polestar/nearby=region", "--metadata", "polestar/nearby-limit=region")
	c := w.follow(t, "envoy-1")
	c.node.Locality = &corev3.Locality{Region: "north"}
	c.node.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{"draining": structpb.NewStringValue("true")}}
	c.accepting(resource.Endpoints)
	w.settled(t)
	r := w.explained(t, "--client", "envoy-1", "--service", "cart")
	if i := instanceOf(t, r, near); i.AtClient != explain.Yes || len(i.Causes) > 0 || i.Served.Locality != "north//" {
		t.Errorf("near: %+v", i)
	}
	if i := instanceOf(t, r, far); i.AtClient != explain.No || saying(i.Causes, explain.TooFar) == "" {
		t.Errorf("far: %+v", i)
	}
	r = w.explained(t, "--client", "envoy-1", "--service", "other")
	if i := instanceOf(t, r, drained); i.AtClient != explain.Yes || i.Served.Health != "draining" || saying(i.Causes, explain.Isolated) == "" {
		t.Errorf("draining: %+v", i)
	}
}
