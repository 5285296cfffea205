package polaris

import (
	"errors"

	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
)

// What other doors that speak Polaris' messages and codes share with this one.

// CodeOf maps an error to its code and to the text for the client, which never
// has that of a wrapped error.
func CodeOf(err error) (code uint32, info string) { return codeOf(err) }

// Denial turns a refusal of the gate into an error that [CodeOf] tells from
// others. Any other error stays as it is: it lets nobody in either, but it is
// ours.
func Denial(err error) error {
	e, ok := errors.AsType[*auth.Error](err)
	if !ok {
		return err
	}
	return &naming.Error{Kind: naming.Denied, Field: denials[e.Reason], Msg: e.Msg}
}

// ResourceOf is a service as it is stored, with who created it and its
// namespace, as far as they exist.
func ResourceOf(w naming.World, key naming.ServiceKey) auth.Resource { return auth.ResourceOf(w, key) }

// RegistrationOf reads an Instance as a registration; unset and empty fields
// are not sent.
func RegistrationOf(in *service_manage.Instance) naming.Registration { return registrationOf(in) }

// RefOf reads which instance is meant, by id when the field is present, else by
// place, and binds it to the service that the stored instance belongs to: the
// names beside an id prove nothing.
func RefOf(w naming.World, in *service_manage.Instance) naming.Ref { return stored(w, refOf(in)) }

// Plain makes a header fit for records: at most 128 bytes of UTF-8 without
// control characters.
func Plain(header string) string { return plain(header) }

// EchoInstance is what names the instance of a request, never its token.
func EchoInstance(in *service_manage.Instance) *service_manage.Instance { return echo(in) }

// InstanceForm is an instance as Discover shows it.
func InstanceForm(i *naming.Instance) (*service_manage.Instance, error) {
	out := &service_manage.Instance{}
	return out, proto.Unmarshal(appendInstance(nil, i), out)
}

// ServiceForm is a service as Discover shows it, with the revision of its
// content.
func ServiceForm(s *naming.Service) *service_manage.Service {
	out := protoService(s)
	out.Revision = wrapperspb.String(s.Digest().String())
	return out
}

// AliasForm is an alias with the service that it stands for.
func AliasForm(s *naming.Service) *service_manage.ServiceAlias {
	return &service_manage.ServiceAlias{
		Id:    wrapperspb.String(s.ID),
		Alias: wrapperspb.String(s.Key.Name), AliasNamespace: wrapperspb.String(s.Key.Namespace),
		Service: wrapperspb.String(s.AliasFor.Name), Namespace: wrapperspb.String(s.AliasFor.Namespace),
		Comment: wrapperspb.String(s.Comment), Owners: wrapperspb.String(s.Owner),
		Ctime: wrapperspb.String(timeText(s.Created)), Mtime: wrapperspb.String(timeText(s.Modified)),
	}
}

// NamespaceForm is a namespace without what belongs to it.
func NamespaceForm(n *naming.Namespace) *model.Namespace {
	out := &model.Namespace{
		Id: wrapperspb.String(n.Name), Name: wrapperspb.String(n.Name),
		Comment: wrapperspb.String(n.Comment), Owners: wrapperspb.String(n.Owner),
		Ctime: wrapperspb.String(timeText(n.Created)), Mtime: wrapperspb.String(timeText(n.Modified)),
	}
	for _, ns := range n.ServiceExportTo {
		out.ServiceExportTo = append(out.ServiceExportTo, wrapperspb.String(ns))
	}
	return out
}
