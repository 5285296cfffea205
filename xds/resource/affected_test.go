package resource

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"polestar/naming"
)

// TestAffectedIsEverything: what differs between two worlds is what the change
// is said to affect; and so is who sees it.
func TestAffectedIsEverything(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := anyWorld(r)
		victim := rapid.SampledFrom(d.services).Draw(r, "victim").Key
		rest := d.clone()
		changed := map[naming.ServiceKey]bool{}
		ofVictim := func(i naming.Instance) bool { return i.Service == victim }
		switch rapid.SampledFrom([]string{"deleted", "itself", "namespace", "instance", "all instances"}).Draw(r, "change") {
		case "deleted":
			changed[victim] = true
			rest.services = slices.DeleteFunc(rest.services, func(s naming.Service) bool { return s.Key == victim })
			rest.instances = slices.DeleteFunc(rest.instances, ofVictim)
		case "itself":
			changed[victim] = true
			at := slices.IndexFunc(rest.services, func(s naming.Service) bool { return s.Key == victim })
			rest.services[at] = anyService(r, victim, rest.services[at].IsAlias(), []naming.ServiceKey{victim, d.services[0].Key})
		case "namespace":
			rest.namespaces = slices.DeleteFunc(rest.namespaces, func(n naming.Namespace) bool { return n.Name == victim.Namespace })
			rest.namespaces = append(rest.namespaces, naming.Namespace{Name: victim.Namespace, ServiceExportTo: anyExports(r)})
			for _, s := range d.services { // so says the registry
				if s.Key.Namespace == victim.Namespace {
					changed[s.Key] = true
				}
			}
		case "instance":
			changed[victim] = false
			if at := slices.IndexFunc(rest.instances, ofVictim); at >= 0 {
				rest.instances[at] = anyInstance(r, 99, victim)
			}
		case "all instances":
			changed[victim] = false
			rest.instances = slices.DeleteFunc(rest.instances, ofVictim)
		}
		before, after := d.world(r), rest.world(r)
		affected, named := map[Ref]bool{}, map[naming.ServiceKey]bool{}
		for key, membership := range WithAliases(after, changed) {
			named[key] = membership
			for _, ref := range Affected(key, membership) {
				affected[ref] = true
			}
			if findsByName(before, key) || findsByName(after, key) {
				for _, ref := range ClusterRefs(key) {
					affected[ref] = true
				}
			}
		}
		for _, key := range everyKey(before) {
			was, is := key.Form(before), key.Form(after)
			a, _, _ := Build(before, was)
			b, _, _ := Build(after, is)
			differs := was != is || (a == nil) != (b == nil) || a != nil && a.Version != b.Version
			told := affected[Ref{key.Type, key.Name}]
			for service, membership := range named {
				told = told || membership && key.Type == Listener && standsFor(key.Name, service)
			}
			if differs && !told {
				r.Fatalf("%s %q changed with %v, and nobody is told", key.Type, key.Name, changed)
			}
		}
	})
}

func findsByName(w naming.World, key naming.ServiceKey) bool {
	st := w.Service(key)
	return st != nil && ByName(st)
}

// everyKey lists what clients of all kinds and namespaces can ask for.
func everyKey(w naming.World) []Key { return everyKeyOf(w, nil) }

// everyKeyOf lists what they can ask for with some rights.
func everyKeyOf(w naming.World, r *Reader) []Key {
	var out []Key
	for _, ns := range viewers {
		envoy := Scope{Reader: r, Namespace: ns, EgressAddress: "127.0.0.1", EgressPort: 1}
		out = append(out, Key{Listener, envoy.For(Listener), EgressListener}, Key{Route, envoy.For(Route), EgressRoutes})
		for st := range w.Services("") {
			name, k := ClusterName(st.Service.Key), st.Service.Key
			for _, s := range []Scope{{Client: Envoy, Reader: r, Namespace: ns}, {Client: GRPC, Reader: r, Namespace: ns}} {
				out = append(out, Key{Cluster, s.For(Cluster), name}, Key{Endpoints, s.For(Endpoints), name})
				s.Java = s.Client == GRPC
				out = append(out, Key{Cluster, s.For(Cluster), name})
				s.Location = naming.Location{Region: "c", Zone: "c", Campus: "c"}
				s.Draining, s.Collected = s.Client == Envoy, 1
				out = append(out, Key{Endpoints, s.For(Endpoints), name}, Key{LbEndpoint, s.For(LbEndpoint), name})
			}
			sidecar := Scope{
				Kind: Sidecar, Reader: r, Namespace: k.Namespace, Service: k.Name,
				EgressAddress: "0.0.0.0", EgressPort: OutboundPort, IngressAddress: "0.0.0.0", IngressPort: InboundPort,
			}
			for _, ref := range Affected(k, true) {
				for _, s := range []Scope{sidecar, {Kind: Gateway, Reader: r, Namespace: ns, EgressAddress: "0.0.0.0", EgressPort: OutboundPort}} {
					out = append(out, Key{ref.Type, s.Of(ref.Type, ref.Name), ref.Name})
				}
			}
			for _, target := range []string{name, k.String(), k.Name + "." + k.Namespace} {
				s := Scope{Client: GRPC, Reader: r, Namespace: ns}
				out = append(out, Key{Listener, s, target}, Key{Listener, s, target + ":80"})
			}
		}
	}
	return out
}
