package resource

import (
	"fmt"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/cespare/xxhash/v2"

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
	switch {
	case key.Type == Cluster:
		if st := serviceNamed(w, key.Name); st != nil {
			m, revision = cluster(st.Service, key.Scope.Client), st.Service.Revision
		}
	case key.Type == Endpoints:
		if st := serviceNamed(w, key.Name); st != nil {
			m, problems = endpoints(st, key.Scope.Client)
			revision = st.Revision
		}
	case key.Type == Listener && key.Scope.Client == GRPC:
		if st := serviceOfTarget(w, key.Name); st != nil {
			m, revision = apiListener(key.Name, st.Service), st.Service.Revision
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
	r, err := encode(key, m, revision)
	return r, problems, err
}

// encode makes the bytes that all streams share.
func encode(key Key, m message, revision naming.Revision) (*Resource, error) {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", key.Type, key.Name, err)
	}
	r := &Resource{Name: key.Name, Version: fmt.Sprintf("%016x", xxhash.Sum64(value)), Revision: revision}
	any := &anypb.Any{TypeUrl: key.Type.URL(), Value: value}
	if r.Any, err = proto.Marshal(any); err != nil {
		return nil, err
	}
	r.Delta, err = proto.Marshal(&discoveryv3.Resource{Name: key.Name, Version: r.Version, Resource: any})
	return r, err
}

// Names lists the members of a wildcard subscription, sorted. Proxyless gRPC
// asks by name only.
func Names(w naming.World, t Type, s Scope) []string {
	if s.Client != Envoy {
		return nil
	}
	switch {
	case t == Cluster:
		var out []string
		for st := range w.Services("") {
			out = append(out, st.Service.Key.String())
		}
		return sorted(out)
	case t == Listener && s.EgressAddress != "":
		return []string{EgressListener}
	default:
		return nil
	}
}

// Affected lists the resources, in all scopes, that may differ after a change
// of a service. membership: the service appeared, disappeared or changed
// itself, else only its instances did. Listeners that name the service in
// another form than its two canonical ones are not listed: see [ServicesOf].
func Affected(key naming.ServiceKey, membership bool) []Ref {
	name := key.String()
	if !membership {
		return []Ref{{Endpoints, name}}
	}
	return []Ref{
		{Cluster, name},
		{Endpoints, name},
		{Listener, key.Name + "." + key.Namespace},
		{Listener, name},
		{Route, EgressRoutes},
	}
}
