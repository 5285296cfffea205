package openapi

import (
	"context"
	"net/http"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris"
)

func instanceRoutes() []route {
	const at = "/naming/v1/instances"
	filters := []string{
		"id", "service", "namespace", "host", "port", "keys", "values", "protocol", "version", "health_status", "healthy", "isolate", "weight",
		"logic_set", "cmdb_region", "cmdb_zone", "cmdb_idc", "priority",
	}
	return []route{
		{method: http.MethodGet, path: at, action: auth.Read, answer: read(filters, findInstances)},
		{method: http.MethodGet, path: at + "/count", action: auth.Read, answer: read(filters, counted(findInstances))},
		{method: http.MethodGet, path: at + "/labels", action: auth.Read, answer: labels},
		{method: http.MethodPost, path: at, action: auth.Operate, answer: instancesAtOnce(createInstance)},
		{method: http.MethodPut, path: at, action: auth.Operate, answer: instancesAtOnce(updateInstance)},
		{method: http.MethodPost, path: at + "/delete", action: auth.Operate, answer: instancesAtOnce(deleteInstance)},
		{method: http.MethodPut, path: at + "/isolate/host", action: auth.Operate, answer: each(isolateHost)},
		{method: http.MethodPost, path: at + "/delete/host", action: auth.Operate, answer: each(deleteHost)},
	}
}

// of adds to an answer what names the instance of its request.
func of(in *service_manage.Instance, out *service_manage.Response) *service_manage.Response {
	out.Instance = polaris.EchoInstance(in)
	return out
}

// idOf is the id of the instance that a message is about; empty for one that is
// refused anyway.
func (c *call) idOf(in *service_manage.Instance) string {
	ref := polaris.RefOf(c.World.World(), in)
	id, err := ref.InstanceID()
	if err != nil {
		return ""
	}
	return id
}

// createInstance registers an instance as an SDK does; its service and its
// namespace are created, if the server does that.
func createInstance(ctx context.Context, c *call, in *service_manage.Instance) *service_manage.Response {
	r := polaris.RegistrationOf(in)
	err := c.may(ctx, auth.Operate, r.Service)
	var res naming.Result
	if err == nil {
		r.Actor = c.actor()
		res, err = c.Admin.Register(ctx, r)
	}
	out := of(in, c.done(naming.Created, err))
	if err == nil {
		out.Instance = &service_manage.Instance{
			Id: wrapperspb.String(res.Instance.ID), Namespace: wrapperspb.String(res.Instance.Service.Namespace),
			Service: wrapperspb.String(res.Instance.Service.Name), VpcId: wrapperspb.String(res.Instance.VpcID),
			Host: wrapperspb.String(res.Instance.Host), Port: wrapperspb.UInt32(res.Instance.Port),
		}
	}
	return out
}

// updateInstance changes what is there and differs.
func updateInstance(ctx context.Context, c *call, in *service_manage.Instance) *service_manage.Response {
	ref := polaris.RefOf(c.World.World(), in)
	mod := naming.Modify{Service: ref.Service, Actor: c.actor()}
	var err error
	if mod.ID, err = ref.InstanceID(); err == nil {
		err = c.may(ctx, auth.Operate, ref.Service)
	}
	res := naming.Result{Outcome: naming.Unchanged}
	if err == nil {
		now := c.World.World().Instance(mod.ID)
		if now == nil {
			err = naming.Errorf(naming.NotFound, "instance", "instance %q is not registered", mod.ID)
		} else {
			mod.Set, mod.Clear = difference(now, in)
			res, err = c.Admin.Modify(ctx, mod)
		}
	}
	return of(in, c.done(res.Outcome, err))
}

// difference is what a message would change of an instance. Consoles send all
// fields of what they edit: only those that differ from what is in force are an
// operator's wish, and one that is again what the client says is none.
func difference(now *naming.Instance, in *service_manage.Instance) (set naming.Setting, clr naming.Clear) {
	own, want := now.Own(), polaris.RegistrationOf(in)
	clr.Weight = wish(&set.Weight, want.Weight, now.Weight, own.Weight)
	clr.Healthy = wish(&set.Healthy, want.Healthy, now.Healthy, own.Healthy)
	clr.Isolated = wish(&set.Isolated, want.Isolated, now.Isolated, own.Isolated)
	set.Protocol, set.Version, set.LogicSet = text(in.GetProtocol()), text(in.GetVersion()), text(in.GetLogicSet())
	if in.GetPriority() != nil {
		set.Priority = &want.Priority
	}
	if l := in.GetLocation(); l != nil {
		set.Region, set.Zone, set.Campus = text(l.GetRegion()), text(l.GetZone()), text(l.GetCampus())
	}
	if in.GetMetadata() != nil {
		m := naming.NewMetadata(in.GetMetadata())
		set.Metadata = &m
	}
	var none uint32
	switch {
	case in.GetEnableHealthCheck() != nil && !in.GetEnableHealthCheck().GetValue():
		set.TTL = &none
	case want.HealthCheck:
		ttl := want.TTL
		if ttl == 0 {
			ttl = naming.DefaultTTL
		}
		set.TTL = &ttl
	}
	return set, clr
}

// wish sets a field that differs from what is in force; it reports instead
// whether the client's own value has to come back for that.
func wish[T comparable](at **T, want *T, now, own T) (clr bool) {
	switch {
	case want == nil || *want == now:
		return false
	case *want == own:
		return true
	default:
		*at = want
		return false
	}
}

// deleteInstance removes an instance; one that is not there is a success.
func deleteInstance(ctx context.Context, c *call, in *service_manage.Instance) *service_manage.Response {
	ref := polaris.RefOf(c.World.World(), in)
	id, err := ref.InstanceID()
	if err == nil {
		err = c.may(ctx, auth.Operate, ref.Service)
	}
	if err == nil {
		err = c.remove(ctx, id, ref.Service)
	}
	return of(in, c.done(naming.Deleted, err))
}

func (c *call) remove(ctx context.Context, id string, key naming.ServiceKey) error {
	_, err := c.Admin.Remove(ctx, naming.Deregister{ID: id, Service: key, Actor: c.actor(), Cause: naming.CauseOperator})
	return err
}

// place is the service, by an alias too, and host that a message names.
func (c *call) place(in *service_manage.Instance) naming.Place {
	w, p := c.World.World(), naming.Place{Host: in.GetHost().GetValue()}
	p.Service = naming.ServiceKey{Namespace: in.GetNamespace().GetValue(), Name: in.GetService().GetValue()}
	if st := naming.Resolve(w, p.Service); st != nil {
		p.Service = st.Service.Key
	}
	return p
}

// isolateHost takes all instances of a service on a host out of traffic, or
// back.
func isolateHost(ctx context.Context, c *call, in *service_manage.Instance) *service_manage.Response {
	at := c.place(in)
	err := c.may(ctx, auth.Operate, at.Service)
	var res naming.Result
	switch {
	case err != nil:
	case in.GetIsolate() == nil:
		err = errIsolate
	default:
		all := naming.ModifyAll{Actor: c.actor()}
		want := in.GetIsolate().GetValue()
		if !want && !c.isolatesItself(at) {
			all.Clear.Isolated = true
		} else {
			all.Set.Isolated = &want
		}
		res, err = c.Admin.ModifyHost(ctx, at, all)
		if naming.KindOf(err) == naming.NotFound {
			err = errNoneThere
		}
	}
	return of(in, c.done(res.Outcome, err))
}

// isolatesItself reports whether an instance at a place is isolated by its own
// wish: then an operator's must win over it to bring it back.
func (c *call) isolatesItself(at naming.Place) bool {
	for _, i := range c.at(at) {
		if i.Own().Isolated {
			return true
		}
	}
	return false
}

// at lists the instances at a place.
func (c *call) at(p naming.Place) (out []*naming.Instance) {
	if st := c.World.World().Service(p.Service); st != nil {
		for _, i := range st.Instances {
			if i.Host == p.Host {
				out = append(out, i)
			}
		}
	}
	return out
}

// deleteHost removes all instances of a service on a host.
func deleteHost(ctx context.Context, c *call, in *service_manage.Instance) *service_manage.Response {
	at := c.place(in)
	err := c.may(ctx, auth.Operate, at.Service)
	if err == nil && (at.Host == "" || at.Service.Name == "") {
		err = naming.Errorf(naming.Invalid, naming.FieldHost, "namespace, service, host: must not be empty")
	}
	if err == nil {
		for _, i := range c.at(at) {
			if err = c.remove(ctx, i.ID, at.Service); err != nil {
				break
			}
		}
	}
	return of(in, c.done(naming.Deleted, err))
}
