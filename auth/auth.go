package auth

import (
	"context"

	"polestar/naming"
)

// Action is what a principal wants to do. Policies name them as text.
type Action string

// The actions of clients: SDKs and proxies.
const (
	Register   Action = "register"
	Deregister Action = "deregister"
	Heartbeat  Action = "heartbeat"
	Discover   Action = "discover"
	Report     Action = "report"
	Contract   Action = "contract"  // report the contract of a service
	Subscribe  Action = "subscribe" // follow resources over xDS
)

// The actions of people and their tools.
const (
	Read       Action = "read"       // see a namespace, a service and what belongs to it
	Write      Action = "write"      // create, change and delete namespaces, services and aliases
	Operate    Action = "operate"    // set weight, health and isolation of instances; delete them
	Inspect    Action = "inspect"    // see clients, what they have, explanations and receipts
	History    Action = "history"    // read the change log and its events
	Maintain   Action = "maintain"   // guard, clean-up, pprof
	Metrics    Action = "metrics"    // read /metrics
	Administer Action = "administer" // users, groups, tokens and policies
)

// Actions lists every action.
func Actions() []Action {
	return []Action{
		Register, Deregister, Heartbeat, Discover, Report, Contract, Subscribe,
		Read, Write, Operate, Inspect, History, Maintain, Metrics, Administer,
	}
}

// API says which switches a request falls under.
type API uint8

// The kinds of API. Polaris has a pair of switches for each.
const (
	ClientAPI  API = iota // SDKs and proxies: Polaris gRPC, xDS
	ConsoleAPI            // people and tools: HTTP, client status, receipts
	// AdminAPI is what manages users, groups, tokens and policies. No switch
	// opens it and it is always strict: who could make a token while the console
	// is open would have it when the console is closed again.
	AdminAPI
)

func (a API) String() string {
	switch a {
	case ClientAPI:
		return "client"
	case ConsoleAPI:
		return "console"
	case AdminAPI:
		return "admin"
	default:
		return "unknown"
	}
}

// Credentials are what a request brings to show who is calling.
type Credentials struct {
	Token string // text of a token; empty: none
	// Identities of a verified client certificate: URI SANs first, then DNS
	// SANs; empty without a certificate. Never what a client merely claims.
	Identities []string
}

// Principal is who is calling. The zero value is an anonymous caller.
type Principal struct {
	ID    string // of the user or group; empty: anonymous
	Name  string // for people and for the change log
	Group bool   // a group's token: the group itself, not a member of it
	Main  bool   // the main user, who may do everything
	Token string // id of the token that was shown; empty: by certificate
}

// Anonymous reports whether nobody in particular is calling.
func (p Principal) Anonymous() bool { return p.ID == "" }

// Resource is what the action touches. Empty fields mean "none in particular":
// an action on no namespace is one on the server as a whole.
type Resource struct {
	Namespace string
	Service   string
	// The ids of the principals that created them, as stored; empty when they
	// do not exist or nobody in particular created them.
	NamespaceCreator, ServiceCreator string
}

// ResourceOf is the service at key, or with an empty name the namespace, as it
// is stored: with who created it and its namespace, as far as they exist. All
// doors judge by it.
func ResourceOf(w naming.World, key naming.ServiceKey) Resource {
	r := Resource{Namespace: key.Namespace, Service: key.Name}
	if ns := w.Namespace(key.Namespace); ns != nil {
		r.NamespaceCreator = ns.Creator
	}
	if st := w.Service(key); st != nil {
		r.ServiceCreator = st.Service.Creator
	}
	return r
}

// Reason says why somebody was refused.
type Reason uint8

// The reasons. Doors map them to their codes (Polaris: 401000, 401004, 401003,
// 401004, 401001).
const (
	NoCredentials Reason = iota + 1 // none were shown, and they are needed
	BadToken                        // not a token that exists
	Disabled                        // the token or its owner is switched off
	Expired                         // the token's time is over
	Forbidden                       // known, and not allowed
)

func (r Reason) String() string {
	switch r {
	case NoCredentials:
		return "no_credentials"
	case BadToken:
		return "bad_token"
	case Disabled:
		return "disabled"
	case Expired:
		return "expired"
	case Forbidden:
		return "forbidden"
	default:
		return "unknown"
	}
}

// Error is a refusal. Its text may be shown to the caller.
type Error struct {
	Reason Reason
	Msg    string
}

func (e *Error) Error() string { return e.Msg }

// Scope is what a principal may read, at one state of the policies. The zero
// value reads everything.
type Scope struct {
	// Key is equal for two scopes only if they see the same services at every
	// state of the world; empty: everything is seen. It is part of every key
	// under which an answer is shared.
	Key string
	// See is nil when everything is seen.
	See func(namespace *naming.Namespace, service *naming.Service) bool
}

// Sees reports whether a service is visible; service nil asks for the namespace
// itself, which is visible if any service in it could be.
func (s Scope) Sees(namespace *naming.Namespace, service *naming.Service) bool {
	return s.See == nil || s.See(namespace, service)
}

// Gate is what doors ask.
type Gate interface {
	// Authenticate says who shows these credentials. A switched-off API makes
	// everybody anonymous; one that is not strict makes those anonymous whose
	// credentials do not hold. Errors are *Error.
	Authenticate(ctx context.Context, api API, c Credentials) (Principal, error)
	// Allow returns nil when p may do a to r, else an *Error.
	Allow(ctx context.Context, api API, p Principal, a Action, r Resource) error
	// Scope is what p may read through an API: with the action [Discover] of
	// clients, [Read] of the console.
	Scope(api API, p Principal) Scope
	// Changed returns a channel that is closed at the next change of users,
	// groups, tokens or policies, or when a token or the like runs out: what was
	// answered before may be different now. Long-lived streams authenticate
	// again then.
	Changed() <-chan struct{}
}

// Open allows everybody everything: for a server whose switches are all off.
type Open struct{}

var _ Gate = Open{}

// Authenticate implements [Gate].
func (Open) Authenticate(context.Context, API, Credentials) (Principal, error) {
	return Principal{}, nil
}

// Allow implements [Gate].
func (Open) Allow(context.Context, API, Principal, Action, Resource) error { return nil }

// Scope implements [Gate].
func (Open) Scope(API, Principal) Scope { return Scope{} }

// Changed implements [Gate]; nothing ever changes.
func (Open) Changed() <-chan struct{} { return nil }
