package receipt

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"polestar/naming"
	"polestar/proto/adminpb"
)

// Register adds the service polestar.admin.v1.ReceiptService to a gRPC server.
func (d *Desk) Register(r grpc.ServiceRegistrar) {
	adminpb.RegisterReceiptServiceServer(r, &door{desk: d})
}

// door is the gRPC form of a desk.
type door struct {
	adminpb.UnimplementedReceiptServiceServer
	desk *Desk
}

// Wait implements adminpb.ReceiptServiceServer.
func (s *door) Wait(ctx context.Context, in *adminpb.WaitRequest) (*adminpb.WaitResponse, error) {
	r := Request{
		Revision: in.GetRevision(), Clients: in.GetClients(),
		Service: naming.ServiceKey{Namespace: in.GetNamespace(), Name: in.GetService()},
	}
	if r.Service.Namespace == "" && r.Service.Name != "" {
		r.Service.Namespace = naming.DefaultNamespace
	}
	if t := in.GetTimeout(); t != nil {
		if err := t.CheckValid(); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "timeout: %s", err)
		}
		r.Timeout = t.AsDuration()
	}
	caller, err := s.desk.Access.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	if err = caller.Service(ctx, r.Service); err != nil {
		return nil, err
	}
	r.Shown = caller
	got, err := s.desk.Wait(ctx, r)
	if err != nil {
		return nil, status.Error(codeOf(ctx, err), err.Error())
	}
	// A wait may be long: what was allowed at its beginning may not be any more.
	if caller, err = s.desk.Access.Inspect(ctx); err == nil {
		err = caller.Service(ctx, r.Service)
	}
	if err != nil {
		return nil, err
	}
	out := &adminpb.WaitResponse{
		Revision: got.Revision, Published: got.Published, Converged: got.Converged,
		Clients: uint64(got.Clients), More: uint64(got.More + got.Hidden),
	}
	for _, l := range got.Laggards {
		m := &adminpb.Laggard{
			Stream: l.Stream, Node: l.Node, Type: l.Type, Resource: l.Resource, State: l.State,
			Has: l.Has, Wants: l.Wants, Reason: l.Reason,
		}
		if !l.Since.IsZero() {
			m.Since = timestamppb.New(l.Since)
		}
		out.Laggards = append(out.Laggards, m)
	}
	return out, nil
}

func codeOf(ctx context.Context, err error) codes.Code {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Code()
	}
	switch naming.KindOf(err) {
	case naming.Invalid:
		return codes.InvalidArgument
	case naming.Overloaded:
		return codes.ResourceExhausted
	case naming.NotReady:
		return codes.Unavailable
	default:
		return codes.Internal
	}
}
