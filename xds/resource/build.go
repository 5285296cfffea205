package resource

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"polestar/naming"
)

// The names of the resources that exist once per Envoy.
const (
	EgressListener = "egress"
	EgressRoutes   = "egress"
)

// Problem is something that was left out of a resource because clients would
// refuse it, or could not use it.
type Problem struct {
	Service  string // namespace/name
	Instance string // id; empty when the service itself is concerned
	Reason   string
}

// message is what every xDS proto offers.
type message interface {
	proto.Message
	ValidateAll() error
}

// Build makes one form of a resource as it is in world w: nil when it does not
// exist. An error means that the result failed validation and must not be
// published.
//
// Whatever w is, the result is for the eyes of everybody whose scope some world
// reduces to the form's variant: a service whose audience is another by now
// does not exist in this form.
func Build(w naming.World, f Form) (*Resource, []Problem, error) { return Rebuild(w, f, nil) }

// Rebuild is [Build] for one who knows the form as it was before, which is not
// modified. What did not change since is taken from there, and a load
// assignment does not change between list and collections for a trifle.
func Rebuild(w naming.World, f Form, before *Resource) (*Resource, []Problem, error) {
	if f.Variant.Hidden {
		return nil, nil, nil
	}
	if f.Type == Endpoints && f.Variant.Service == "" { // else they are the ports behind a sidecar
		return buildEndpoints(assigned(w, f), f, before)
	}
	if f.Type == LbEndpoint {
		if st := f.shown(w, serviceNamed(w, f.Name)); st != nil && f.Variant.Client == Envoy {
			return collection(st, f, before)
		}
		return nil, nil, nil
	}
	build := buildPlain
	if f.Variant.Kind != Plain {
		build = buildPolaris
	}
	m, revision, problems := build(w, f)
	if m == nil {
		return nil, nil, nil
	}
	if err := m.ValidateAll(); err != nil {
		return nil, problems, fmt.Errorf("%s %q: %w", f.Type, f.Name, err)
	}
	c, err := contentOf(m)
	if err != nil {
		return nil, problems, fmt.Errorf("%s %q: %w", f.Type, f.Name, err)
	}
	r, err := encode(f, c, revision)
	return r, problems, err
}

// buildPlain makes a resource under our own names that is not a load
// assignment; nil when it does not exist.
func buildPlain(w naming.World, f Form) (message, naming.Revision, []Problem) {
	switch v := f.Variant; {
	case f.Type == Cluster:
		if st := f.shown(w, serviceNamed(w, f.Name)); st != nil {
			c, revision, problems := clusterOf(w, st, v.Client)
			if v.Java {
				// In grpc-java (seen in 1.85.1) a call that was picked for an endpoint
				// just before that went away fails in its outlier detection, takes the
				// connection with it and never ends, whatever its deadline.
				c.OutlierDetection = nil
			}
			return c, revision, problems
		}
	case f.Type == Listener && v.Client == GRPC:
		if st := f.shown(w, w.Service(v.Target)); st != nil {
			if to := served(naming.Resolve(w, v.Target)); to != nil {
				set, _ := naming.StoredSettings(to.Service.Metadata) // its cluster reports what is wrong
				return apiListener(f.Name, to.Service, &set), max(revisionOf(w, st.Service), revisionOf(w, to.Service)), nil
			}
		}
	case f.Type == Listener && f.Name == EgressListener && v.EgressAddress != "":
		return egressListener(v.Scope), 1, nil
	case f.Type == Route && v.Client == Envoy && f.Name == EgressRoutes:
		m, problems := egressRoutes(w, v.Namespace, v.Reader)
		return m, max(1, w.ServicesRevision()), problems
	}
	return nil, 0, nil
}

// revisionOf is when a service itself, or who sees it, last changed.
func revisionOf(w naming.World, s *naming.Service) naming.Revision {
	if ns := w.Namespace(s.Key.Namespace); ns != nil {
		return max(s.Revision, ns.Revision)
	}
	return s.Revision
}

// shown returns st, or nil when others than those whom the form is for see it.
func (f *Form) shown(w naming.World, st *naming.ServiceState) *naming.ServiceState {
	if st == nil {
		return nil
	}
	if v := visibilityOf(w, st.Service); string(v.audience) != f.Variant.Audience || v.makers() != f.Variant.Makers {
		return nil
	}
	return st
}

// assigned finds the service that a load assignment is of, nil when there is
// none.
func assigned(w naming.World, f Form) *naming.ServiceState {
	if f.Variant.Kind == Plain {
		return f.shown(w, serviceNamed(w, f.Name))
	}
	return f.shown(w, serviceOutbound(w, f.Name))
}

// buildEndpoints makes the load assignment of a service, nil when there is
// none.
func buildEndpoints(st *naming.ServiceState, f Form, before *Resource) (*Resource, []Problem, error) {
	if st == nil {
		return nil, nil, nil
	}
	c, collected, problems, err := endpoints(st, f, before)
	if err != nil {
		return nil, problems, fmt.Errorf("%s %q: %w", f.Type, f.Name, err)
	}
	r, err := encode(f, c, st.Revision)
	if err != nil {
		return nil, problems, err
	}
	r.collected = collected
	return r, problems, nil
}

// Names lists the resources that belong to a part of a wildcard (see
// [Scope.Parts]), sorted. Proxyless gRPC asks by name only.
func Names(w naming.World, t Type, part Scope) []string {
	if part.Client != Envoy {
		return nil
	}
	switch {
	case t == Cluster:
		nameOf, out := ClusterName, []string(nil)
		if part.Kind != Plain {
			nameOf = OutboundName
			if part.Namespace == "" {
				out = []string{inboundPassthrough, passthrough}
			}
		}
		for st := range w.Services("") {
			if st.Service.IsAlias() {
				continue
			}
			if v := visibilityOf(w, st.Service); (v.audience == everybody) == (part.Namespace == "") && v.shows(part.Namespace, part.Reader) {
				out = append(out, nameOf(st.Service.Key))
			}
		}
		slices.Sort(out)
		return out
	case t == Listener && part.Kind != Plain:
		return []string{outboundListener}
	case t == Listener && part.EgressAddress != "":
		return []string{EgressListener}
	default:
		return nil
	}
}

// WithAliases adds to changed services the aliases that stand for them: they
// look different, too. The values are as in [Affected].
func WithAliases(w naming.World, changed map[naming.ServiceKey]bool) map[naming.ServiceKey]bool {
	out := changed
	for key, membership := range changed {
		if !membership {
			continue
		}
		for alias := range w.AliasesOf(key) {
			if len(out) == len(changed) {
				out = maps.Clone(changed)
			}
			out[alias.Key] = true
		}
	}
	return out
}

// Affected lists the resources, in all scopes, that may differ after a change
// of a service, its aliases aside. membership: the service appeared, disappeared or changed
// itself, else only its instances did. Listeners that name the service in
// another form than its two canonical ones are not listed: see [Targets].
func Affected(key naming.ServiceKey, membership bool) []Ref {
	name := ClusterName(key)
	refs := []Ref{
		{Endpoints, name},
		{Endpoints, OutboundName(key)},
		{Endpoints, InboundName(key)},
		{LbEndpoint, name},
		{Listener, inboundListenerName(key)},
		{Route, inboundRouteName(key, 0)},
	}
	if !membership {
		return refs
	}
	return append(refs,
		Ref{Cluster, name},
		Ref{Cluster, OutboundName(key)},
		Ref{Listener, key.Name + "." + key.Namespace},
		Ref{Listener, name},
		Ref{Route, EgressRoutes},
		Ref{Route, outboundRoutes},
		Ref{Route, gatewayRoutes},
	)
}
