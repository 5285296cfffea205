package polaris

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"

	"polestar/auth"
	"polestar/naming"
)

var _ service_manage.PolarisServiceContractGRPCServer = (*Server)(nil)

// ReportServiceContract stores what a service says of its interfaces. The same
// contract again, as every start of the service sends it, changes nothing.
func (s *Server) ReportServiceContract(ctx context.Context, in *service_manage.ServiceContract) (*service_manage.Response, error) {
	c := contractOf(in)
	q := s.request(ctx, "ReportServiceContract", auth.Contract)
	err := s.may(ctx, q, c.Service)
	var res naming.Result
	if err == nil {
		if c.Body, err = contractBody(in); err == nil {
			res, err = s.Registry.ReportContract(ctx, c, actorOf(ctx, q))
		}
	}
	out := s.reply(ctx, q.method, err)
	out.ServiceContract = echoContract(in)
	if err == nil {
		stamp(out.ServiceContract, res.Contract)
	}
	return out, nil
}

// GetServiceContract answers a stored contract, by an alias too; 200001 without
// it when the request has its revision.
func (s *Server) GetServiceContract(ctx context.Context, in *service_manage.ServiceContract) (*service_manage.Response, error) {
	q := s.request(ctx, "GetServiceContract", auth.Discover)
	full, err := s.readContract(ctx, q, in)
	out := s.reply(ctx, q.method, err)
	out.ServiceContract = echoContract(in)
	if err == nil {
		showContract(in, full, out)
	}
	return out, nil
}

// showContract puts a contract into an answer unless the client has it.
func showContract(in, full *service_manage.ServiceContract, out *service_manage.Response) {
	if full.GetRevision() == in.GetRevision() {
		out.Code, out.Info = result(codeNoChange)
		out.ServiceContract.Revision = full.GetRevision()
		return
	}
	full.Namespace, full.Service = in.GetNamespace(), in.GetService() // as requested, an alias too
	out.ServiceContract = full
}

func (s *Server) readContract(ctx context.Context, q *request, in *service_manage.ServiceContract) (*service_manage.ServiceContract, error) {
	c := contractOf(in)
	if err := s.identify(ctx, q); err != nil {
		return nil, err
	}
	w := s.World.World()
	named := c.Service
	c.Service = source(w, named)
	if err := s.allow(ctx, q, w, c.Service); err != nil {
		return nil, s.discreet(q, w, named, c.Service, err)
	}
	stored := w.Contract(c.Service, c.ID())
	switch {
	case w.Service(c.Service) == nil:
		return nil, naming.Errorf(naming.NotFound, naming.FieldService, "service %q does not exist", c.Service)
	case stored == nil:
		return nil, naming.Errorf(naming.NotFound, naming.FieldContract,
			"service %q has no contract of type %q, protocol %q, version %q", c.Service, c.Type, c.Protocol, c.Version)
	}
	var out service_manage.ServiceContract
	if err := proto.Unmarshal(stored.Body, &out); err != nil {
		return nil, err
	}
	stamp(&out, stored)
	return &out, nil
}

// contractOf reads what identifies a contract. Old SDKs send its type as name.
func contractOf(in *service_manage.ServiceContract) naming.Contract {
	return naming.Contract{
		Service:  naming.ServiceKey{Namespace: in.GetNamespace(), Name: in.GetService()},
		Type:     cmp.Or(in.GetType(), in.GetName()),
		Protocol: in.GetProtocol(),
		Version:  in.GetVersion(),
	}
}

// contractBody encodes a contract whole, with the fields that this program does
// not know, but without those that the server fills. Equal contracts have equal
// bytes.
func contractBody(in *service_manage.ServiceContract) ([]byte, error) {
	c := proto.CloneOf(in)
	c.Id, c.Revision, c.Ctime, c.Mtime = "", "", "", ""
	return proto.MarshalOptions{Deterministic: true}.Marshal(c)
}

// stamp fills what the server knows of a contract. Its revision is a digest of
// the content.
func stamp(out *service_manage.ServiceContract, c *naming.Contract) {
	sum := sha256.Sum256(c.Body)
	out.Id, out.Revision = c.ID(), hex.EncodeToString(sum[:20])
	out.Ctime, out.Mtime = timeText(c.Created), timeText(c.Modified)
}

// echoContract is what names a contract in a request.
func echoContract(in *service_manage.ServiceContract) *service_manage.ServiceContract {
	return &service_manage.ServiceContract{
		Id: in.GetId(), Name: in.GetName(), Type: in.GetType(), Namespace: in.GetNamespace(), Service: in.GetService(),
		Protocol: in.GetProtocol(), Version: in.GetVersion(),
	}
}
