package resource

import (
	"slices"

	"polestar/naming"
)

// Reader is what a principal may see of the registered world. Those who see the
// same share one Reader, by its address. nil sees everything.
type Reader struct {
	see func(namespace *naming.Namespace, service *naming.Service) bool
}

// NewReader makes a Reader. see is given nothing but names and creators, so that
// it can judge by nothing else: a [Variant] holds those, and no more.
func NewReader(see func(namespace *naming.Namespace, service *naming.Service) bool) *Reader {
	return &Reader{see}
}

func (r *Reader) sees(i *identity) bool {
	return r == nil || r.see(
		&naming.Namespace{Name: i.key.Namespace, Creator: i.namespaceBy},
		&naming.Service{Key: i.key, Creator: i.serviceBy},
	)
}

// SeesService reports whether a service is seen, and what it stands for if it
// is an alias. One that does not exist is seen where one of nobody in
// particular would be.
func (r *Reader) SeesService(w naming.World, key naming.ServiceKey) bool {
	if r == nil {
		return true
	}
	v := visibility{service: identity{key: key}}
	if st := w.Service(key); st != nil {
		v = visibilityOf(w, st.Service)
	} else if ns := w.Namespace(key.Namespace); ns != nil {
		v.service.namespaceBy = ns.Creator
	}
	return v.sees(r)
}

// SeesResource reports whether the service of a resource is seen, by the name of
// the resource; what is of no service is seen. Of a name that can stand for
// several, all that exist must be, or one if none exists.
func (r *Reader) SeesResource(w naming.World, ref Ref) bool {
	if r == nil {
		return true
	}
	seen := func(key naming.ServiceKey) bool { return r.SeesService(w, key) }
	for _, prefix := range []string{outboundPrefix, inboundPrefix} {
		if key, ok := pipedKey(ref.Name, prefix); ok {
			return seen(key)
		}
	}
	if ref.Type != Listener && ref.Type != Route {
		key, ok := clusterKey(ref.Name)
		return !ok || seen(key)
	}
	target := ref.Name
	if own, ok := inboundTarget(ref); ok {
		target = own
	}
	if existing := servicesOfTarget(w, target); len(existing) > 0 {
		return !slices.ContainsFunc(existing, func(st *naming.ServiceState) bool { return !seen(st.Service.Key) })
	}
	possible := slices.Concat(meanings(target)...)
	return len(possible) == 0 || slices.ContainsFunc(possible, seen)
}

// identity is what a [Reader] judges by.
type identity struct {
	key                    naming.ServiceKey
	namespaceBy, serviceBy string // ids of those who created them
}

func identityOf(w naming.World, s *naming.Service) identity {
	out := identity{key: s.Key, serviceBy: s.Creator}
	if ns := w.Namespace(s.Key.Namespace); ns != nil {
		out.namespaceBy = ns.Creator
	}
	return out
}

// visibility is who may see a service; nil is that of what is of no service. An
// alias must not show what the service that it stands for hides.
type visibility struct {
	audience audience
	service  identity
	behind   identity // what an alias stands for; zero: nothing
}

func visibilityOf(w naming.World, s *naming.Service) visibility {
	out := visibility{audience: audienceOf(w, s), service: identityOf(w, s)}
	if s.IsAlias() {
		if st := w.Service(s.AliasFor); st != nil {
			out.behind = identityOf(w, st.Service)
		}
	}
	return out
}

func (v *visibility) sees(r *Reader) bool {
	return v == nil || r == nil || r.sees(&v.service) && (v.behind == identity{} || r.sees(&v.behind))
}

// shows reports whether clients of a namespace with the rights of r see it.
func (v *visibility) shows(namespace string, r *Reader) bool {
	return v.whom().sees(namespace) && v.sees(r)
}

// whom is the audience.
func (v *visibility) whom() audience {
	if v == nil {
		return everybody
	}
	return v.audience
}

func (v *visibility) equal(o *visibility) bool {
	return v == o || v != nil && o != nil && *v == *o
}

// makers is what a [Reader] judges by besides the name of the service, as text.
func (v *visibility) makers() string {
	if v == nil {
		return ""
	}
	s, b := &v.service, &v.behind
	if *b == (identity{}) {
		if s.namespaceBy == "" && s.serviceBy == "" {
			return ""
		}
		return s.namespaceBy + "\x00" + s.serviceBy
	}
	return s.namespaceBy + "\x00" + s.serviceBy + "\x00" + b.key.Namespace + "\x00" + b.key.Name + "\x00" + b.namespaceBy + "\x00" + b.serviceBy
}
