package resource

import "polestar/naming"

// Type is a kind of xDS resource. The order of the constants is the order in
// which changes of several types must reach a client (make before break).
type Type uint8

// The types, in sending order.
const (
	Cluster Type = iota
	Endpoints
	LbEndpoint // the endpoints of a service one by one; incremental only
	Listener
	Route
)

const numTypes = int(Route) + 1

// Types lists all types in sending order.
func Types() []Type { return []Type{Cluster, Endpoints, LbEndpoint, Listener, Route} }

// URL is the type URL of the v3 protocol.
func (t Type) URL() string { return urls[t] }

// String is the short name used in logs and metrics.
func (t Type) String() string { return [numTypes]string{"cds", "eds", "leds", "lds", "rds"}[t] }

var urls = [numTypes]string{
	Cluster:    "type.googleapis.com/envoy.config.cluster.v3.Cluster",
	Endpoints:  "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
	LbEndpoint: "type.googleapis.com/envoy.config.endpoint.v3.LbEndpoint",
	Listener:   "type.googleapis.com/envoy.config.listener.v3.Listener",
	Route:      "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
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

// Scope is what a client is, as far as any resource depends on it.
//
// The scope of a node holds everything; [Scope.For] and [Scope.Of] keep what
// can matter to one resource. What does matter depends on the registered world:
// see [Sharing].
type Scope struct {
	Client         Client
	Kind           Kind
	Reader         *Reader // what its principal may see; nil: everything
	Namespace      string  // the node's own
	Service        string  // of a sidecar: the service that it stands before; may be empty
	BindPorts      string  // of a sidecar: where its application listens, as 80,8080; may be empty
	Mutual         Mutual  // of a sidecar or gateway
	OnDemand       bool    // of a sidecar: it asks for a cluster when the first request for it arrives
	Location       naming.Location
	Draining       bool   // an Envoy that wants isolated instances, too, marked as draining
	Collected      uint32 // number of endpoints from which a service's are told one by one; 0: never
	Java           bool   // a gRPC client in Java, which cannot be asked to detect outliers
	EgressAddress  string // host of the egress listener; of a plain node, empty means that it has none
	EgressPort     uint32
	IngressAddress string // of a sidecar: host of the inbound listener
	IngressPort    uint32
}

// For keeps the fields that can matter to most resources of type t. It is the
// scope of the type's wildcard.
func (s Scope) For(t Type) Scope {
	if s.Client == Envoy && s.Kind != Plain {
		return s.polaris(t)
	}
	out := Scope{Client: s.Client}
	switch t {
	case Cluster:
		out.Reader, out.Namespace = s.Reader, s.Namespace
		out.Java = s.Java && s.Client == GRPC
	case Endpoints:
		out.Reader, out.Namespace, out.Location = s.Reader, s.Namespace, s.Location
		out.Draining = s.Draining && s.Client == Envoy // gRPC would ignore them
		if s.Client == Envoy {
			out.Collected = s.Collected
		}
	case LbEndpoint:
		out.Reader, out.Namespace, out.Draining = s.Reader, s.Namespace, s.Draining && s.Client == Envoy
	case Listener:
		if s.Client == Envoy {
			out.EgressAddress, out.EgressPort = s.EgressAddress, s.EgressPort
		} else {
			out.Reader, out.Namespace = s.Reader, s.Namespace
		}
	case Route:
		if s.Client == Envoy {
			out.Reader, out.Namespace = s.Reader, s.Namespace
		}
	}
	return out
}

// Of keeps the fields that can matter to the resource of type t and this name.
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

// Parts are the scopes whose members make up the wildcard of s, which
// [Scope.For] made: what only some namespaces see, the own one among them, and
// what all see. Clients of all namespaces share the last part.
func (s Scope) Parts() []Scope {
	all := s
	all.Namespace = ""
	if all == s {
		return []Scope{all}
	}
	return []Scope{s, all}
}

// Key names one resource as clients of one scope see it.
type Key struct {
	Type  Type
	Scope Scope
	Name  string
}

// Form returns the form that clients of the key's scope see in world w.
func (k Key) Form(w naming.World) Form {
	s := SharingOf(w, k.Type, k.Name)
	return Form{Type: k.Type, Variant: s.Variant(k.Scope), Name: k.Name}
}

// Variant is what a resource depends on besides its type, its name and the
// registered world: what clients with one variant see is one and the same.
// Builders are given nothing else, so an input cannot be forgotten in it. Only
// a [Sharing] makes variants.
type Variant struct {
	Scope // what matters of it
	// Hidden: there is nothing to see for these clients.
	Hidden bool
	// Audience are the namespaces that may see what is built; empty: all.
	Audience string
	// Makers are who created the service that is shown and its namespace: a
	// [Reader] may judge by them. They stand for the Readers that see it, who so
	// share it, and who would not if others had created it.
	Makers string
	// Target is the service that a gRPC target stands for.
	Target naming.ServiceKey
}

// Form is one variant of a resource: the unit of building and sharing.
type Form struct {
	Type    Type
	Variant Variant
	Name    string
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
	//
	// A collection (type LbEndpoint) has neither this nor the next: what is sent
	// are its members.
	Any []byte
	// Delta is the encoded envoy.service.discovery.v3.Resource (name, version,
	// resource): one element of DeltaDiscoveryResponse.resources.
	Delta []byte
	// Members are the endpoints of a collection, sorted by name; shared, never
	// modified.
	Members []*Resource

	origin    *origin // of a member
	collected bool    // of a load assignment: it names collections
}
