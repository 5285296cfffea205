package openapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris"
)

// maxNames bounds the list of all services by name.
const maxNames = 10_000

func serviceRoutes() []route {
	const at = "/naming/v1/services"
	filters := []string{
		"name", "namespace", "business", "department", "cmdb_mod1", "cmdb_mod2", "cmdb_mod3", "owner", "host", "port", "keys", "values",
		"instance_keys", "instance_values", "platform_id", "only_exist_health_instance",
	}
	return []route{
		{method: http.MethodGet, path: at, action: auth.Read, answer: read(filters, findServices)},
		{method: http.MethodGet, path: at + "/all", action: auth.Read, answer: read([]string{"namespace", "business"}, nameServices)},
		{method: http.MethodGet, path: at + "/count", action: auth.Read, answer: read(filters, counted(findServices))},
		{method: http.MethodPost, path: at, action: auth.Write, answer: each(putService(naming.Create))},
		{method: http.MethodPut, path: at, action: auth.Write, answer: each(putService(naming.Update))},
		{method: http.MethodPost, path: at + "/delete", action: auth.Write, answer: each(deleteService)},
	}
}

func putService(mode naming.Mode) func(context.Context, *call, *service_manage.Service) *service_manage.Response {
	return func(ctx context.Context, c *call, in *service_manage.Service) *service_manage.Response {
		put := naming.PutService{
			Key:  naming.ServiceKey{Namespace: in.GetNamespace().GetValue(), Name: in.GetName().GetValue()},
			Mode: mode, Ports: text(in.GetPorts()), Business: text(in.GetBusiness()), Department: text(in.GetDepartment()),
			Comment: text(in.GetComment()), Owner: owner(mode, in.GetOwners()), ExportTo: list(in.GetExportTo()), Actor: c.actor(),
		}
		if in.GetMetadata() != nil {
			m := naming.NewMetadata(in.GetMetadata())
			put.Metadata = &m
		}
		err := unlinked(in)
		if err == nil && in.GetPlatformId().GetValue() != "" {
			err = invalid("platform_id: there are no platforms here")
		}
		if err == nil {
			err = c.may(ctx, auth.Write, put.Key)
		}
		var res naming.Result
		if err == nil {
			put.Cmdb = cmdb(c.World.World(), put.Key, in)
			res, err = c.Admin.PutService(ctx, put)
		}
		out := c.done(res.Outcome, err)
		out.Service = echoService(in)
		if err == nil {
			out.Service = polaris.ServiceForm(res.Service)
		}
		return out
	}
}

// cmdb is what a write says of the three fields, each of which may be left out;
// nil: of none of them.
func cmdb(w naming.World, key naming.ServiceKey, in *service_manage.Service) *[3]string {
	sent := []*wrapperspb.StringValue{in.GetCmdbMod1(), in.GetCmdbMod2(), in.GetCmdbMod3()}
	if !slices.ContainsFunc(sent, func(v *wrapperspb.StringValue) bool { return v != nil }) {
		return nil
	}
	var out [3]string
	if st := w.Service(key); st != nil {
		out = st.Service.Cmdb
	}
	for n, v := range sent {
		if v != nil {
			out[n] = v.GetValue()
		}
	}
	return &out
}

func deleteService(ctx context.Context, c *call, in *service_manage.Service) *service_manage.Response {
	key := naming.ServiceKey{Namespace: in.GetNamespace().GetValue(), Name: in.GetName().GetValue()}
	err := c.may(ctx, auth.Write, key)
	if err == nil {
		_, err = c.Admin.DeleteService(ctx, naming.DeleteService{Key: key, Actor: c.actor(), Cause: naming.CauseOperator})
	}
	out := c.done(naming.Deleted, err)
	out.Service = echoService(in)
	return out
}

// echoService is what names the service of a request, never its token.
func echoService(in *service_manage.Service) *service_manage.Service {
	return &service_manage.Service{Namespace: in.GetNamespace(), Name: in.GetName()}
}

// services walks those that the caller sees, aliases too, and that two filters
// by name let pass.
func (v view) services(q *query, namespace, name string) func(func(*naming.ServiceState) bool) {
	return func(yield func(*naming.ServiceState) bool) {
		if key, one := q.exact(namespace, name); one { // one look-up instead of a walk
			if st := v.Service(key); st != nil && v.sees(st.Service) {
				yield(st)
			}
			return
		}
		within := q.values[namespace]
		if strings.HasSuffix(within, "*") {
			within = ""
		}
		for st := range v.Services(within) {
			key := st.Service.Key
			if q.text(namespace, key.Namespace) && q.text(name, key.Name) && v.sees(st.Service) && !yield(st) {
				return
			}
		}
	}
}

func findServices(c *call, q *query) (*service_manage.BatchQueryResponse, error) {
	fits, err := serviceFilter(q)
	if err != nil {
		return nil, err
	}
	v, found := c.view(), page[*naming.ServiceState]{q: q}
	for st := range v.services(q, "namespace", "name") {
		if !st.Service.IsAlias() && fits(st) {
			found.add(st)
		}
	}
	out := found.answer()
	for _, st := range found.items {
		out.Services = append(out.Services, serviceForm(st))
	}
	return out, nil
}

// serviceFilter is what a query says of services besides their names.
func serviceFilter(q *query) (func(*naming.ServiceState) bool, error) {
	own, err := q.pairs("keys", "values")
	if err != nil {
		return nil, err
	}
	of, err := q.pairs("instance_keys", "instance_values")
	if err != nil {
		return nil, err
	}
	port, err := q.count("port")
	if err != nil {
		return nil, err
	}
	alive, err := q.flag("only_exist_health_instance")
	if err != nil {
		return nil, err
	}
	_, host := q.values["host"]
	wantsOne := host || port != nil || len(of.keys) > 0
	return func(st *naming.ServiceState) bool {
		s := st.Service
		return q.text("business", s.Business) && q.text("department", s.Department) && q.text("owner", s.Owner) && q.text("platform_id", "") &&
			q.text("cmdb_mod1", s.Cmdb[0]) && q.text("cmdb_mod2", s.Cmdb[1]) && q.text("cmdb_mod3", s.Cmdb[2]) && own.in(s.Metadata) &&
			(alive == nil || !*alive || summed(st).healthy > 0) &&
			(!wantsOne || slices.ContainsFunc(st.Instances, func(i *naming.Instance) bool {
				return q.text("host", i.Host) && (port == nil || *port == int(i.Port)) && of.in(i.Metadata)
			}))
	}, nil
}

// sums are numbers of instances. One that is isolated is not healthy: it gets
// no traffic.
type sums struct{ total, healthy, isolated uint32 }

func summed(st *naming.ServiceState) sums {
	out := sums{total: uint32(len(st.Instances))}
	for _, i := range st.Instances {
		switch {
		case i.Isolated:
			out.isolated++
		case i.Healthy:
			out.healthy++
		}
	}
	return out
}

// serviceForm is a service as the console shows it.
func serviceForm(st *naming.ServiceState) *service_manage.Service {
	out, n := polaris.ServiceForm(st.Service), summed(st)
	out.TotalInstanceCount, out.HealthyInstanceCount = wrapperspb.UInt32(n.total), wrapperspb.UInt32(n.healthy)
	out.IsolateInstanceCount = wrapperspb.UInt32(n.isolated)
	out.Editable, out.Deleteable = wrapperspb.Bool(true), wrapperspb.Bool(true) // who may not is told when he tries
	return out
}

// nameServices lists services by name alone, for menus: all of them, as far as
// that is bounded.
func nameServices(c *call, q *query) (*service_manage.BatchQueryResponse, error) {
	q.limit = maxNames
	v, found := c.view(), page[*naming.Service]{q: q}
	for st := range v.services(q, "namespace", "name") {
		if !st.Service.IsAlias() && q.text("business", st.Service.Business) {
			found.add(st.Service)
		}
	}
	out := found.answer()
	for _, s := range found.items {
		out.Services = append(out.Services, &service_manage.Service{
			Id: wrapperspb.String(s.ID), Namespace: wrapperspb.String(s.Key.Namespace), Name: wrapperspb.String(s.Key.Name),
		})
	}
	return out, nil
}
