package polaris

import (
	"context"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
)

// RegisterInstance stores an instance and answers when it is durable and the
// next Discover shows it. The header async-regis, which polaris-java sends
// with every registration, changes nothing: an answer before the commit could
// be lost, and a group commit takes milliseconds.
func (s *Server) RegisterInstance(ctx context.Context, in *service_manage.Instance) (*service_manage.Response, error) {
	q := s.request(ctx, "RegisterInstance", auth.Register).with(in.GetServiceToken().GetValue())
	r := registrationOf(in)
	err := s.may(ctx, q, r.Service)
	if err == nil {
		ref := naming.Ref{Service: r.Service, VpcID: r.VpcID, Host: r.Host, Port: r.Port}
		if r.ID != "" {
			ref.ID = &r.ID
		}
		err = paceInstance(s.Instances, ref)
	}
	var res naming.Result
	if err == nil {
		r.Actor = actorOf(ctx, q)
		res, err = s.Registry.Register(ctx, r)
	}
	out := s.reply(ctx, q.method, err)
	out.Instance = echo(in)
	if err == nil {
		reveal(ctx, res.Revision)
		out.Instance = &service_manage.Instance{
			Id:        wrapperspb.String(res.Instance.ID),
			Service:   wrapperspb.String(res.Instance.Service.Name),
			Namespace: wrapperspb.String(res.Instance.Service.Namespace),
			VpcId:     wrapperspb.String(res.Instance.VpcID),
			Host:      wrapperspb.String(res.Instance.Host),
			Port:      wrapperspb.UInt32(res.Instance.Port),
		}
	}
	return out, nil
}

// DeregisterInstance removes an instance; removing what is not there answers
// 200000 (polaris-java needs that).
func (s *Server) DeregisterInstance(ctx context.Context, in *service_manage.Instance) (*service_manage.Response, error) {
	q := s.request(ctx, "DeregisterInstance", auth.Deregister).with(in.GetServiceToken().GetValue())
	ref, err := s.allowStored(ctx, q, refOf(in))
	if err == nil {
		var res naming.Result
		if res, err = s.Registry.Deregister(ctx, ref, actorOf(ctx, q)); err == nil {
			reveal(ctx, res.Revision)
		}
	}
	out := s.reply(ctx, q.method, err)
	out.Instance = echo(in)
	return out, nil
}

// Heartbeat renews the lease of an instance. 400202 on the first beat of an
// unknown one: SDKs register again on it.
func (s *Server) Heartbeat(ctx context.Context, in *service_manage.Instance) (*service_manage.Response, error) {
	q := s.request(ctx, "Heartbeat", auth.Heartbeat).with(in.GetServiceToken().GetValue())
	ref, err := s.allowStored(ctx, q, refOf(in))
	if err == nil {
		_, err = s.Registry.Heartbeat(ctx, ref)
	}
	out := s.reply(ctx, q.method, err)
	out.Instance = echo(in)
	return out, nil
}

// allowStored authorises on the instance as it is stored, and returns the
// reference bound to the service that was allowed.
func (s *Server) allowStored(ctx context.Context, q *request, ref naming.Ref) (naming.Ref, error) {
	if err := s.identify(ctx, q); err != nil {
		return ref, err
	}
	w, named := s.World.World(), ref.Service
	ref = stored(w, ref)
	if err := s.allow(ctx, q, w, ref.Service); err != nil {
		return ref, s.discreet(q, w, named, ref.Service, err)
	}
	return ref, paceInstance(s.Instances, ref)
}

// ReportClient records an SDK process and tells it where it runs. polaris-go
// sends no Discover before it got a good answer. The answer repeats the whole
// client, with a location on every success.
func (s *Server) ReportClient(ctx context.Context, in *service_manage.Client) (*service_manage.Response, error) {
	q := s.request(ctx, "ReportClient", auth.Report)
	err := s.may(ctx, q, naming.ServiceKey{})
	var c naming.Client
	if err == nil {
		c, err = s.Registry.ReportClient(ctx, clientOf(in), actorOf(ctx, q))
	}
	out := s.reply(ctx, q.method, err)
	out.Client = proto.CloneOf(in)
	out.Client.Location = nil
	if err == nil {
		out.Client.Location = protoLocation(c.Location)
	}
	if c.Revision > 0 {
		out.Client.Ctime, out.Client.Mtime = wrapperspb.String(timeText(c.Created)), wrapperspb.String(timeText(c.Modified))
	}
	return out, nil
}
