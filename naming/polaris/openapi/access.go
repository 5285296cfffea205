package openapi

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"polestar/auth"
	"polestar/internal/tlsfiles"
	"polestar/naming"
	"polestar/naming/polaris"
)

// token is what a request shows: a bearer token, or one in Polaris' headers.
func token(r *http.Request) string {
	if kind, text, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(kind, "Bearer") {
		return strings.TrimSpace(text)
	}
	return cmp.Or(r.Header.Get("X-Polaris-Token"), r.Header.Get("Polaris-Token"))
}

// identify finds out who is calling. A node that is not ready does not know.
func (c *call) identify(ctx context.Context) (err error) {
	if !c.Ready() {
		return naming.Errorf(naming.NotReady, "", "this server is still loading; ask again")
	}
	if c.route.open {
		return nil
	}
	shown := auth.Credentials{Token: token(c.r), Identities: tlsfiles.Verified(c.r.TLS)}
	if c.by, err = c.Auth.Authenticate(ctx, auth.ConsoleAPI, shown); err != nil {
		return c.refuse(c.route.action, auth.Resource{}, err)
	}
	return nil
}

// may asks whether the caller may do something to what is at key, as it is
// stored.
func (c *call) may(ctx context.Context, a auth.Action, key naming.ServiceKey) error {
	on := polaris.ResourceOf(c.World.World(), key)
	if err := c.Auth.Allow(ctx, auth.ConsoleAPI, c.by, a, on); err != nil {
		return c.refuse(a, on, err)
	}
	return nil
}

// refuse tells of a refusal and turns it into an error with a code.
func (c *call) refuse(a auth.Action, on auth.Resource, err error) error {
	if e, ok := errors.AsType[*auth.Error](err); ok {
		c.Refused(auth.Refusal{
			Principal: c.by, Address: c.actor().Address, Method: c.route.method + " " + c.route.path, Action: a, Resource: on, Reason: e.Reason,
		})
	}
	return polaris.Denial(err)
}

// actor says who is calling, for the change log.
func (c *call) actor() naming.Actor {
	a := naming.Actor{Principal: c.by.Name, ID: c.by.ID, Agent: polaris.Plain(c.r.UserAgent())}
	if host, _, err := net.SplitHostPort(c.r.RemoteAddr); err == nil {
		a.Address = host
	}
	return a
}

// view is the world as far as the caller may read it.
type view struct {
	naming.World
	scope auth.Scope
}

func (c *call) view() view {
	return view{c.World.World(), c.Auth.Scope(auth.ConsoleAPI, c.by)}
}

func (v view) sees(s *naming.Service) bool { return v.scope.Sees(v.Namespace(s.Key.Namespace), s) }
