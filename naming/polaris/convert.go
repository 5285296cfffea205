package polaris

import (
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// registrationOf reads an Instance as a registration. Unset wrappers are nil;
// empty texts count as unset (polaris-go sends empty wrappers).
func registrationOf(in *service_manage.Instance) naming.Registration {
	r := naming.Registration{
		ID:          in.GetId().GetValue(),
		Service:     naming.ServiceKey{Namespace: in.GetNamespace().GetValue(), Name: in.GetService().GetValue()},
		Host:        in.GetHost().GetValue(),
		VpcID:       in.GetVpcId().GetValue(),
		Protocol:    in.GetProtocol().GetValue(),
		Version:     in.GetVersion().GetValue(),
		LogicSet:    in.GetLogicSet().GetValue(),
		Priority:    in.GetPriority().GetValue(),
		Location:    locationOf(in.GetLocation()),
		Metadata:    in.GetMetadata(),
		HealthCheck: in.GetHealthCheck().GetHeartbeat() != nil,
		TTL:         in.GetHealthCheck().GetHeartbeat().GetTtl().GetValue(),
		Port:        number(in.GetPort()),
		Weight:      number(in.GetWeight()),
		Healthy:     flag(in.GetHealthy()),
		Isolated:    flag(in.GetIsolate()),
	}
	if on := flag(in.GetEnableHealthCheck()); on != nil && !*on {
		r.HealthCheck = false
	}
	return r
}

// refOf reads an Instance as a reference: by id when the field is present,
// else by place.
func refOf(in *service_manage.Instance) naming.Ref {
	r := naming.Ref{
		Service: naming.ServiceKey{Namespace: in.GetNamespace().GetValue(), Name: in.GetService().GetValue()},
		Host:    in.GetHost().GetValue(),
		VpcID:   in.GetVpcId().GetValue(),
		Port:    number(in.GetPort()),
	}
	if id := in.GetId(); id != nil && (id.GetValue() != "" || r.Host == "") {
		v := id.GetValue()
		r.ID = &v
	}
	return r
}

func clientOf(in *service_manage.Client) naming.Client {
	c := naming.Client{
		ID:       in.GetId().GetValue(),
		Host:     in.GetHost().GetValue(),
		Type:     in.GetType().String(),
		Version:  in.GetVersion().GetValue(),
		Location: locationOf(in.GetLocation()),
	}
	for _, st := range in.GetStat() {
		c.Stats = append(c.Stats, naming.ClientStat{
			Target: st.GetTarget().GetValue(), Port: st.GetPort().GetValue(), Path: st.GetPath().GetValue(), Protocol: st.GetProtocol().GetValue(),
		})
	}
	return c
}

func number(v *wrapperspb.UInt32Value) *uint32 {
	if v == nil {
		return nil
	}
	n := v.GetValue()
	return &n
}

func flag(v *wrapperspb.BoolValue) *bool {
	if v == nil {
		return nil
	}
	b := v.GetValue()
	return &b
}

func locationOf(l *model.Location) naming.Location {
	return naming.Location{
		Region: l.GetRegion().GetValue(), Zone: l.GetZone().GetValue(), Campus: l.GetCampus().GetValue(),
	}
}

func protoLocation(l naming.Location) *model.Location {
	return &model.Location{
		Region: wrapperspb.String(l.Region), Zone: wrapperspb.String(l.Zone), Campus: wrapperspb.String(l.Campus),
	}
}

// echo is the part of a request's instance that an answer repeats: what names
// it, never its token.
func echo(in *service_manage.Instance) *service_manage.Instance {
	return &service_manage.Instance{
		Id: in.GetId(), Namespace: in.GetNamespace(), Service: in.GetService(),
		VpcId: in.GetVpcId(), Host: in.GetHost(), Port: in.GetPort(),
	}
}

// protoService is a service as Discover shows it, without its revision.
func protoService(s *naming.Service) *service_manage.Service {
	out := &service_manage.Service{
		Id:         wrapperspb.String(s.ID),
		Name:       wrapperspb.String(s.Key.Name),
		Namespace:  wrapperspb.String(s.Key.Namespace),
		Metadata:   s.Metadata.Map(),
		Ports:      wrapperspb.String(s.Ports),
		Business:   wrapperspb.String(s.Business),
		Department: wrapperspb.String(s.Department),
		CmdbMod1:   wrapperspb.String(s.Cmdb[0]),
		CmdbMod2:   wrapperspb.String(s.Cmdb[1]),
		CmdbMod3:   wrapperspb.String(s.Cmdb[2]),
		Comment:    wrapperspb.String(s.Comment),
		Owners:     wrapperspb.String(s.Owner),
		Ctime:      wrapperspb.String(timeText(s.Created)),
		Mtime:      wrapperspb.String(timeText(s.Modified)),
	}
	for _, ns := range s.ExportTo {
		out.ExportTo = append(out.ExportTo, wrapperspb.String(ns))
	}
	return out
}

// timeText is Polaris' form of a time: local, to the second.
func timeText(t naming.Micros) string {
	return time.UnixMicro(int64(t)).Format(time.DateTime)
}
