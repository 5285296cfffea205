package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/e2e/harness"
)

// poisoned registers what one or the other client would refuse together with
// all else in the message. It is left out and reported, and changes go on.
func (x *changes) poisoned(t *testing.T) {
	twin := func(i *service_manage.Instance) { i.Id = wrapperspb.String("twin") }
	name := func(i *service_manage.Instance) { i.Host = wrapperspb.String("db.internal") }
	x.put(t, x.a, twin)
	x.put(t, x.b, name)
	for _, service := range []string{"Cart", "sl/ash", "col:80"} {
		if err := x.reg.Put(harness.Instance(service, x.b.Addr)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := harness.Run("get", "problems", "--server", x.server.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the same address", `host "db.internal" is a name`, "the domain cart", "contains a slash", "contains a colon"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not among the problems:\n%s", want, out)
		}
	}
	x.put(t, x.b, harness.Isolated(true))
	x.fleet.onlyFrom(t, "a")
	x.put(t, x.b, harness.Isolated(false))
	x.fleet.onlyFrom(t, "a", "b")
	for _, i := range []*service_manage.Instance{harness.Instance("cart", x.a.Addr, twin), harness.Instance("cart", x.b.Addr, name)} {
		if err := x.reg.Remove(i); err != nil {
			t.Fatal(err)
		}
	}
}

// refuser is a client that refuses whatever it gets, at once.
type refuser struct {
	mu        sync.Mutex
	responses map[string]int // by type URL
}

func (r *refuser) count(url string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.responses[url]++
}

func (r *refuser) counts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.responses)
}

// startRefuser starts a refuser of all types; endpoints by the names of their
// clusters.
func startRefuser(t *testing.T, s *harness.Server, delta bool, services []string) *refuser {
	t.Helper()
	cc, err := grpc.NewClient(s.XDS, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &refuser{responses: map[string]int{}}
	run := r.sotw
	if delta {
		run = r.delta
	}
	xds, ended := discovery.NewAggregatedDiscoveryServiceClient(cc), make(chan struct{})
	id := node(t, fmt.Sprint("refuser delta=", delta))
	go func() {
		defer close(ended)
		if err := run(ctx, xds, &discovery.DiscoveryRequest{Node: id}, services); ctx.Err() == nil {
			t.Errorf("the stream of a refuser ended: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended; _ = cc.Close() })
	return r
}

var refusal = &rpc.Status{Code: 3, Message: "refused on principle"}

func (r *refuser) sotw(
	ctx context.Context, xds discovery.AggregatedDiscoveryServiceClient, first *discovery.DiscoveryRequest, services []string,
) error {
	stream, err := xds.StreamAggregatedResources(ctx)
	if err != nil {
		return err
	}
	names := map[string][]string{endpointType: services, routeType: {"egress"}}
	for _, url := range []string{clusterType, endpointType, listenerType, routeType} {
		first.TypeUrl, first.ResourceNames = url, names[url]
		if err := stream.Send(first); err != nil {
			return err
		}
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		r.count(m.GetTypeUrl())
		nack := &discovery.DiscoveryRequest{
			TypeUrl: m.GetTypeUrl(), ResourceNames: names[m.GetTypeUrl()], ResponseNonce: m.GetNonce(), ErrorDetail: refusal,
		}
		if err := stream.Send(nack); err != nil {
			return err
		}
	}
}

func (r *refuser) delta(
	ctx context.Context, xds discovery.AggregatedDiscoveryServiceClient, first *discovery.DiscoveryRequest, services []string,
) error {
	stream, err := xds.DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	names := map[string][]string{endpointType: services, routeType: {"egress"}}
	for _, url := range []string{clusterType, endpointType, listenerType, routeType} {
		err := stream.Send(&discovery.DeltaDiscoveryRequest{Node: first.GetNode(), TypeUrl: url, ResourceNamesSubscribe: names[url]})
		if err != nil {
			return err
		}
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		r.count(m.GetTypeUrl())
		err = stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce(), ErrorDetail: refusal})
		if err != nil {
			return err
		}
	}
}

// TestRefusalStaysAlone: clients that refuse take nothing from the others, and
// are not sent again and again what they refused. What they cost is counted in
// responses: a loop of refusals would make thousands of them a second.
func TestRefusalStaysAlone(t *testing.T) {
	const services, changes = 8, 100
	s := harness.StartServer(t)
	r := harness.Connect(t, s.Polaris)
	a, b := harness.StartBackend(t, "a"), harness.StartBackend(t, "b")
	put := func(service, addr string, set ...func(*service_manage.Instance)) {
		t.Helper()
		if err := r.Put(harness.Instance(service, addr, set...)); err != nil {
			t.Fatal(err)
		}
	}
	put("cart", a.Addr)
	put("cart", b.Addr)
	names := []string{"default/cart"}
	for n := 1; n < services; n++ {
		put(fmt.Sprint("other", n), fmt.Sprintf("10.1.1.%d:80", n))
		names = append(names, fmt.Sprint("default/other", n))
	}
	refusing := map[string]*harness.Envoy{"SotW": harness.StartRefusingEnvoy(t, s, false), "delta": harness.StartRefusingEnvoy(t, s, true)}
	refusers := map[string]*refuser{"SotW": startRefuser(t, s, false, names), "delta": startRefuser(t, s, true, names)}
	well := []*harness.Envoy{harness.StartEnvoy(t, s, false), harness.StartEnvoy(t, s, true)}

	for n := range uint32(changes) {
		put("cart", a.Addr, harness.Weight(101+n))
	}
	put("cart", b.Addr, harness.Isolated(true))
	want := map[string]map[string]harness.Host{"default/cart": {a.Addr: {Weight: 100 + changes, Healthy: true}}}
	for _, e := range well {
		onlyFrom(t, func(n int) harness.Counts { return e.Get("cart", n) }, "a")
		harness.Wait(t, soon, func() error { return hasHosts(e, want) })
	}
	// An Envoy that refuses its listener gets its endpoints all the same.
	for name, e := range refusing {
		harness.Wait(t, soon, func() error { return hasHosts(e, want) })
		if n, err := e.Stat("listener_manager.lds.update_rejected"); err != nil || n != 1 {
			t.Errorf("Envoy %s refused its listener %d times (%v), once is enough", name, n, err)
		}
	}
	for name, r := range refusers {
		// A response with all, then each of it on trial; of endpoints that change each form.
		most := map[string]int{clusterType: 1 + services, endpointType: 1 + services + changes + 1, listenerType: 1, routeType: 1}
		var got map[string]int
		harness.Wait(t, soon, func() error {
			if got = r.counts(); got[clusterType] < 1+services {
				return fmt.Errorf("not every cluster was tried: %v", got)
			}
			return nil
		})
		for url, n := range got {
			if n > most[url] {
				t.Errorf("%s: %d responses of type %s, at most %d are useful", name, n, url, most[url])
			}
		}
		t.Logf("%s: %v", name, got)
	}
	refused(t, s)
}

// refused checks that the server says who refused, in the client's words, and
// holds it against nobody else.
func refused(t *testing.T, s *harness.Server) {
	t.Helper()
	all, err := s.Clients()
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]int{}
	for _, c := range all {
		for _, typ := range c.Types {
			switch {
			case typ.Refused == "":
			case strings.HasPrefix(c.Node, "refuser"):
				words[typ.Refused]++
			case typ.Type == "lds" && strings.Contains(typ.Refused, "192.0.2.1"):
				words["listener"]++
			default:
				t.Errorf("%s refused %s: %s", c.Node, typ.Type, typ.Refused)
			}
		}
	}
	if words[refusal.GetMessage()] != 8 || words["listener"] != 2 { // four types by two refusers; one listener by two Envoys
		t.Errorf("the server shows these refusals: %v, in %+v", words, all)
	}
}
