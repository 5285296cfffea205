package resource

import (
	"strconv"
	"strings"

	"polestar/naming"
)

// The names that Envoys set up for Polaris know. Names of services and
// namespaces contain no pipe, so two services never share one.
const (
	outboundPrefix = "OUTBOUND|"
	inboundPrefix  = "INBOUND|"

	outboundListener = "OUTBOUND_15001"
	inboundSuffix    = "_INBOUND_15006" // after service.namespace

	outboundRoutes = "polaris-outbound-router"
	gatewayRoutes  = "polaris-outbound-router-gateway"
	inboundRoutes  = "polaris-inbound-cluster|" // before service.namespace

	passthrough        = "PassthroughCluster"
	inboundPassthrough = "Inbound" + passthrough
)

// The ports to which iptables leads these Envoys' traffic; they listen there
// unless their node says otherwise.
const (
	OutboundPort = 15001
	InboundPort  = 15006
)

// OutboundName is the cluster of a service, as sidecars and gateways call it.
func OutboundName(key naming.ServiceKey) string {
	return outboundPrefix + key.Namespace + "|" + key.Name
}

// InboundName is the cluster of the application behind a sidecar.
func InboundName(key naming.ServiceKey) string {
	return inboundPrefix + key.Namespace + "|" + key.Name
}

// inboundListenerName is the listener before the application of a sidecar.
func inboundListenerName(key naming.ServiceKey) string {
	return key.Name + "." + key.Namespace + inboundSuffix
}

// inboundRouteName is the route table of a port of that application; port 0
// stands for the first, which is the only one that Polaris has.
func inboundRouteName(key naming.ServiceKey, port uint16) string {
	name := inboundRoutes + key.Name + "." + key.Namespace
	if port == 0 {
		return name
	}
	return name + "|" + strconv.Itoa(int(port))
}

// inboundRoutePort is the inverse, 0 for what it never makes.
func inboundRoutePort(key naming.ServiceKey, name string) uint16 {
	text, _ := strings.CutPrefix(name, inboundRouteName(key, 0)+"|")
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || inboundRouteName(key, uint16(port)) != name {
		return 0
	}
	return uint16(port)
}

// pipedKey reads namespace|service behind a prefix; false for anything else.
func pipedKey(name, prefix string) (naming.ServiceKey, bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || len(rest) > maxTarget {
		return naming.ServiceKey{}, false
	}
	namespace, service, ok := strings.Cut(rest, "|")
	return naming.ServiceKey{Namespace: namespace, Name: service}, ok && namespace != "" && service != ""
}

// inboundTarget reads service.namespace from the name of a listener or route
// table of an inbound side.
func inboundTarget(ref Ref) (string, bool) {
	if ref.Type == Listener {
		return strings.CutSuffix(ref.Name, inboundSuffix)
	}
	rest, ok := strings.CutPrefix(ref.Name, inboundRoutes)
	target, _, _ := strings.Cut(rest, "|")
	return target, ok
}

// AssignmentOf is the name of the load assignment that a cluster of this name
// asks for.
func AssignmentOf(cluster string) string {
	if key, ok := pipedKey(cluster, outboundPrefix); ok {
		return ClusterName(key) // all Envoys share it
	}
	return cluster
}

// ServiceOf is the service that a cluster of this name sends to; false for a
// name of no such cluster.
func ServiceOf(cluster string) (naming.ServiceKey, bool) {
	if key, ok := pipedKey(cluster, outboundPrefix); ok {
		return key, true
	}
	if strings.Contains(cluster, "|") {
		return naming.ServiceKey{}, false
	}
	return clusterKey(cluster)
}

// self is the service that a sidecar stands before; false when it stands
// before none.
func (s Scope) self() (naming.ServiceKey, bool) {
	return naming.ServiceKey{Namespace: s.Namespace, Name: s.Service}, s.Kind == Sidecar && s.Service != ""
}

// polaris is [Scope.For] of a sidecar or gateway. Their clusters are the same.
func (s Scope) polaris(t Type) Scope {
	switch t {
	case Cluster:
		return Scope{Kind: Sidecar, Reader: s.Reader, Namespace: s.Namespace, Mutual: s.Mutual}
	case Listener:
		return Scope{Kind: s.Kind, OnDemand: s.OnDemand, EgressAddress: s.EgressAddress, EgressPort: s.EgressPort}
	case Route:
		return Scope{Kind: s.Kind, Reader: s.Reader, Namespace: s.Namespace}
	default:
		s.Kind = Plain // all Envoys share endpoints
		return s.For(t)
	}
}

// polarisNamed is [Scope.Of] of a sidecar or gateway. What only some nodes have
// must not share the scope of the wildcard: it would become a part of it.
func (s Scope) polarisNamed(t Type, name string) Scope {
	if t == Endpoints && strings.HasPrefix(name, outboundPrefix) {
		out := s.polaris(t)
		out.Kind = Sidecar
		return out
	}
	if !s.isInbound(t, name) {
		return s.polaris(t)
	}
	own := Scope{Kind: Sidecar, Namespace: s.Namespace, Service: s.Service}
	if t != Cluster {
		own.Reader, own.BindPorts = s.Reader, s.BindPorts
	}
	if t == Listener {
		own.Mutual, own.OnDemand = s.Mutual, s.OnDemand
		own.IngressAddress, own.IngressPort = s.IngressAddress, s.IngressPort
	}
	return own
}

// isInbound reports whether the name is one of the inbound side of this node.
func (s Scope) isInbound(t Type, name string) bool {
	key, ok := s.self()
	if !ok {
		return false
	}
	switch t {
	case Listener:
		return name == inboundListenerName(key)
	case Route:
		return strings.HasPrefix(name, inboundRouteName(key, 0))
	default:
		return name == InboundName(key)
	}
}

// polarisOwn is [Scope.Own] of a sidecar or gateway.
func (s Scope) polarisOwn(t Type) []string {
	key, ok := s.self()
	switch {
	case ok && t == Cluster:
		return []string{InboundName(key)}
	case ok && t == Listener:
		return []string{inboundListenerName(key)}
	default:
		return nil
	}
}

// serviceOutbound finds the service of an outbound cluster, nil when there is
// none.
func serviceOutbound(w naming.World, name string) *naming.ServiceState {
	if key, ok := pipedKey(name, outboundPrefix); ok {
		return served(w.Service(key))
	}
	return nil
}

// buildPolaris makes a resource of a sidecar or gateway that is not a load
// assignment of a service; nil when it does not exist.
func buildPolaris(w naming.World, f Form) (message, naming.Revision, []Problem) {
	s := f.Variant.Scope
	if s.isInbound(f.Type, f.Name) {
		return buildInbound(inboundOf(w, s), f)
	}
	switch f.Type {
	case Cluster:
		if f.Name == passthrough || f.Name == inboundPassthrough {
			return passthroughCluster(f.Name), 1, nil
		}
		if st := f.shown(w, serviceOutbound(w, f.Name)); st != nil {
			return outboundCluster(w, st, s.Mutual)
		}
	case Listener:
		if f.Name == outboundListener {
			return polarisOutbound(s), 1, nil
		}
	case Route:
		revision := max(1, w.ServicesRevision())
		switch {
		case f.Name == outboundRoutes && s.Kind == Sidecar:
			m, problems := polarisOutboundRoutes(w, s.Namespace, s.Reader)
			return m, revision, problems
		case f.Name == gatewayRoutes && s.Kind == Gateway:
			m, problems := polarisRoutes(w, gatewayRoutes, s.Namespace, s.Reader)
			return m, revision, problems
		}
	case Endpoints, LbEndpoint:
	}
	return nil, 0, nil
}

// buildInbound makes a resource of a sidecar's inbound side.
func buildInbound(in inbound, f Form) (message, naming.Revision, []Problem) {
	switch f.Type {
	case Cluster:
		return inboundCluster(in.key), 1, nil
	case Endpoints:
		return inboundAssignment(in.key, in.ports), in.revision, nil
	case Listener:
		return polarisInbound(in, f.Variant.Scope), in.revision, in.problems
	default:
		if m := polarisInboundRoutes(in, f.Name); m != nil {
			return m, in.revision, nil
		}
		return nil, 0, nil
	}
}
