package resource

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"polestar/naming"
)

// creators are who made what is registered; empty: nobody in particular.
var creators = []string{"", "", "alice", "bob"}

// anyCreators draws who made a world.
func anyCreators(r *rapid.T, d *drawn) {
	for n := range d.services {
		d.services[n].Creator = rapid.SampledFrom(creators).Draw(r, "creator")
		ns := d.services[n].Key.Namespace
		if !slices.ContainsFunc(d.namespaces, func(o naming.Namespace) bool { return o.Name == ns }) {
			d.namespaces = append(d.namespaces, naming.Namespace{Name: ns})
		}
	}
	for n := range d.namespaces {
		d.namespaces[n].Creator = rapid.SampledFrom(creators).Draw(r, "namespace's creator")
	}
}

// anyReader draws rights: some namespaces, some services, what somebody made, or
// all, without some others.
func anyReader(r *rapid.T, d drawn) *Reader {
	some := func(what string) map[naming.ServiceKey]bool {
		out := map[naming.ServiceKey]bool{}
		for _, s := range d.services {
			out[s.Key] = rapid.Bool().Draw(r, what)
		}
		return out
	}
	services, denied := some("reads"), some("denied")
	namespaces := map[string]bool{}
	for key := range some("namespace") {
		namespaces[key.Namespace] = rapid.Bool().Draw(r, "reads namespace")
	}
	all, self := rapid.Bool().Draw(r, "all"), rapid.SampledFrom(creators).Draw(r, "self")
	return NewReader(func(ns *naming.Namespace, s *naming.Service) bool {
		made := self != "" && (s.Creator == self || s.Creator == "" && ns.Creator == self)
		return made || !denied[s.Key] && (all || services[s.Key] || namespaces[ns.Name])
	})
}

// without is the world as it is for one who knows only what a reader sees.
func (d drawn) without(t tester, w naming.World, reader *Reader) naming.World {
	hidden := func(k naming.ServiceKey) bool { return !reader.SeesService(w, k) }
	d = d.clone()
	d.services = slices.DeleteFunc(d.services, func(s naming.Service) bool { return hidden(s.Key) })
	d.instances = slices.DeleteFunc(d.instances, func(i naming.Instance) bool { return hidden(i.Service) })
	return d.world(t)
}

// TestWhatMayNotBeReadDoesNotExist: with whatever rights, whatever a client
// asks for has the bytes that it would have if all that its principal may not
// read did not exist. So no byte of it comes out, and nothing tells that it is
// there.
func TestWhatMayNotBeReadDoesNotExist(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := anyWorld(r)
		anyCreators(r, &d)
		w, reader := d.world(r), anyReader(r, d)
		less := d.without(r, w, reader)
		unrestricted := everyKey(w) // the same of one who may read everything
		for n, key := range everyKeyOf(w, reader) {
			all := unrestricted[n]
			got, _, err := Build(w, key.Form(w))
			want, _, errToo := Build(less, all.Form(less))
			if err != nil || errToo != nil {
				r.Fatalf("%v, %v", err, errToo)
			}
			if (got == nil) != (want == nil) || got != nil && (got.Version != want.Version || !bytes.Equal(got.Delta, want.Delta)) {
				r.Fatalf("%s %q of %+v: %+v, want %+v", key.Type, key.Name, key.Scope, got, want)
			}
		}
		for _, scope := range []Scope{{Namespace: "a"}, {Kind: Sidecar, Namespace: "b.a"}} {
			restricted := scope
			restricted.Reader = reader
			if got, want := members(w, Cluster, restricted), members(less, Cluster, scope); !slices.Equal(got, want) {
				r.Fatalf("%+v has the clusters %q, want %q", scope, got, want)
			}
		}
	})
}

// TestNothingIsShownToWhoMayNotReadIt: the same holds while the world moves on
// between the moment at which a client's view is made and that at which the
// resource is built: what appears, or is made anew by somebody else, is not
// shown to those who may not read it. Since resources are shared by their form,
// this is also why no two principals share one that only one of them may read.
func TestNothingIsShownToWhoMayNotReadIt(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := anyWorld(r)
		anyCreators(r, &d)
		reader := anyReader(r, d)
		before, later := d.clone(), d.clone()
		anyCreators(r, &later)
		for n := range later.services {
			if later.services[n].IsAlias() {
				later.services[n].AliasFor = rapid.SampledFrom(d.services).Draw(r, "alias for").Key
			}
		}
		gone := rapid.SampledFrom(d.services).Draw(r, "not there before").Key
		before.services = slices.DeleteFunc(before.services, func(s naming.Service) bool { return s.Key == gone })
		before.instances = slices.DeleteFunc(before.instances, func(i naming.Instance) bool { return i.Service == gone })
		viewed, built := before.world(r), later.world(r)
		for _, key := range everyKeyOf(built, reader) {
			f := key.Form(viewed)
			res, _, err := Build(built, f)
			if err != nil {
				r.Fatalf("%v", err)
			}
			if res == nil || key.Scope.Client == Envoy && key.Scope.isInbound(key.Type, key.Name) {
				continue // what is inbound names the node itself
			}
			for _, k := range told(r, key, f, res) {
				if st := built.Service(k); st == nil || !reader.SeesService(built, k) {
					r.Fatalf("%s %q shows %v to %+v", key.Type, key.Name, k, key.Scope)
				}
			}
		}
	})
}

// told lists the services that a built resource tells of.
func told(r *rapid.T, key Key, f Form, res *Resource) []naming.ServiceKey {
	if key.Type == LbEndpoint {
		k, _ := clusterKey(key.Name)
		return []naming.ServiceKey{k}
	}
	m, err := unpack(res)
	if err != nil {
		r.Fatalf("%v", err)
	}
	return shows(r, key, f, m)
}

// Those who see a service share what is built of it, whatever else they see.
func TestReadersShareWhatTheySee(t *testing.T) {
	cart := naming.Service{Key: naming.ServiceKey{Namespace: "shop", Name: "cart"}, Creator: "alice"}
	w := publish(t, []naming.Service{cart, {Key: naming.ServiceKey{Namespace: "shop", Name: "till"}}}, nil)
	of := func(names ...string) *Reader {
		return NewReader(func(_ *naming.Namespace, s *naming.Service) bool { return slices.Contains(names, s.Key.Name) })
	}
	for _, typ := range []Type{Cluster, Endpoints, LbEndpoint} {
		var forms []Form
		for _, r := range []*Reader{nil, of("cart"), of("cart", "till"), of("till")} {
			forms = append(forms, Key{typ, Scope{Reader: r}.For(typ), "shop/cart"}.Form(w))
		}
		if forms[0] != forms[1] || forms[1] != forms[2] || forms[2] == forms[3] || !forms[3].Variant.Hidden {
			t.Errorf("%s: %+v", typ, forms)
		}
	}
	egress := Scope{EgressAddress: "127.0.0.1", EgressPort: 1}
	other := egress
	other.Reader = of("till")
	if a, b := (Key{Listener, egress.For(Listener), EgressListener}), (Key{Listener, other.For(Listener), EgressListener}); a != b {
		t.Errorf("%+v, %+v", a, b)
	}
}

// A resource of no service is shown to everybody; one of a service, whether it
// exists or not, by the rights to it.
func TestSeesResource(t *testing.T) {
	cart, basket := naming.ServiceKey{Namespace: "shop", Name: "cart"}, naming.ServiceKey{Namespace: "default", Name: "basket"}
	w := publish(t, []naming.Service{{Key: cart}, {Key: basket, AliasFor: cart}}, nil)
	r := NewReader(func(ns *naming.Namespace, _ *naming.Service) bool { return ns.Name == "default" })
	for ref, want := range map[Ref]bool{
		{Cluster, "shop/cart"}: false, {Cluster, "shop/none"}: false, {Cluster, "default/none"}: true, {Cluster, passthrough}: true,
		{Cluster, "OUTBOUND|shop|cart"}: false, {Cluster, "INBOUND|shop|cart"}: false, {Cluster, "INBOUND|default|x"}: true,
		{Endpoints, "OUTBOUND|default|x"}: true, {Endpoints, "shop/cart"}: false, {LbEndpoint, "shop/cart"}: false,
		{Listener, EgressListener}: true, {Listener, outboundListener}: true, {Listener, "cart.shop_INBOUND_15006"}: false,
		{Listener, "x.default_INBOUND_15006"}: true, {Listener, "cart.shop:80"}: false, {Listener, "basket.default"}: false,
		{Listener, "none.default:80"}: true, {Route, EgressRoutes}: true, {Route, outboundRoutes}: true, {Route, gatewayRoutes}: true,
		{Route, "polaris-inbound-cluster|cart.shop|80"}: false, {Route, "polaris-inbound-cluster|x.default"}: true,
	} {
		if got := r.SeesResource(w, ref); got != want {
			t.Errorf("%s %q: %t", ref.Type, ref.Name, got)
		}
		if !(*Reader)(nil).SeesResource(w, ref) {
			t.Errorf("%s %q is hidden from who may read everything", ref.Type, ref.Name)
		}
	}
}
