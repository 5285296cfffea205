package web

import (
	"fmt"
	"net/http"

	"polestar/auth"
	"polestar/naming"
)

// maxBlocking bounds the list of what stands in the way of a deletion.
const maxBlocking = 10

// body are the members that all managed objects have.
type body struct {
	comment, owner *string
	reason         string
}

func (b *body) fields(more fields) fields {
	more["comment"], more["owner"], more["reason"] = &b.comment, &b.owner, &b.reason
	return more
}

// mode is what a method expects to find.
func mode(method string) naming.Mode {
	switch method {
	case http.MethodPost:
		return naming.Create
	case http.MethodPatch:
		return naming.Update
	default:
		return naming.Upsert
	}
}

// named takes the names of an object from the body of a POST, else from the
// path, and reads the rest of the body.
func named(r *http.Request, into fields, names map[string]*string) *refusal {
	if r.Method == http.MethodPost {
		for name, at := range names {
			into[name] = at
		}
		_, wrong := decode(r, into)
		return wrong
	}
	for name, at := range names {
		text, wrong := segment(r, name)
		if wrong != nil {
			return wrong
		}
		*at = text
	}
	_, wrong := decode(r, into)
	return wrong
}

func (s *Server) putNamespace(w http.ResponseWriter, r *http.Request) {
	var b body
	var export *[]string
	put, whole := naming.PutNamespace{Mode: mode(r.Method), Actor: actor(r)}, r.Method == http.MethodPut
	key := "namespace"
	if r.Method == http.MethodPost {
		key = "name"
	}
	wrong := named(r, b.fields(fields{"service_export_to": &export}), map[string]*string{key: &put.Name})
	if wrong == nil {
		put.If, wrong = revision(r)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.may(w, r, auth.Write, naming.ServiceKey{Namespace: put.Name}) {
		return
	}
	put.Comment, put.Owner, put.Reason = given(b.comment, whole), given(b.owner, whole), b.reason
	put.ServiceExportTo = given(export, whole)
	res, err := s.deps.Admin.PutNamespace(r.Context(), put)
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	tagged(w, res.Namespace.Revision)
	written(w, res, Mutation{Namespace: new(namespace(res.Namespace))}, escaped("namespaces", put.Name))
}

func (s *Server) namespace(w http.ResponseWriter, r *http.Request) {
	name, wrong := segment(r, "namespace")
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.known(w, r) {
		return
	}
	n := s.world(r).Namespace(name)
	if n == nil {
		problem(w, http.StatusNotFound, "namespace", fmt.Sprintf("namespace %q does not exist", name))
		return
	}
	tagged(w, n.Revision)
	answer(w, http.StatusOK, namespace(n))
}

func (s *Server) deleteNamespace(w http.ResponseWriter, r *http.Request) {
	del := naming.DeleteNamespace{Actor: actor(r), Cause: naming.CauseOperator}
	var wrong *refusal
	if del.Name, wrong = segment(r, "namespace"); wrong == nil {
		del.If, del.Reason, wrong = deletion(r)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.may(w, r, auth.Write, naming.ServiceKey{Namespace: del.Name}) {
		return
	}
	res, err := s.deps.Admin.DeleteNamespace(r.Context(), del)
	if err != nil {
		s.failed(w, err, func(string) []string { return servicesOf(s.world(r), del.Name) })
		return
	}
	var m Mutation
	if res.Namespace != nil {
		m.Namespace = new(namespace(res.Namespace))
	}
	written(w, res, m, escaped("namespaces", del.Name))
}

// deletion reads what every DELETE takes.
func deletion(r *http.Request) (naming.Revision, string, *refusal) {
	rev, wrong := revision(r)
	if wrong != nil {
		return 0, "", wrong
	}
	reason, wrong := reasonIn(r)
	return rev, reason, wrong
}

// servicesOf names the first services and aliases of a namespace.
func servicesOf(world naming.World, namespace string) (out []string) {
	for st := range world.Services(namespace) {
		if len(out) == maxBlocking {
			break
		}
		kind := "service "
		if st.Service.IsAlias() {
			kind = "alias "
		}
		out = append(out, kind+st.Service.Key.String())
	}
	return out
}

// belongings names the first of what belongs to a service.
func belongings(world naming.World, key naming.ServiceKey, field string) (out []string) {
	switch st := world.Service(key); {
	case field == naming.FieldAliases:
		for a := range world.AliasesOf(key) {
			if len(out) == maxBlocking {
				break
			}
			out = append(out, "alias "+a.Key.String())
		}
	case field == naming.FieldInstances && st != nil:
		for _, i := range st.Instances[:min(maxBlocking, len(st.Instances))] {
			out = append(out, fmt.Sprintf("instance %s:%d (%s)", i.Host, i.Port, i.ID))
		}
	}
	return out
}

// serviceBody are the members of a service's body.
type serviceBody struct {
	body
	metadata                    naming.Patch
	ports, business, department *string
	cmdb, export                *[]string
}

func (s *Server) putService(w http.ResponseWriter, r *http.Request) {
	var b serviceBody
	put, whole := naming.PutService{Mode: mode(r.Method), Actor: actor(r)}, r.Method == http.MethodPut
	wrong := named(r, b.fields(fields{
		"metadata": &b.metadata, "ports": &b.ports, "business": &b.business, "department": &b.department, "cmdb": &b.cmdb, "export_to": &b.export,
	}), map[string]*string{"namespace": &put.Key.Namespace, "name": &put.Key.Name})
	if wrong == nil {
		put.If, wrong = revision(r)
	}
	if wrong == nil && b.cmdb != nil && len(*b.cmdb) > len(naming.Service{}.Cmdb) {
		wrong = bad("cmdb", fmt.Sprintf("cmdb: %d texts, at most 3 are allowed", len(*b.cmdb)))
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.may(w, r, auth.Write, put.Key) {
		return
	}
	put.Comment, put.Owner, put.Reason = given(b.comment, whole), given(b.owner, whole), b.reason
	put.Ports, put.Business, put.Department = given(b.ports, whole), given(b.business, whole), given(b.department, whole)
	put.ExportTo, put.Patch = given(b.export, whole), b.metadata
	if whole {
		put.Metadata = new(naming.Metadata)
	}
	if b.cmdb != nil || whole {
		put.Cmdb = new([3]string)
		copy(put.Cmdb[:], *given(b.cmdb, true))
	}
	res, err := s.deps.Admin.PutService(r.Context(), put)
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	tagged(w, res.Service.Revision)
	written(w, res, Mutation{Service: new(service(s.stateOf(res.Service)))}, escaped("services", put.Key.Namespace, put.Key.Name))
}

// stateOf adds to a service that was written what belongs to it now.
func (s *Server) stateOf(svc *naming.Service) *naming.ServiceState {
	out := &naming.ServiceState{Service: svc, Revision: svc.Revision}
	if st := s.deps.World().Service(svc.Key); st != nil {
		out.Instances, out.Revision = st.Instances, st.Revision
	}
	return out
}

func (s *Server) service(w http.ResponseWriter, r *http.Request) {
	s.one(w, r, "service", false, func(st *naming.ServiceState) any { return service(st) })
}

func (s *Server) alias(w http.ResponseWriter, r *http.Request) {
	s.one(w, r, "alias", true, func(st *naming.ServiceState) any { return alias(st.Service) })
}

// one answers the service or alias that the path names.
func (s *Server) one(w http.ResponseWriter, r *http.Request, kind string, isAlias bool, form func(*naming.ServiceState) any) {
	key, wrong := serviceIn(r)
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.known(w, r) {
		return
	}
	st := s.world(r).Service(key)
	switch {
	case st == nil:
		problem(w, http.StatusNotFound, kind, fmt.Sprintf("%s %q does not exist", kind, key))
	case isAlias && !st.Service.IsAlias():
		problem(w, http.StatusNotFound, kind, fmt.Sprintf("%q is a service, not an alias", key))
	case !isAlias && st.Service.IsAlias():
		problem(w, http.StatusNotFound, kind, fmt.Sprintf("%q is an alias for %q", key, st.Service.AliasFor))
	default:
		tagged(w, st.Service.Revision)
		answer(w, http.StatusOK, form(st))
	}
}

func (s *Server) putAlias(w http.ResponseWriter, r *http.Request) {
	var b body
	put, whole := naming.PutAlias{Mode: mode(r.Method), Actor: actor(r)}, r.Method == http.MethodPut
	wrong := named(r, b.fields(fields{"for_namespace": &put.For.Namespace, "for_service": &put.For.Name}),
		map[string]*string{"namespace": &put.Key.Namespace, "name": &put.Key.Name})
	if keeps := r.Method == http.MethodPatch && put.For == (naming.ServiceKey{}); wrong == nil && !keeps && (put.For.Name == "" || put.For.Namespace == "") {
		wrong = bad("for_service", "for_namespace, for_service: the service that the alias stands for is needed")
	}
	if wrong == nil {
		put.If, wrong = revision(r)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.may(w, r, auth.Write, put.Key) || put.For.Name != "" && !s.may(w, r, auth.Read, put.For) {
		return
	}
	put.Comment, put.Owner, put.Reason = given(b.comment, whole), given(b.owner, whole), b.reason
	res, err := s.deps.Admin.PutAlias(r.Context(), put)
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	tagged(w, res.Service.Revision)
	written(w, res, Mutation{Alias: new(alias(res.Service))}, escaped("aliases", put.Key.Namespace, put.Key.Name))
}

func (s *Server) deleteService(w http.ResponseWriter, r *http.Request) {
	s.deleteNamed(w, r, "services", false)
}

func (s *Server) deleteAlias(w http.ResponseWriter, r *http.Request) {
	s.deleteNamed(w, r, "aliases", true)
}

func (s *Server) deleteNamed(w http.ResponseWriter, r *http.Request, kind string, isAlias bool) {
	del := naming.DeleteService{Alias: isAlias, Actor: actor(r), Cause: naming.CauseOperator}
	var wrong *refusal
	if del.Key, wrong = serviceIn(r); wrong == nil {
		del.If, del.Reason, wrong = deletion(r)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.may(w, r, auth.Write, del.Key) {
		return
	}
	res, err := s.deps.Admin.DeleteService(r.Context(), del)
	if err != nil {
		s.failed(w, err, func(field string) []string { return belongings(s.world(r), del.Key, field) })
		return
	}
	var m Mutation
	switch {
	case res.Service == nil:
	case isAlias:
		m.Alias = new(alias(res.Service))
	default:
		m.Service = new(service(&naming.ServiceState{Service: res.Service, Revision: res.Revision}))
	}
	written(w, res, m, escaped(kind, del.Key.Namespace, del.Key.Name))
}
