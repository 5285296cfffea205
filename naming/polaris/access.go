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

// tokenHeader carries the token of those whose message has no field for it.
const tokenHeader = "x-polaris-token"

// request is what somebody asks for, what he shows for it, and who he is.
type request struct {
	method string // of the protocol, without its service
	action auth.Action
	shown  auth.Credentials
	by     auth.Principal // set by identify
}

// request reads what the call itself shows: a token in its header, and the
// client certificate. A door that lets everybody in does not look.
func (s *Server) request(ctx context.Context, method string, a auth.Action) *request {
	q := &request{method: method, action: a}
	if s.open {
		return q
	}
	if v := metadata.ValueFromIncomingContext(ctx, tokenHeader); len(v) > 0 {
		q.shown.Token = v[0]
	}
	if s.Identities != nil {
		q.shown.Identities = s.Identities(ctx)
	}
	return q
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

// identify is what every message asks first. A node that is not ready knows
// neither what is registered nor who may what: it must not say 400202 or
// 401001, on which SDKs register again or drop what they have.
func (s *Server) identify(ctx context.Context, q *request) error {
	if err := s.ready(); err != nil || s.open {
		return err
	}
	q.by = auth.Principal{} // a message is not by whom the one before it was
	p, err := s.Auth.Authenticate(ctx, auth.ClientAPI, q.shown)
	if err != nil {
		return s.refuse(ctx, q, auth.Resource{}, err)
	}
	q.by = p
	return nil
}

// allow asks whether somebody may do that to a service of a world.
func (s *Server) allow(ctx context.Context, q *request, w naming.World, key naming.ServiceKey) error {
	if s.open {
		return nil
	}
	r := resourceOf(w, key)
	if err := s.Auth.Allow(ctx, auth.ClientAPI, q.by, q.action, r); err != nil {
		return s.refuse(ctx, q, r, err)
	}
	return nil
}

// may is both.
func (s *Server) may(ctx context.Context, q *request, key naming.ServiceKey) error {
	if err := s.identify(ctx, q); err != nil {
		return err
	}
	return s.allow(ctx, q, s.World.World(), key)
}

// scope is what somebody may read of answers that span several services.
func (s *Server) scope(q *request) auth.Scope {
	if s.open {
		return auth.Scope{}
	}
	return s.Auth.Scope(auth.ClientAPI, q.by)
}

// resourceOf is a service as it is stored, with who created it and its
// namespace, as far as they exist.
func resourceOf(w naming.World, key naming.ServiceKey) auth.Resource {
	r := auth.Resource{Namespace: key.Namespace, Service: key.Name}
	if n := w.Namespace(key.Namespace); n != nil {
		r.NamespaceCreator = n.Creator
	}
	if st := w.Service(key); st != nil {
		r.ServiceCreator = st.Service.Creator
	}
	return r
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

var denials = map[auth.Reason]string{
	auth.NoCredentials: fieldCredentials,
	auth.BadToken:      fieldToken,
	auth.Expired:       fieldToken,
	auth.Disabled:      fieldDisabled,
	auth.Forbidden:     "",
}

// refuse tells of a refusal and turns it into an error of naming. Any other
// error lets nobody in either, but it is ours.
func (s *Server) refuse(ctx context.Context, q *request, r auth.Resource, err error) error {
	e, ok := errors.AsType[*auth.Error](err)
	if !ok {
		return err
	}
	if s.Refused != nil {
		s.Refused(auth.Refusal{
			Principal: q.by, Address: addressOf(ctx), Method: q.method, Action: q.action, Resource: r, Reason: e.Reason,
		})
	}
	return &naming.Error{Kind: naming.Denied, Field: denials[e.Reason], Msg: e.Msg}
}

// actorOf says who is calling, for the change log.
func actorOf(ctx context.Context, q *request) naming.Actor {
	a := naming.Actor{Principal: q.by.Name, Address: addressOf(ctx)}
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
