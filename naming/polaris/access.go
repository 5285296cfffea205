package polaris

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"polestar/auth"
	"polestar/naming"
)

// methodDiscover is the only method of this door that is a stream.
const methodDiscover = "Discover"

// tokenHeader carries the token of those whose message has no field for it.
const tokenHeader = "x-polaris-token"

// access is what doors ask about those who call.
type access struct {
	gate       auth.Gate
	open       bool                               // nobody is asked who he is
	identities func(ctx context.Context) []string // nil: certificates are not looked at
	refused    func(auth.Refusal)                 // nil: nobody is told
}

func newAccess(gate auth.Gate, identities func(context.Context) []string, refused func(auth.Refusal)) *access {
	_, open := gate.(auth.Open)
	return &access{gate: gate, open: open, identities: identities, refused: refused}
}

// request is what somebody asks for, what he shows for it, and who he is.
type request struct {
	method string // of the protocol, without its service
	action auth.Action
	shown  auth.Credentials
	by     auth.Principal // set by identify
}

// request reads what the call itself shows: a token in its header, and the
// client certificate. A door that lets everybody in does not look.
func (a *access) request(ctx context.Context, method string, action auth.Action) *request {
	q := &request{method: method, action: action}
	if !a.open {
		q.shown = a.shown(ctx)
	}
	return q
}

func (a *access) shown(ctx context.Context) (c auth.Credentials) {
	if v := metadata.ValueFromIncomingContext(ctx, tokenHeader); len(v) > 0 {
		c.Token = v[0]
	}
	if a.identities != nil {
		c.Identities = a.identities(ctx)
	}
	return c
}

// with is the request with the token of a message, which wins over that of the
// call. It is nothing but this message's.
func (q *request) with(token string) *request {
	if token == "" {
		return q
	}
	own := *q
	own.shown.Token = token
	return &own
}

// authenticate finds out who sent a message.
func (a *access) authenticate(ctx context.Context, q *request) error {
	q.by = auth.Principal{} // not by whom the message before it was
	if a.open {
		return nil
	}
	p, err := a.gate.Authenticate(ctx, auth.ClientAPI, q.shown)
	if err != nil {
		return a.refuse(ctx, q, auth.Resource{}, err)
	}
	q.by = p
	return nil
}

// allow asks whether somebody may do that to a service of a world.
func (a *access) allow(ctx context.Context, q *request, w naming.World, key naming.ServiceKey) error {
	if a.open {
		return nil
	}
	r := auth.ResourceOf(w, key)
	if err := a.gate.Allow(ctx, auth.ClientAPI, q.by, q.action, r); err != nil {
		return a.refuse(ctx, q, r, err)
	}
	return nil
}

// scope is what somebody may read of answers that span several services.
func (a *access) scope(q *request) auth.Scope {
	if a.open {
		return auth.Scope{}
	}
	return a.gate.Scope(auth.ClientAPI, q.by)
}

// discreet is a refusal that does not name a service which the sender did not
// name and may not discover: that of an instance whose id, or alias, he knows.
func (a *access) discreet(q *request, w naming.World, named, found naming.ServiceKey, err error) error {
	st := w.Service(found)
	e, ok := errors.AsType[*naming.Error](err)
	if !ok || found == named || st == nil || sees(a.scope(q), w, st.Service) {
		return err
	}
	return &naming.Error{Kind: e.Kind, Field: e.Field, Msg: "not to " + string(q.action) + " what this name or id stands for"}
}

// stored binds a reference to the service that is to be allowed: that of the
// stored instance, for the names beside an id prove nothing. A place may be
// named by an alias: the instance is the source's.
func stored(w naming.World, ref naming.Ref) naming.Ref {
	if ref.ID == nil {
		ref.Service = source(w, ref.Service)
	} else if i := w.Instance(*ref.ID); i != nil {
		ref.Service = i.Service
	}
	return ref
}

// sees reports whether a service of a world is in a scope.
func sees(scope auth.Scope, w naming.World, svc *naming.Service) bool {
	return scope.See == nil || scope.See(w.Namespace(svc.Key.Namespace), svc)
}

// The fields of [naming.Denied] errors, which tell the codes of refusals apart.
const (
	fieldCredentials = "credentials"
	fieldToken       = "token"
	fieldDisabled    = "disabled"
)

// fieldPeer of a [naming.Overloaded] error: an address asks too often.
const fieldPeer = "peer"

var denials = map[auth.Reason]string{
	auth.NoCredentials: fieldCredentials,
	auth.BadToken:      fieldToken,
	auth.Expired:       fieldToken,
	auth.Disabled:      fieldDisabled,
	auth.Forbidden:     "",
}

// refuse tells of a refusal and turns it into an error of naming. Any other
// error lets nobody in either, but it is ours.
func (a *access) refuse(ctx context.Context, q *request, r auth.Resource, err error) error {
	e, ok := errors.AsType[*auth.Error](err)
	if !ok {
		return err
	}
	if a.refused != nil {
		a.refused(auth.Refusal{
			Principal: q.by, Address: addressOf(ctx), Method: q.method, Action: q.action, Resource: r, Reason: e.Reason,
		})
	}
	return &naming.Error{Kind: naming.Denied, Field: denials[e.Reason], Msg: e.Msg}
}

// actorOf says who is calling, for the change log.
func actorOf(ctx context.Context, q *request) naming.Actor {
	a := naming.Actor{Principal: q.by.Name, ID: q.by.ID, Address: addressOf(ctx)}
	if v := metadata.ValueFromIncomingContext(ctx, "user-agent"); len(v) > 0 {
		a.Agent = plain(v[0])
	}
	return a
}

// addressOf is the ip of the peer, empty when it has none.
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
