package access_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"polestar/auth"
	"polestar/proto/adminpb"
	"polestar/xds/access"
	"polestar/xds/resource"
)

// TestStreamsNeedCredentials: on every kind of stream, and wherever a token is
// shown, the first request says who it is, or the stream ends and says why.
func TestStreamsNeedCredentials(t *testing.T) {
	d := open(t)
	d.set("of-alice", owner{name: "alice", namespaces: "shop"})
	d.set("run-out", owner{name: "late", namespaces: "shop", reason: auth.Expired})
	d.put("shop", "cart", "")
	kinds := map[string]func(context.Context, *corev3.Node) error{
		"ads delta": func(ctx context.Context, n *corev3.Node) error {
			s := d.stream(ctx)
			s.ask(n, resource.Cluster, "*")
			_, err := s.Recv()
			return err
		},
		"ads sotw": func(ctx context.Context, n *corev3.Node) error {
			s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(d.conn).StreamAggregatedResources(ctx)
			return first(err, func() error { return s.Send(&discoveryv3.DiscoveryRequest{Node: n, TypeUrl: resource.Cluster.URL()}) },
				func() error { _, err := s.Recv(); return err })
		},
		"cds sotw": func(ctx context.Context, n *corev3.Node) error {
			s, err := clusterv3.NewClusterDiscoveryServiceClient(d.conn).StreamClusters(ctx)
			return first(err, func() error { return s.Send(&discoveryv3.DiscoveryRequest{Node: n}) },
				func() error { _, err := s.Recv(); return err })
		},
	}
	for name, c := range map[string]struct {
		header, value string
		node          *corev3.Node
		code          codes.Code
		text          string
		told          refusal
	}{
		"header":              {header: access.KeyToken, value: "of-alice", node: envoy("e", "shop")},
		"bearer":              {header: access.KeyAuthorization, value: "bearer of-alice", node: envoy("e", "shop")},
		"node":                {node: envoy("e", "shop", access.KeyToken, "of-alice")},
		"node, as a header":   {node: envoy("e", "shop", "Authorization", "Bearer of-alice")},
		"header before node":  {header: access.KeyToken, value: "of-alice", node: envoy("e", "shop", access.KeyToken, "wrong")},
		"empty header":        {header: access.KeyToken, node: envoy("e", "shop", access.KeyToken, "of-alice")},
		"none":                {node: envoy("e", "shop"), code: codes.Unauthenticated, text: "nothing was shown; a token goes into", told: refusal{"", auth.Subscribe, "shop/", auth.NoCredentials}},
		"wrong":               {header: access.KeyToken, value: "wrong", node: envoy("e", "shop"), code: codes.Unauthenticated, text: "no such token; a token goes into", told: refusal{"", auth.Subscribe, "shop/", auth.BadToken}},
		"run out":             {header: access.KeyToken, value: "run-out", node: envoy("e", "shop"), code: codes.Unauthenticated, text: "the token is off", told: refusal{"", auth.Subscribe, "shop/", auth.Expired}},
		"another's namespace": {header: access.KeyToken, value: "of-alice", node: envoy("e", "bank", "service", "till"), code: codes.PermissionDenied, text: "alice is not allowed to subscribe", told: refusal{"alice", auth.Subscribe, "bank/till", auth.Forbidden}},
		"basic":               {header: access.KeyAuthorization, value: "Basic of-alice", node: envoy("e", "shop"), code: codes.Unauthenticated, text: "nothing was shown", told: refusal{"", auth.Subscribe, "shop/", auth.NoCredentials}},
	} {
		for kind, stream := range kinds {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if c.header != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, c.header, c.value)
			}
			n := &corev3.Node{Id: c.node.GetId(), UserAgentName: "envoy", Metadata: c.node.GetMetadata()}
			if err := stream(ctx, n); status.Code(err) != c.code || !strings.Contains(fmt.Sprint(err), c.text) {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
			told := d.told()
			if c.code == codes.OK && len(told) > 0 || c.code != codes.OK && !slices.Equal(told, []refusal{c.told}) {
				t.Errorf("%s, %s: told of %+v", name, kind, told)
			}
			cancel()
		}
	}
	s := d.stream(t.Context())
	n := envoy("e", "shop")
	n.Metadata.Fields[access.KeyToken] = structpb.NewNumberValue(4711)
	s.ask(n, resource.Cluster, "*")
	if err := s.ended(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "node.metadata.x-polaris-token: must be a string") {
		t.Errorf("a number: %v", err)
	}
}

func first(err error, send, recv func() error) error {
	if err == nil {
		err = send()
	}
	if err == nil {
		err = recv()
	}
	return err
}

// TestTokenOfANodeIsShownToNobody: what a node shows to be let in is in no
// status, no log and no answer.
func TestTokenOfANodeIsShownToNobody(t *testing.T) {
	d := open(t)
	for _, key := range []string{access.KeyToken, "X-Polaris-Token", "Authorization"} {
		s := d.stream(t.Context())
		value := "of-root"
		if key == "Authorization" {
			value = "Bearer of-root"
		}
		s.ask(envoy("envoy-"+key, "shop", key, value), resource.Cluster, "*")
		s.answer()
	}
	refused := d.stream(t.Context())
	refused.ask(envoy("x", "shop", access.KeyToken, "of-root-not"), resource.Cluster, "*")
	var out strings.Builder
	out.WriteString(refused.ended().Error())
	all, err := d.statuses("of-root")
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	for _, c := range all {
		out.WriteString(prototext.Format(c))
		if !strings.Contains(c.GetClientScope(), "as root") {
			t.Errorf("not said who it is: %s", c.GetClientScope())
		}
	}
	fmt.Fprintf(&out, "%+v", d.ads.Clients())
	for _, l := range d.logs.All() {
		fmt.Fprint(&out, l.Message, l.ContextMap())
	}
	if shown := out.String(); strings.Contains(shown, "of-root") {
		t.Errorf("the token is in %s", shown)
	}
}

// TestEachSeesItsOwn: two principals follow the same world and get what each
// may read, by the wildcard and by name; of the rest there is no byte, and what
// appears later is no exception.
func TestEachSeesItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t)
		d.set("of-alice", owner{name: "alice", namespaces: "shop"})
		d.set("of-bob", owner{name: "bob", namespaces: "bank"})
		d.put("shop", "cart", "")
		d.put("bank", "vault", "")
		names := []string{"shop/cart", "bank/vault", "shop/late", "bank/hush"}
		streams := map[string]*stream{}
		for who, ns := range map[string]string{"alice": "shop", "bob": "bank", "root": "shop"} {
			s := d.stream(as(t.Context(), "of-"+who))
			s.ask(envoy("envoy-of-"+who, ns), resource.Cluster, "*")
			got := s.answer()
			s.ask(nil, resource.Endpoints, names...)
			s.ask(nil, resource.Route, resource.EgressRoutes)
			got += ", " + s.answer() + ", " + s.answer()
			want := map[string]string{
				"alice": "shop/cart, -bank/hush -bank/vault -shop/late shop/cart, egress",
				"bob":   "bank/vault, -bank/hush -shop/cart -shop/late bank/vault, egress",
				"root":  "bank/vault shop/cart, -bank/hush -shop/late bank/vault shop/cart, egress",
			}[who]
			if got != want {
				t.Errorf("%s got %q, want %q", who, got, want)
			}
			streams[who] = s
		}
		d.put("bank", "hush", "")
		d.put("shop", "late", "")
		d.put("bank", "gift", "alice") // she may read what she made
		for who, want := range map[string]string{"alice": "bank/gift shop/late", "bob": "bank/gift bank/hush", "root": "bank/gift bank/hush shop/late"} {
			synctest.Wait()
			have := map[string]bool{}
			for len(have) < len(strings.Fields(want))+1 { // the routes among them
				for name := range strings.FieldsSeq(streams[who].answer()) {
					have[name] = true
				}
			}
			for name := range strings.FieldsSeq(want) {
				if !have[name] {
					t.Errorf("%s got %v, want %q", who, have, want)
				}
			}
		}
		for who, hidden := range map[string][]string{"alice": {"vault", "hush"}, "bob": {"cart", "late"}} {
			for _, name := range hidden {
				if got := streams[who].bytes.String(); strings.Contains(got, name) {
					t.Errorf("%s got something of %s: %s", who, name, got)
				}
			}
		}
		if n := d.control.Views(); n != 2 {
			t.Errorf("%d views of two principals", n)
		}
	})
}

// TestRevokedStreamsEnd: a stream whose token does not hold any more, or whose
// principal may read something else, ends within two seconds; others go on.
// Whoever comes back gets what it may see now.
func TestRevokedStreamsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t)
		d.set("of-alice", owner{name: "alice", namespaces: "shop"})
		d.set("of-bob", owner{name: "bob", namespaces: "bank shop"})
		d.set("of-carol", owner{name: "carol", namespaces: "shop"})
		d.put("shop", "cart", "")
		d.put("bank", "vault", "")
		const each = 100
		var streams [3][each]*stream
		for n := range each {
			for k, who := range []string{"alice", "bob", "carol"} {
				s := d.stream(as(t.Context(), "of-"+who))
				s.ask(envoy(fmt.Sprint(who, n), "shop"), resource.Cluster, "*")
				s.answer()
				streams[k][n] = s
			}
		}
		began := time.Now()
		d.set("of-alice", owner{name: "alice", namespaces: "shop", reason: auth.Disabled})
		d.set("of-bob", owner{name: "bob", namespaces: "shop"})
		for n := range each {
			if err := streams[0][n].ended(); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "the token is off") {
				t.Fatalf("alice: %v", err)
			}
			if err := streams[1][n].ended(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "has changed; connect again") {
				t.Fatalf("bob: %v", err)
			}
		}
		// Two changes are two rounds at most.
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("took %s", took)
		}
		d.put("shop", "late", "")
		for n := range each {
			if got := streams[2][n].answer(); got != "shop/late" {
				t.Fatalf("carol got %q", got)
			}
		}
		back := d.stream(as(t.Context(), "of-bob"))
		back.ask(envoy("bob0", "shop"), resource.Cluster, "*")
		if got := back.answer(); got != "shop/cart shop/late" {
			t.Errorf("bob, back, got %q", got)
		}
		again := d.stream(as(t.Context(), "of-alice"))
		again.ask(envoy("alice0", "shop"), resource.Cluster, "*")
		if err := again.ended(); status.Code(err) != codes.Unauthenticated {
			t.Errorf("alice, back: %v", err)
		}
	})
}

// Also a stream that is being sent to, and that does not read, ends.
func TestRevokedWhileBlockedEnds(t *testing.T) {
	d := open(t)
	d.set("of-alice", owner{name: "alice", namespaces: "shop"})
	for n := range 200 {
		d.put("shop", fmt.Sprintf("%d-%0100d", n, n), "")
	}
	s := d.stream(as(t.Context(), "of-alice"))
	s.ask(envoy("e", "shop"), resource.Cluster, "*") // more than fits the windows of the connection
	for len(d.ads.Clients()) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("no stream")
		}
	}
	d.set("of-alice", owner{name: "alice", namespaces: "shop", reason: auth.Disabled})
	if err := s.ended(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("ended with %v", err)
	}
}

// What nobody follows any more costs nothing.
func TestViewsEndWithTheirStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t)
		d.put("shop", "cart", "")
		ctx, cancel := context.WithCancel(t.Context())
		for n := range 20 {
			d.set(fmt.Sprint("token", n), owner{name: fmt.Sprint("user", n), namespaces: "shop"})
			for k := range 2 {
				s := d.stream(as(ctx, fmt.Sprint("token", n)))
				s.ask(envoy(fmt.Sprint(n, k), "shop"), resource.Cluster, "*")
				s.answer()
			}
		}
		if got := d.control.Views(); got != 20 {
			t.Errorf("%d views of 20 principals", got)
		}
		if got := d.pipeline.Cache().Len(); got != 1 {
			t.Errorf("%d forms of one cluster that all may see", got)
		}
		cancel()
		synctest.Wait()
		if views, forms := d.control.Views(), d.pipeline.Cache().Len(); views != 0 || forms != 0 {
			t.Errorf("left are %d views and %d forms", views, forms)
		}
	})
}

// TestInspectorsSeeTheirOwn: the status of clients shows those, and the
// resources, that the caller may see; a receipt waits for all and shows those.
func TestInspectorsSeeTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t)
		d.set("of-alice", owner{name: "alice", namespaces: "shop"})
		d.set("of-bob", owner{name: "bob", namespaces: "bank"})
		d.put("shop", "cart", "")
		d.put("bank", "vault", "")
		for who, ns := range map[string]string{"alice": "shop", "bob": "bank", "root": "shop"} {
			s := d.stream(as(t.Context(), "of-"+who))
			s.ask(envoy("envoy", ns), resource.Cluster, "*")
			s.answer()
			s.ask(nil, resource.Endpoints, "shop/cart", "bank/vault")
			s.answer()
		}
		synctest.Wait()
		for who, want := range map[string]string{
			"root":  "as alice: bank/vault shop/cart; as bob: bank/vault shop/cart; as root: bank/vault shop/cart",
			"alice": "as alice: shop/cart; as root: shop/cart",
			"bob":   "as bob: bank/vault",
		} {
			all, err := d.statuses("of-" + who)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range all {
				var names []string
				for _, x := range c.GetGenericXdsConfigs() {
					names = append(names, x.GetName())
				}
				slices.Sort(names)
				got = append(got, c.GetClientScope()[strings.LastIndex(c.GetClientScope(), "as "):]+": "+strings.Join(slices.Compact(names), " "))
			}
			slices.Sort(got)
			if strings.Join(got, "; ") != want {
				t.Errorf("%s sees %q, want %q", who, got, want)
			}
		}
		d.set("of-eve", owner{name: "eve", namespaces: "nothing"})
		d.told()
		for token, code := range map[string]codes.Code{"of-eve": codes.PermissionDenied, "wrong": codes.Unauthenticated} {
			if _, err := d.statuses(token); status.Code(err) != code {
				t.Errorf("status for %s: %v", token, err)
			}
			if _, err := d.wait(token, &adminpb.WaitRequest{}); status.Code(err) != code {
				t.Errorf("receipt for %s: %v", token, err)
			}
		}
		if told := d.told(); len(told) != 4 {
			t.Errorf("told of %+v", told)
		}
		if _, err := d.wait("of-alice", &adminpb.WaitRequest{}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("alice waits for everybody: %v", orNone(err))
		}
		if _, err := d.wait("of-alice", &adminpb.WaitRequest{Namespace: "bank", Service: "vault"}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("alice waits for what is bob's: %v", orNone(err))
		}
		got, err := d.wait("of-alice", &adminpb.WaitRequest{Namespace: "shop", Service: "cart"})
		if err != nil || !got.GetConverged() {
			t.Errorf("alice waits for her own: %v, %v", got, err)
		}
	})
}

// TestReceiptsCountWhatTheyDoNotShow: who waits for its own service learns that
// somebody lacks it, but not who, if it may not inspect that client. And a node
// id is only a claim: with its principal before it, it is somebody.
func TestReceiptsCountWhatTheyDoNotShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t)
		d.set("of-alice", owner{name: "alice", namespaces: "shop"})
		d.set("of-bob", owner{name: "bob", namespaces: "bank"})
		d.put("shop", "cart", "")
		d.put("bank", "vault", "alice") // hers, and bob's clients have it
		s := d.stream(as(t.Context(), "of-bob"))
		s.ask(envoy("envoy@1", "bank"), resource.Endpoints, "bank/vault")
		if _, err := s.Recv(); err != nil { // and does not accept it
			t.Fatal(err)
		}
		in := &adminpb.WaitRequest{Namespace: "bank", Service: "vault", Timeout: durationpb.New(time.Second)}
		got, err := d.wait("of-alice", in)
		if err != nil || got.GetConverged() || len(got.GetLaggards()) != 0 || got.GetMore() != 1 {
			t.Errorf("alice: %v, %v", got, err)
		}
		got, err = d.wait("of-bob", in)
		if err != nil || got.GetConverged() || len(got.GetLaggards()) != 1 || got.GetMore() != 0 {
			t.Errorf("bob: %v, %v", got, err)
		}
		for name, state := range map[string]string{"envoy@1": "not connected", "bob@envoy@1": "stale", "alice@envoy@1": "not connected", "1": "stale"} {
			in.Clients = []string{name}
			got, err := d.wait("of-bob", in)
			if err != nil || len(got.GetLaggards()) != 1 || got.GetLaggards()[0].GetState() != state {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	})
}

// TestReceiptsEndWithTheRight: whose token is taken back while it waits learns
// nothing any more.
func TestReceiptsEndWithTheRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t)
		d.set("of-alice", owner{name: "alice", namespaces: "shop"})
		d.put("shop", "cart", "")
		s := d.stream(as(t.Context(), "of-root"))
		s.ask(envoy("e", "shop"), resource.Endpoints, "shop/cart")
		if _, err := s.Recv(); err != nil { // and does not accept it
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			d.set("of-alice", owner{name: "alice", reason: auth.Disabled})
		}()
		in := &adminpb.WaitRequest{Namespace: "shop", Service: "cart", Timeout: durationpb.New(2 * time.Second)}
		if got, err := d.wait("of-alice", in); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%v, %v", got, orNone(err))
		}
	})
}
