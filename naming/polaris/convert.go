package polaris

import (
	"strconv"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// registrationOf reads an Instance as a registration. Unset wrappers are nil;
// empty texts count as unset (polaris-go sends empty wrappers).
func registrationOf(in *service_manage.Instance, actor naming.Actor) naming.Registration {
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
		Actor:       actor,
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

// protoInstance is an instance as Discover shows it. Like the reference it
// adds version, protocol and location to the metadata: SDK routing rules match
// on them.
func protoInstance(i *naming.Instance) *service_manage.Instance {
	out := &service_manage.Instance{
		Id:                wrapperspb.String(i.ID),
		Service:           wrapperspb.String(i.Service.Name),
		Namespace:         wrapperspb.String(i.Service.Namespace),
		VpcId:             wrapperspb.String(i.VpcID),
		Host:              wrapperspb.String(i.Host),
		Port:              wrapperspb.UInt32(i.Port),
		Protocol:          wrapperspb.String(i.Protocol),
		Version:           wrapperspb.String(i.Version),
		Priority:          wrapperspb.UInt32(i.Priority),
		Weight:            wrapperspb.UInt32(i.Weight),
		Healthy:           wrapperspb.Bool(i.Healthy),
		Isolate:           wrapperspb.Bool(i.Isolated),
		EnableHealthCheck: wrapperspb.Bool(i.TTL > 0),
		Location:          protoLocation(i.Location),
		LogicSet:          wrapperspb.String(i.LogicSet),
		Metadata:          shownMetadata(i),
		Ctime:             wrapperspb.String(timeText(i.Created)),
		Mtime:             wrapperspb.String(timeText(i.Modified)),
		Revision:          wrapperspb.String(strconv.FormatUint(uint64(i.Revision), 16)),
	}
	if i.TTL > 0 {
		out.HealthCheck = &service_manage.HealthCheck{
			Type:      service_manage.HealthCheck_HEARTBEAT,
			Heartbeat: &service_manage.HeartbeatHealthCheck{Ttl: wrapperspb.UInt32(i.TTL)},
		}
	}
	return out
}

func shownMetadata(i *naming.Instance) map[string]string {
	m := i.Metadata.Map()
	for _, p := range [...]naming.Pair{
		{Key: "version", Value: i.Version},
		{Key: "protocol", Value: i.Protocol},
		{Key: "region", Value: i.Location.Region},
		{Key: "zone", Value: i.Location.Zone},
		{Key: "campus", Value: i.Location.Campus},
	} {
		if p.Value != "" {
			m[p.Key] = p.Value
		}
	}
	return m
}

func protoService(s *naming.Service, revision string) *service_manage.Service {
	return &service_manage.Service{
		Id:         wrapperspb.String(s.ID),
		Name:       wrapperspb.String(s.Key.Name),
		Namespace:  wrapperspb.String(s.Key.Namespace),
		Metadata:   s.Metadata.Map(),
		Ports:      wrapperspb.String(s.Ports),
		Business:   wrapperspb.String(s.Business),
		Department: wrapperspb.String(s.Department),
		Comment:    wrapperspb.String(s.Comment),
		Owners:     wrapperspb.String(s.Owner),
		Ctime:      wrapperspb.String(timeText(s.Created)),
		Mtime:      wrapperspb.String(timeText(s.Modified)),
		Revision:   wrapperspb.String(revision),
	}
}

// timeText is Polaris' form of a time: local, to the second.
func timeText(t naming.Micros) string {
	return time.UnixMicro(int64(t)).Format(time.DateTime)
}
