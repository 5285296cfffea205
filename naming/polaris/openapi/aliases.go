package openapi

import (
	"cmp"
	"context"
	"net/http"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris"
)

func aliasRoutes() []route {
	const one, many = "/naming/v1/service/alias", "/naming/v1/service/aliases"
	filters := []string{"alias", "alias_namespace", "service", "namespace", "owner"}
	return []route{
		{method: http.MethodGet, path: many, action: auth.Read, answer: read(filters, findAliases)},
		{method: http.MethodPost, path: one, action: auth.Write, answer: putAlias(naming.Create)},
		{method: http.MethodPut, path: one, action: auth.Write, answer: putAlias(naming.Update)},
		{method: http.MethodPost, path: many + "/delete", action: auth.Write, answer: each(deleteAlias)},
	}
}

// putAlias takes one object, not an array, and answers one.
func putAlias(mode naming.Mode) func(context.Context, *call) reply {
	return func(ctx context.Context, c *call) reply {
		in, err := object[service_manage.ServiceAlias](c.r)
		if err != nil {
			return answer(err)
		}
		put := naming.PutAlias{
			Key: aliasKey(in), Mode: mode, For: naming.ServiceKey{Namespace: in.GetNamespace().GetValue(), Name: in.GetService().GetValue()},
			Comment: text(in.GetComment()), Owner: owner(mode, in.GetOwners()), Actor: c.actor(),
		}
		var res naming.Result
		if err = c.checkAlias(ctx, in, &put); err == nil {
			res, err = c.Admin.PutAlias(ctx, put)
		}
		out := c.done(res.Outcome, err)
		out.Alias = echoAlias(in)
		if err == nil {
			out.Alias = polaris.AliasForm(res.Service)
		}
		return out
	}
}

// checkAlias asks for what an alias needs: to write it, and to read the service
// that it stands for.
func (c *call) checkAlias(ctx context.Context, in *service_manage.ServiceAlias, put *naming.PutAlias) error {
	if in.GetType() != service_manage.AliasType_DEFAULT {
		return invalid("type: only DEFAULT is known here")
	}
	if err := c.may(ctx, auth.Write, put.Key); err != nil {
		return err
	}
	if st := c.World.World().Service(put.Key); put.Mode == naming.Update && (st == nil || !st.Service.IsAlias()) {
		return errNoAlias
	}
	if put.Mode == naming.Update && put.For.Name == "" {
		put.For = naming.ServiceKey{} // stays
		return nil
	}
	return c.may(ctx, auth.Read, put.For)
}

// aliasKey names an alias: without a namespace of its own it is in that of its
// service.
func aliasKey(in *service_manage.ServiceAlias) naming.ServiceKey {
	return naming.ServiceKey{
		Namespace: cmp.Or(in.GetAliasNamespace().GetValue(), in.GetNamespace().GetValue()), Name: in.GetAlias().GetValue(),
	}
}

func deleteAlias(ctx context.Context, c *call, in *service_manage.ServiceAlias) *service_manage.Response {
	key := aliasKey(in)
	err := c.may(ctx, auth.Write, key)
	if err == nil {
		_, err = c.Admin.DeleteService(ctx, naming.DeleteService{Key: key, Alias: true, Actor: c.actor(), Cause: naming.CauseOperator})
	}
	if naming.KindOf(err) == naming.NotFound { // a service has that name
		err = errNoAlias
	}
	out := c.done(naming.Deleted, err)
	out.Alias = echoAlias(in)
	return out
}

func echoAlias(in *service_manage.ServiceAlias) *service_manage.ServiceAlias {
	return &service_manage.ServiceAlias{
		Alias: in.GetAlias(), AliasNamespace: in.GetAliasNamespace(), Service: in.GetService(), Namespace: in.GetNamespace(),
	}
}

func findAliases(c *call, q *query) (*service_manage.BatchQueryResponse, error) {
	v, found := c.view(), page[*naming.Service]{q: q}
	for st := range v.services(q, "alias_namespace", "alias") {
		s := st.Service
		if s.IsAlias() && q.text("service", s.AliasFor.Name) && q.text("namespace", s.AliasFor.Namespace) && q.text("owner", s.Owner) {
			found.add(s)
		}
	}
	out := found.answer()
	for _, s := range found.items {
		form := polaris.AliasForm(s)
		form.Editable, form.Deleteable = wrapperspb.Bool(true), wrapperspb.Bool(true) // who may not is told when he tries
		out.Aliases = append(out.Aliases, form)
	}
	return out, nil
}
