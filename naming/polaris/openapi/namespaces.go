package openapi

import (
	"context"
	"net/http"

	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris"
)

// namespaceRoutes are there twice: newer consoles ask for them under core.
func namespaceRoutes() (out []route) {
	for _, at := range []string{"/naming/v1/namespaces", "/core/v1/namespaces"} {
		out = append(out,
			route{method: http.MethodGet, path: at, action: auth.Read, answer: read([]string{"name", "owner"}, findNamespaces)},
			route{method: http.MethodPost, path: at, action: auth.Write, answer: each(putNamespace(naming.Create))},
			route{method: http.MethodPut, path: at, action: auth.Write, answer: each(putNamespace(naming.Update))},
			route{method: http.MethodPost, path: at + "/delete", action: auth.Write, answer: each(deleteNamespace)},
		)
	}
	return out
}

func putNamespace(mode naming.Mode) func(context.Context, *call, *model.Namespace) *service_manage.Response {
	return func(ctx context.Context, c *call, in *model.Namespace) *service_manage.Response {
		put := naming.PutNamespace{
			Name: in.GetName().GetValue(), Mode: mode, Comment: text(in.GetComment()), Owner: owner(mode, in.GetOwners()),
			ServiceExportTo: list(in.GetServiceExportTo()), Actor: c.actor(),
		}
		err := unlinked(in)
		if err == nil {
			err = c.may(ctx, auth.Write, naming.ServiceKey{Namespace: put.Name})
		}
		var res naming.Result
		if err == nil {
			res, err = c.Admin.PutNamespace(ctx, put)
		}
		out := c.done(res.Outcome, err)
		out.Namespace = &model.Namespace{Name: in.GetName()}
		if err == nil {
			out.Namespace = polaris.NamespaceForm(res.Namespace)
		}
		return out
	}
}

func deleteNamespace(ctx context.Context, c *call, in *model.Namespace) *service_manage.Response {
	name := in.GetName().GetValue()
	err := c.may(ctx, auth.Write, naming.ServiceKey{Namespace: name})
	if err == nil {
		_, err = c.Admin.DeleteNamespace(ctx, naming.DeleteNamespace{Name: name, Actor: c.actor(), Cause: naming.CauseOperator})
	}
	out := c.done(naming.Deleted, err)
	out.Namespace = &model.Namespace{Name: in.GetName()}
	return out
}

func findNamespaces(c *call, q *query) (*service_manage.BatchQueryResponse, error) {
	v, found := c.view(), page[*naming.Namespace]{q: q}
	for n := range v.Namespaces() {
		if v.scope.Sees(n, nil) && q.text("name", n.Name) && q.text("owner", n.Owner) {
			found.add(n)
		}
	}
	out := found.answer()
	for _, n := range found.items {
		out.Namespaces = append(out.Namespaces, v.namespace(n))
	}
	return out, nil
}

// namespace is a namespace with the numbers of what the caller sees in it.
func (v view) namespace(n *naming.Namespace) *model.Namespace {
	var services, instances, healthy uint32
	for st := range v.Services(n.Name) {
		if !v.sees(st.Service) || st.Service.IsAlias() {
			continue
		}
		s := summed(st)
		services, instances, healthy = services+1, instances+s.total, healthy+s.healthy
	}
	out := polaris.NamespaceForm(n)
	out.TotalServiceCount = wrapperspb.UInt32(services)
	out.TotalInstanceCount, out.TotalHealthInstanceCount = wrapperspb.UInt32(instances), wrapperspb.UInt32(healthy)
	out.Editable, out.Deleteable = wrapperspb.Bool(true), wrapperspb.Bool(true) // who may not is told when he tries
	return out
}

// linked is what may name users and groups that get a right by this write.
type linked interface {
	GetUserIds() []*wrapperspb.StringValue
	GetGroupIds() []*wrapperspb.StringValue
	GetRemoveUserIds() []*wrapperspb.StringValue
	GetRemoveGroupIds() []*wrapperspb.StringValue
}

// unlinked refuses what would give rights beside a policy.
func unlinked(in linked) error {
	if len(in.GetUserIds())+len(in.GetGroupIds())+len(in.GetRemoveUserIds())+len(in.GetRemoveGroupIds()) > 0 {
		return invalid("user_ids, group_ids, remove_user_ids, remove_group_ids: rights are given by policies here, not with the object")
	}
	return nil
}

// text is a field that was sent; nil: it was not.
func text(v *wrapperspb.StringValue) *string {
	if v == nil {
		return nil
	}
	s := v.GetValue()
	return &s
}

// owner is text for an owner: consoles send an empty one of what they create,
// and mean whoever is logged in.
func owner(mode naming.Mode, v *wrapperspb.StringValue) *string {
	if mode == naming.Create && v.GetValue() == "" {
		return nil
	}
	return text(v)
}

// list is a list that was sent. JSON to messages does not tell an empty one
// from none: it stays as it is.
func list(in []*wrapperspb.StringValue) *[]string {
	if len(in) == 0 {
		return nil
	}
	out := make([]string, len(in))
	for n, v := range in {
		out[n] = v.GetValue()
	}
	return &out
}
