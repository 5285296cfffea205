package resource

import (
	"fmt"
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

// Build makes one resource as it is in world w: nil when it does not exist.
// An error means that the result failed validation and must not be published.
func Build(w naming.World, key Key) (*Resource, []Problem, error) {
	var (
		m        message
		revision naming.Revision
		problems []Problem
	)
	if key.Type == Endpoints && key.Scope.Service == "" { // else they are the ports behind a sidecar
		return buildEndpoints(assigned(w, key), key)
	}
	switch {
	case key.Scope.Kind != Plain:
		if m, revision, problems = buildPolaris(w, key); m == nil {
			return nil, nil, nil
		}
	case key.Type == Cluster:
		if st := serviceNamed(w, key.Name); st != nil {
			set, wrong := settingsOf(st.Service)
			m, revision, problems = cluster(st.Service, &set, key.Scope.Client), st.Service.Revision, wrong
		}
	case key.Type == Listener && key.Scope.Client == GRPC:
		if st := serviceOfTarget(w, key.Name); st != nil {
			set, _ := naming.StoredSettings(st.Service.Metadata) // its cluster reports what is wrong
			m, revision = apiListener(key.Name, st.Service, &set), st.Service.Revision
		}
	case key.Type == Listener && key.Name == EgressListener && key.Scope.EgressAddress != "":
		m, revision = egressListener(key.Scope), 1
	case key.Type == Route && key.Scope.Client == Envoy && key.Name == EgressRoutes:
		m, problems = egressRoutes(w, key.Scope.Namespace)
		revision = max(1, w.ServicesRevision())
	}
	if m == nil {
		return nil, nil, nil
	}
	if err := m.ValidateAll(); err != nil {
		return nil, problems, fmt.Errorf("%s %q: %w", key.Type, key.Name, err)
	}
	c, err := contentOf(m)
	if err != nil {
		return nil, problems, fmt.Errorf("%s %q: %w", key.Type, key.Name, err)
	}
	r, err := encode(key, c, revision)
	return r, problems, err
}

// assigned finds the service that a load assignment is of, nil when there is
// none.
func assigned(w naming.World, key Key) *naming.ServiceState {
	if key.Scope.Kind == Plain {
		return serviceNamed(w, key.Name)
	}
	return serviceOutbound(w, key.Name)
}

// buildEndpoints makes the load assignment of a service, nil when there is
// none.
func buildEndpoints(st *naming.ServiceState, key Key) (*Resource, []Problem, error) {
	if st == nil {
		return nil, nil, nil
	}
	c, problems := endpoints(st, key.Name, key.Scope)
	r, err := encode(key, c, st.Revision)
	return r, problems, err
}

// Names lists the members of a wildcard subscription, sorted. Proxyless gRPC
// asks by name only.
func Names(w naming.World, t Type, s Scope) []string {
	if s.Client != Envoy {
		return nil
	}
	switch {
	case t == Cluster:
		nameOf, out := ClusterName, []string(nil)
		if s.Kind != Plain {
			nameOf, out = OutboundName, []string{inboundPassthrough, passthrough}
		}
		for st := range w.Services("") {
			out = append(out, nameOf(st.Service.Key))
		}
		slices.Sort(out)
		return out
	case t == Listener && s.Kind != Plain:
		return []string{outboundListener}
	case t == Listener && s.EgressAddress != "":
		return []string{EgressListener}
	default:
		return nil
	}
}

// Affected lists the resources, in all scopes, that may differ after a change
// of a service. membership: the service appeared, disappeared or changed
// itself, else only its instances did. Listeners that name the service in
// another form than its two canonical ones are not listed: see [Targets].
func Affected(key naming.ServiceKey, membership bool) []Ref {
	name := ClusterName(key)
	refs := []Ref{
		{Endpoints, name},
		{Endpoints, OutboundName(key)},
		{Endpoints, InboundName(key)},
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
