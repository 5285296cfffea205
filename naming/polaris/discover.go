package polaris

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"github.com/polarismesh/specification/source/go/api/v1/traffic_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
)

// noRules is the revision of an empty set of rules: the SHA-1 of the empty
// text, as the reference answers it.
const noRules = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

// Discover answers each request of the stream with exactly one response, in
// order. The server never speaks first: SDKs poll with the revision they hold.
func (s *Server) Discover(stream service_manage.PolarisGRPC_DiscoverServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(s.answer(stream.Context(), req)); err != nil {
			return err
		}
	}
}

// answer makes one response. Whatever the outcome it repeats type, namespace,
// name and direction as requested: SDKs pair answers with requests by them.
func (s *Server) answer(ctx context.Context, req *service_manage.DiscoverRequest) *service_manage.DiscoverResponse {
	asked := req.GetService()
	out := &service_manage.DiscoverResponse{
		Type: service_manage.DiscoverResponse_DiscoverResponseType(req.GetType()),
		Service: &service_manage.Service{
			Namespace: wrapperspb.String(asked.GetNamespace().GetValue()),
			Name:      wrapperspb.String(asked.GetName().GetValue()),
		},
		Direction: req.GetDirection(),
	}
	key := keyOf(req)
	if err := s.may(ctx, auth.Discover, key); err != nil {
		setError(out, err)
		return out
	}
	s.fill(req, out)
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

func (s *Server) fill(req *service_manage.DiscoverRequest, out *service_manage.DiscoverResponse) {
	switch req.GetType() {
	case service_manage.DiscoverRequest_INSTANCE:
		s.fillInstances(req, out)
	case service_manage.DiscoverRequest_SERVICES:
		s.fillServices(req, out)
	case service_manage.DiscoverRequest_NAMESPACES:
		s.fillNamespaces(req, out)
	case service_manage.DiscoverRequest_ROUTING:
		if !unchanged(req, out, noRules) {
			out.Routing = &traffic_manage.Routing{
				Namespace: out.Service.Namespace, Service: out.Service.Name, Revision: wrapperspb.String(noRules),
			}
		}
	case service_manage.DiscoverRequest_RATE_LIMIT, service_manage.DiscoverRequest_CIRCUIT_BREAKER,
		service_manage.DiscoverRequest_FAULT_DETECTOR, service_manage.DiscoverRequest_NEARBY_ROUTE_RULE,
		service_manage.DiscoverRequest_LANE:
		// SDKs wait for an answer of the very type before they return any
		// instance: no rules is an answer, "unsupported" is not.
		unchanged(req, out, noRules)
	default:
		setCode(out, codeBadDiscover, texts[codeBadDiscover])
	}
}

func setCode(out *service_manage.DiscoverResponse, code uint32, info string) {
	out.Code, out.Info = wrapperspb.UInt32(code), wrapperspb.String(info)
}

func setError(out *service_manage.DiscoverResponse, err error) {
	code, info := codeOf(err)
	setCode(out, code, info)
}

// unchanged sets code and revision, and reports whether the client has this
// revision already, so that no data is needed.
func unchanged(req *service_manage.DiscoverRequest, out *service_manage.DiscoverResponse, revision string) bool {
	out.Service.Revision = wrapperspb.String(revision)
	if req.GetService().GetRevision().GetValue() == revision {
		setCode(out, codeNoChange, texts[codeNoChange])
		return true
	}
	setCode(out, codeOK, texts[codeOK])
	return false
}

func (s *Server) fillInstances(req *service_manage.DiscoverRequest, out *service_manage.DiscoverResponse) {
	key := keyOf(req)
	if key.Name == "" {
		setError(out, naming.Errorf(naming.Invalid, naming.FieldService, "service: must not be empty"))
		return
	}
	st := s.World.World().Service(key)
	if st == nil {
		setError(out, naming.Errorf(naming.NotFound, "", "service %q does not exist", key))
		return
	}
	revision := st.Digest().String()
	if req.GetFilter().GetOnlyHealthyInstance() {
		revision += "-healthy" // another view of the same content has another revision
	}
	if unchanged(req, out, revision) {
		return
	}
	out.Service = protoService(st.Service, revision)
	out.Service.Namespace = wrapperspb.String(req.GetService().GetNamespace().GetValue())
	out.AliasFor = &service_manage.Service{
		Namespace: wrapperspb.String(key.Namespace), Name: wrapperspb.String(key.Name),
	}
	out.Instances = make([]*service_manage.Instance, 0, len(st.Instances))
	for _, i := range st.Instances {
		if i.Healthy || !req.GetFilter().GetOnlyHealthyInstance() {
			out.Instances = append(out.Instances, protoInstance(i))
		}
	}
}

func (s *Server) fillServices(req *service_manage.DiscoverRequest, out *service_manage.DiscoverResponse) {
	business := req.GetService().GetBusiness().GetValue()
	var list []*service_manage.Service
	sum := sha256.New()
	for st := range s.World.World().Services(req.GetService().GetNamespace().GetValue()) {
		if business != "" && st.Service.Business != business {
			continue
		}
		revision := st.Service.Digest().String() // instances have a revision of their own
		_, _ = io.WriteString(sum, revision)
		list = append(list, &service_manage.Service{
			Namespace: wrapperspb.String(st.Service.Key.Namespace),
			Name:      wrapperspb.String(st.Service.Key.Name),
			Metadata:  st.Service.Metadata.Map(),
			Business:  wrapperspb.String(st.Service.Business),
			Revision:  wrapperspb.String(revision),
		})
	}
	if !unchanged(req, out, hex.EncodeToString(sum.Sum(nil)[:20])) {
		out.Services = list
	}
}

func (s *Server) fillNamespaces(req *service_manage.DiscoverRequest, out *service_manage.DiscoverResponse) {
	var list []*model.Namespace
	sum := sha256.New()
	for n := range s.World.World().Namespaces() {
		_, _ = io.WriteString(sum, n.Name+"\x00"+n.Comment+"\x00"+n.Owner+"\x00")
		list = append(list, &model.Namespace{
			Name:    wrapperspb.String(n.Name),
			Comment: wrapperspb.String(n.Comment),
			Owners:  wrapperspb.String(n.Owner),
			Ctime:   wrapperspb.String(timeText(n.Created)),
			Mtime:   wrapperspb.String(timeText(n.Modified)),
		})
	}
	if !unchanged(req, out, hex.EncodeToString(sum.Sum(nil)[:20])) {
		out.Namespaces = list
	}
}
