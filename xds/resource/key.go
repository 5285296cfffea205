package resource

import "polestar/naming"

// Type is a kind of xDS resource. The order of the constants is the order in
// which changes of several types must reach a client (make before break).
type Type uint8

// The types, in sending order.
const (
	Cluster Type = iota
	Endpoints
	Listener
	Route
)

const numTypes = int(Route) + 1

// Types lists all types in sending order.
func Types() []Type { return []Type{Cluster, Endpoints, Listener, Route} }

// URL is the type URL of the v3 protocol.
func (t Type) URL() string { return urls[t] }

// String is the short name used in logs and metrics.
func (t Type) String() string { return [numTypes]string{"cds", "eds", "lds", "rds"}[t] }

var urls = [numTypes]string{
	Cluster:   "type.googleapis.com/envoy.config.cluster.v3.Cluster",
	Endpoints: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
	Listener:  "type.googleapis.com/envoy.config.listener.v3.Listener",
	Route:     "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
}

// TypeOf is the inverse of [Type.URL]; false for a type that is not served.
func TypeOf(url string) (Type, bool) {
	for t, u := range urls {
		if u == url {
			return Type(t), true
		}
	}
	return 0, false
}

// Wildcard reports whether clients may subscribe to all resources of the type
// (xDS: only Listener and Cluster have a wildcard).
func (t Type) Wildcard() bool { return t == Cluster || t == Listener }

// FullState reports whether a SotW response of the type must carry everything
// subscribed, absence meaning deletion (xDS: Listener and Cluster).
func (t Type) FullState() bool { return t == Cluster || t == Listener }

// Client is the kind of an xDS client.
type Client uint8

// The kinds of clients.
const (
	Envoy Client = iota
	GRPC         // proxyless gRPC
)

// Kind says whose names a client knows.
type Kind uint8

// The kinds of nodes.
const (
	Plain   Kind = iota // our own names; all gRPC clients
	Sidecar             // an Envoy set up for Polaris, beside an application
	Gateway             // an Envoy set up for Polaris, at the edge
)

// Scope is what a resource depends on besides its type, its name and the
// registered world. It is the key under which resources are shared: builders
// are given nothing else, so an input cannot be forgotten in it.
//
// The scope of a node holds everything; [Scope.For] and [Scope.Of] keep what
// one resource reads.
type Scope struct {
	Client         Client
	Kind           Kind
	Namespace      string // the node's own
	Service        string // of a sidecar: the service that it stands before; may be empty
	BindPorts      string // of a sidecar: where its application listens, as 80,8080; may be empty
	Mutual         Mutual // of a sidecar or gateway
	OnDemand       bool   // of a sidecar: it asks for a cluster when the first request for it arrives
	Location       naming.Location
	EgressAddress  string // host of the egress listener; of a plain node, empty means that it has none
	EgressPort     uint32
	IngressAddress string // of a sidecar: host of the inbound listener
	IngressPort    uint32
}

// For keeps the fields that most resources of type t read, so that they are
// shared as widely as they can be. It is the scope of the type's wildcard.
func (s Scope) For(t Type) Scope {
	if s.Client == Envoy && s.Kind != Plain {
		return s.polaris(t)
	}
	out := Scope{Client: s.Client}
	if s.Client == Envoy {
		switch t {
		case Listener:
			out.EgressAddress, out.EgressPort = s.EgressAddress, s.EgressPort
		case Route:
			out.Namespace = s.Namespace
		case Cluster, Endpoints:
		}
	}
	return out
}

// Of keeps the fields that the resource of type t and this name reads.
func (s Scope) Of(t Type, name string) Scope {
	if s.Client == Envoy && s.Kind != Plain {
		return s.polarisNamed(t, name)
	}
	return s.For(t)
}

// Own lists the resources of type t that belong to a wildcard of this node
// besides those that [Names] lists: they are made for it or for nodes like it,
// so a wildcard that held them would be shared by few.
func (s Scope) Own(t Type) []string {
	if s.Client == Envoy && s.Kind != Plain {
		return s.polarisOwn(t)
	}
	return nil
}

// Key names one resource as clients of one scope see it.
type Key struct {
	Type  Type
	Scope Scope
	Name  string
}

// Ref names a resource in all scopes.
type Ref struct {
	Type Type
	Name string
}

// Resource is one encoded resource: immutable, and shared by all streams.
type Resource struct {
	Name string
	// Version is a hash of the content, in hexadecimal: equal content has an
	// equal version on every server and after a restart.
	Version string
	// Revision is the newest revision that changed the content.
	Revision naming.Revision
	// Any is the encoded google.protobuf.Any that holds the resource: one
	// element of DiscoveryResponse.resources.
	Any []byte
	// Delta is the encoded envoy.service.discovery.v3.Resource (name, version,
	// resource): one element of DeltaDiscoveryResponse.resources.
	Delta []byte
}
