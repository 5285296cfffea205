package main

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/xds/node"
	"polestar/xds/resource"
)

// ofBank puts an instance into the namespace that ann may not look into.
func ofBank(i *service_manage.Instance) { i.Namespace = wrapperspb.String("bank") }

// Explanations and receipts of one's own service show nothing of others: no
// client, no instance and no name, by whichever way it is asked for.
func TestExplanationsShowWhatTheirReaderMaySee(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	dir := t.TempDir()
	w := startWhole(t, dir, func(c *Config) { c.Auth.Console.Open = true })
	admin := adminToken(t, dir)
	w.put(t, "cart", "10.0.0.1")
	hidden := w.put(t, "vault", "10.9.9.9", ofBank)
	w.follow(t, "envoy-mine").accepting(resource.Cluster, resource.Endpoints)
	theirs := w.follow(t, "envoy-bank")
	theirs.node.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{node.KeyNamespace: structpb.NewStringValue("bank")}}
	theirs.say(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.Cluster.URL(), ResourceNamesSubscribe: []string{"*"}})
	theirs.hear() // and never accepts it
	w.must(t, admin, "create", "alias", "default/door", "--for", "bank/vault")
	w.must(t, admin, "create", "user", "ann")
	w.must(t, admin, "create", "policy", "ann", "--user", "ann", "--action", "read", "--resource", "default/*")
	ann := lastLine(w.must(t, admin, "create", "token", "--user", "ann"))

	if out := w.must(t, ann, "explain", "--service", "default/cart", "--client", "envoy-mine"); !strings.Contains(out, "10.0.0.1") {
		t.Errorf("nothing is said of what she may see: %s", out)
	}
	for name, args := range map[string][]string{
		"another's client":   {"explain", "--service", "default/cart", "--client", "envoy-bank"},
		"no client":          {"explain", "--service", "default/cart", "--client", "nobody"},
		"another's instance": {"explain", "--service", "default/cart", "--client", "envoy-mine", "--instance", hidden},
		"another's name":     {"explain", "--service", "default/vault", "--client", "envoy-mine"},
		"an alias":           {"explain", "--service", "default/door", "--client", "envoy-mine"},
		"a receipt":          {"wait", "--service", "default/cart", "--timeout", "10ms", "-o", "json"},
	} {
		said := func(token string) string {
			out, err := w.as(t, token, args...)
			if err != nil {
				out += err.Error()
			}
			return out
		}
		asked := strings.Join(args, " ")
		for _, secret := range []string{"10.9.9.9", "bank/vault is", "exists as bank", "instance of bank", "envoy-bank"} {
			if out := said(ann); strings.Contains(out, secret) && !strings.Contains(asked, secret) {
				t.Errorf("%s: she is told of %q: %s", name, secret, out)
			}
		}
		if name == "an alias" && !strings.Contains(said(ann), "not allowed to inspect service bank/vault") {
			t.Errorf("an alias: %s", said(ann))
		}
		if name == "another's client" && !strings.Contains(said(ann), "no connected client; connected are envoy-mine") {
			t.Errorf("another's client: %s", said(ann))
		}
	}
	if out, _ := w.as(t, admin, "explain", "--service", "default/cart", "--client", "envoy-mine", "--instance", hidden); !strings.Contains(out, "10.9.9.9") {
		t.Errorf("the main user is told less: %s", out)
	}
	if out, _ := w.as(t, admin, "wait", "--service", "default/cart", "--timeout", "10ms", "-o", "json"); !strings.Contains(out, "envoy-bank") {
		t.Errorf("the main user is told less: %s", out)
	}
}

// Who knows the id of an instance, or has an alias, is not told by a refusal
// whose it is, nor over HTTP whether it is there.
func TestRefusalsNameNothingHidden(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	admin := adminToken(t, dir)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-polaris-token", admin)
	made, err := w.polaris.RegisterInstance(ctx, &service_manage.Instance{
		Namespace: wrapperspb.String("bank"), Service: wrapperspb.String("vault"), Host: wrapperspb.String("10.9.9.9"), Port: wrapperspb.UInt32(80),
	})
	if err != nil || made.GetCode().GetValue() != 200000 {
		t.Fatal(made, err)
	}
	hidden := made.GetInstance().GetId().GetValue()
	w.must(t, admin, "create", "alias", "shop/door", "--for", "bank/vault")
	w.must(t, admin, "create", "user", "ann")
	w.must(t, admin, "create", "policy", "ann", "--user", "ann", "--action", "*", "--resource", "shop/*")
	ann := lastLine(w.must(t, admin, "create", "token", "--user", "ann"))
	hers := metadata.AppendToOutgoingContext(t.Context(), "x-polaris-token", ann)

	var told []string
	for _, call := range []func(context.Context, *service_manage.Instance, ...grpc.CallOption) (*service_manage.Response, error){w.polaris.Heartbeat, w.polaris.DeregisterInstance} {
		for _, in := range []*service_manage.Instance{
			{Id: wrapperspb.String(hidden)},
			{Namespace: wrapperspb.String("shop"), Service: wrapperspb.String("door"), Host: wrapperspb.String("10.9.9.9"), Port: wrapperspb.UInt32(80)},
		} {
			res, failed := call(hers, in)
			if failed != nil || res.GetCode().GetValue() != 401001 {
				t.Errorf("%v, %v", res, failed)
			}
			told = append(told, res.GetInfo().GetValue())
		}
	}
	stream, err := w.polaris.Discover(hers)
	if err == nil {
		err = stream.Send(&service_manage.DiscoverRequest{
			Type:    service_manage.DiscoverRequest_INSTANCE,
			Service: &service_manage.Service{Namespace: wrapperspb.String("shop"), Name: wrapperspb.String("door")},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	found, err := stream.Recv()
	if err != nil || found.GetCode().GetValue() != 401001 {
		t.Errorf("%v, %v", found, err)
	}
	told = append(told, found.String())
	_ = stream.CloseSend()
	for _, id := range []string{hidden, strings.Repeat("0", 40)} {
		_, err := w.as(t, ann, "isolate", id, "--reason", "x")
		if err == nil || !strings.Contains(err.Error(), "ann may not operate instance "+strconv.Quote(id)+", if there is one") {
			t.Errorf("%s: %v", id, err)
		}
		told = append(told, err.Error())
	}
	for _, text := range told {
		if strings.Contains(text, "vault") || strings.Contains(text, "bank") {
			t.Errorf("it says whose it is: %s", text)
		}
	}
}
