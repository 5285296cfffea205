package auth

import "context"

// Action is what a principal wants to do.
type Action string

// The actions of the registry.
const (
	Register   Action = "register"
	Deregister Action = "deregister"
	Heartbeat  Action = "heartbeat"
	Discover   Action = "discover"
	Report     Action = "report"
	Contract   Action = "contract"  // report the contract of a service
	Subscribe  Action = "subscribe" // follow resources over xDS
)

// Principal is who is calling. The zero value is an anonymous caller.
type Principal struct {
	Name string
}

// Resource is what the action touches. Empty fields mean "none in particular".
type Resource struct {
	Namespace string
	Service   string
}

// Authorizer decides.
type Authorizer interface {
	// Allow returns nil when p may do a to r, else an error whose text the
	// caller may see.
	Allow(ctx context.Context, p Principal, a Action, r Resource) error
}

// Open allows everybody everything: for a server that listens on loopback or
// in a trusted network.
type Open struct{}

// Allow implements [Authorizer].
func (Open) Allow(context.Context, Principal, Action, Resource) error { return nil }
