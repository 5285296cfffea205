package access

import (
	"context"

	"polestar/auth"
	"polestar/naming"
	"polestar/xds/resource"
)

// Inspector is what one caller may see of the clients and of what they have. It
// is good for one call, on one goroutine.
type Inspector struct {
	Principal auth.Principal

	control *Control
	allow   func(auth.Resource) error
	reader  *resource.Reader // nil: sees everything
	clients map[naming.ServiceKey]bool
}

// Inspect says what the caller may see. Errors are those of gRPC:
// Unauthenticated.
func (c *Control) Inspect(ctx context.Context) (*Inspector, error) {
	p, err := c.Gate.Authenticate(ctx, auth.ConsoleAPI, CredentialsOf(ctx, ""))
	if err != nil {
		return nil, c.refuse(ctx, p, auth.Inspect, auth.Resource{}, err)
	}
	return c.InspectAs(ctx, p), nil
}

// InspectAs says what somebody may see who is known already.
func (c *Control) InspectAs(ctx context.Context, p auth.Principal) *Inspector {
	i := &Inspector{Principal: p, control: c, clients: map[naming.ServiceKey]bool{}}
	i.allow = func(r auth.Resource) error { return c.Gate.Allow(ctx, auth.ConsoleAPI, p, auth.Inspect, r) }
	if scope := c.Gate.Scope(auth.ConsoleAPI, p); scope.See != nil {
		i.reader = resource.NewReader(scope.See)
	}
	return i
}

// Client reports whether a client may be seen: by the right to inspect what it
// is, its service or else its namespace.
func (i *Inspector) Client(of resource.Scope) bool {
	key := naming.ServiceKey{Namespace: of.Namespace, Name: of.Service}
	may, known := i.clients[key]
	if !known {
		may = i.allow(i.control.resource(key)) == nil
		i.clients[key] = may
	}
	return may
}

// Resource reports whether a resource may be seen: by the right to read its
// service, if it is of one.
func (i *Inspector) Resource(ref resource.Ref) bool {
	return i.reader.SeesResource(i.control.World(), ref)
}

// Service returns nil if the caller may inspect a service, or with an empty key
// the server as a whole, else the error of gRPC, which is told of.
func (i *Inspector) Service(ctx context.Context, key naming.ServiceKey) error {
	r := i.control.resource(key)
	if err := i.allow(r); err != nil {
		return i.control.refuse(ctx, i.Principal, auth.Inspect, r, err)
	}
	return nil
}
