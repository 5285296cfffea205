package polaris

import (
	"context"
	"errors"
	"io"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"github.com/polarismesh/specification/source/go/api/v1/traffic_manage"
	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
)

// noRules is the revision of an empty set of rules: the SHA-1 of the empty
// text, as the reference answers it.
const noRules = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

// Discover answers each request of the stream with exactly one response, in
// order, and reads the next one only then: a client that does not read its
// answers is not read either. The server never speaks first: SDKs poll with the
// revision they hold.
func (s *Server) Discover(stream service_manage.PolarisGRPC_DiscoverServer) error {
	q := s.request(stream.Context(), methodDiscover, auth.Discover)
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.SendMsg(s.answer(stream.Context(), q.with(req.GetService().GetToken().GetValue()), req)); err != nil {
			return err
		}
	}
}

// answer makes one response. Whatever the outcome it repeats type, namespace,
// name and direction as requested: SDKs pair answers with requests by them.
func (s *Server) answer(ctx context.Context, q *request, req *service_manage.DiscoverRequest) *answer {
	out := &answer{
		typ: req.GetType(), direction: req.GetDirection(),
		namespace: req.GetService().GetNamespace().GetValue(), name: req.GetService().GetName().GetValue(),
	}
	err := s.identify(ctx, q)
	if err == nil {
		err = s.fill(ctx, q, req, out)
	}
	if err != nil {
		out.code, out.info = codeOf(err)
		out.revision, out.data = "", data{}
		if naming.KindOf(err) == naming.Internal {
			s.Log.Error("an answer could not be made", zap.Stringer("type", out.typ), zap.Stringer("service", keyOf(req)), zap.Error(err))
		}
	}
	return out
}

// keyOf is the service that a request is about: the one to authorise and the
// one to answer. Only for instances does an empty namespace stand for the
// default one.
func keyOf(req *service_manage.DiscoverRequest) naming.ServiceKey {
	key := naming.ServiceKey{
		Namespace: req.GetService().GetNamespace().GetValue(),
		Name:      req.GetService().GetName().GetValue(),
	}
	if key.Namespace == "" && req.GetType() == service_manage.DiscoverRequest_INSTANCE {
		key.Namespace = naming.DefaultNamespace
	}
	return key
}

// fill answers somebody who is known. The instances of a service need the right
// to discover it; lists show what somebody has this right for. What is the same
// for whatever service, and tells nothing of one, needs none: SDKs ask for the
// rules of services that they do not call, and probe without a service.
func (s *Server) fill(ctx context.Context, q *request, req *service_manage.DiscoverRequest, out *answer) error {
	key, has := keyOf(req), req.GetService().GetRevision().GetValue()
	switch req.GetType() {
	case service_manage.DiscoverRequest_INSTANCE:
		v, err := s.instancesOf(ctx, q, key, req.GetFilter().GetOnlyHealthyInstance())
		if err != nil {
			return err
		}
		return s.show(v, has, out)
	case service_manage.DiscoverRequest_SERVICES:
		return s.show(&services{s.World.World(), s.scope(q), key.Namespace, req.GetService().GetBusiness().GetValue()}, has, out)
	case service_manage.DiscoverRequest_NAMESPACES:
		return s.show(namespaces{s.World.World(), s.scope(q)}, has, out)
	case service_manage.DiscoverRequest_ROUTING:
		if out.changed(noRules, has) {
			return out.routing()
		}
	case service_manage.DiscoverRequest_RATE_LIMIT, service_manage.DiscoverRequest_CIRCUIT_BREAKER,
		service_manage.DiscoverRequest_FAULT_DETECTOR, service_manage.DiscoverRequest_NEARBY_ROUTE_RULE,
		service_manage.DiscoverRequest_LANE:
		// SDKs wait for an answer of the very type before they return any
		// instance: no rules is an answer, "unsupported" is not.
		out.changed(noRules, has)
	default:
		out.code, out.info = codeBadDiscover, texts[codeBadDiscover]
	}
	return nil
}

// changed sets code and revision, and reports whether the client needs data:
// not when it has this revision.
func (a *answer) changed(revision, has string) bool {
	a.code, a.revision = codeOK, revision
	if has == revision {
		a.code = codeNoChange
	}
	a.info = texts[a.code]
	return a.code == codeOK
}

// show answers with a view. Revision and data are those that somebody made
// before, if the content is still the same.
func (s *Server) show(v view, has string, out *answer) error {
	p := v.place()
	e := s.shelf.find(p, v.version())
	revision, err := e.revision.get(func() (string, error) { return v.revision(), nil })
	if err == nil && out.changed(revision, has) {
		out.data, err = s.shelf.encoded(p, e, v.encode)
	}
	return err
}

// routing is an answer without rules.
func (a *answer) routing() (err error) {
	a.data, err = dataOf(&service_manage.DiscoverResponse{Routing: &traffic_manage.Routing{
		Namespace: wrapperspb.String(a.namespace), Service: wrapperspb.String(a.name), Revision: wrapperspb.String(noRules),
	}})
	return err
}
