package access

import (
	"context"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"polestar/auth"
	"polestar/naming"
	"polestar/xds/resource"
)

// Deps are what a [Control] asks and tells.
type Deps struct {
	Gate auth.Gate
	// World is the newest registered world: it knows who created what.
	World func() naming.World
	// Refused is told of every refusal; nil: nobody is.
	Refused func(auth.Refusal)
}

// Control is what the services of the xDS door ask.
type Control struct {
	Deps

	mu    sync.Mutex // guards everything below
	views map[string]*view
}

// view is a scope that somebody has.
type view struct {
	reader *resource.Reader
	held   int
}

// New makes a control.
func New(d Deps) *Control { return &Control{Deps: d, views: map[string]*view{}} }

// Open is the control of a door that anybody may use.
func Open() *Control {
	return New(Deps{Gate: auth.Open{}, World: func() naming.World { return nil }})
}

// Rights are what a principal has on one stream.
type Rights struct {
	Principal auth.Principal
	// Reader is what it may see; nil: everything.
	Reader *resource.Reader
	key    string // of the scope
}

// Same reports whether both are the rights of one principal who sees the same.
func (r Rights) Same(o Rights) bool { return r.Principal.ID == o.Principal.ID && r.key == o.key }

// Subscribe says what rights who shows these credentials has on a stream of a
// node of this namespace and service. Errors are those of gRPC: Unauthenticated,
// PermissionDenied. What is returned is released at the end of the stream.
func (c *Control) Subscribe(ctx context.Context, shown auth.Credentials, as naming.ServiceKey) (Rights, error) {
	p, scope, err := c.subscriber(ctx, shown, as)
	if err != nil {
		return Rights{}, err
	}
	if scope.See == nil {
		return Rights{Principal: p}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.views[scope.Key]
	if v == nil {
		v = &view{reader: resource.NewReader(scope.See)}
		c.views[scope.Key] = v
	}
	v.held++
	return Rights{p, v.reader, scope.Key}, nil
}

// Release ends the use of rights.
func (c *Control) Release(r Rights) {
	if r.Reader == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.views[r.key]; v != nil {
		if v.held--; v.held == 0 {
			delete(c.views, r.key)
		}
	}
}

// Views is how many different views of the world are in use, besides that of
// those who see everything.
func (c *Control) Views() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.views)
}

// Again says whether rights still hold: nil, or the error with which their
// stream ends. Unavailable sends a client away whose view has changed: it comes
// back and gets what it may see now.
func (c *Control) Again(ctx context.Context, had Rights, shown auth.Credentials, as naming.ServiceKey) error {
	p, scope, err := c.subscriber(ctx, shown, as)
	if err != nil {
		return err
	}
	now := Rights{Principal: p}
	if scope.See != nil {
		now.key = scope.Key
	}
	if !now.Same(had) {
		return status.Error(codes.Unavailable, "what this client may see has changed; connect again")
	}
	return nil
}

func (c *Control) subscriber(ctx context.Context, shown auth.Credentials, as naming.ServiceKey) (auth.Principal, auth.Scope, error) {
	what := c.resource(as)
	p, err := c.Gate.Authenticate(ctx, auth.ClientAPI, shown)
	if err == nil {
		err = c.Gate.Allow(ctx, auth.ClientAPI, p, auth.Subscribe, what)
	}
	if err != nil {
		return p, auth.Scope{}, c.refuse(ctx, p, auth.Subscribe, what, err)
	}
	return p, c.Gate.Scope(auth.ClientAPI, p), nil
}

// Changed is [auth.Gate.Changed]: rights may be others by then.
func (c *Control) Changed() <-chan struct{} { return c.Gate.Changed() }

// resource is a service, or with an empty name a namespace, as it is registered.
func (c *Control) resource(key naming.ServiceKey) auth.Resource {
	w := c.World()
	if w == nil {
		return auth.Resource{Namespace: key.Namespace, Service: key.Name}
	}
	return auth.ResourceOf(w, key)
}

// where tells who was refused for want of a token where one goes.
const where = "; a token goes into the metadata of the call, x-polaris-token or authorization: Bearer, " +
	"of an xDS client also into node.metadata under x-polaris-token"

// refuse tells of a refusal and words it.
func (c *Control) refuse(ctx context.Context, p auth.Principal, a auth.Action, r auth.Resource, err error) error {
	refusal := &auth.Error{Reason: auth.Forbidden, Msg: "not allowed"}
	errors.As(err, &refusal)
	if c.Refused != nil {
		method, _ := grpc.Method(ctx)
		c.Refused(auth.Refusal{Principal: p, Address: addressOf(ctx), Method: method, Action: a, Resource: r, Reason: refusal.Reason})
	}
	if refusal.Reason == auth.Forbidden {
		return status.Error(codes.PermissionDenied, refusal.Msg)
	}
	return status.Error(codes.Unauthenticated, refusal.Msg+where)
}

// addressOf is the ip of the peer; empty when it is not known.
func addressOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return ""
	}
	return host
}
