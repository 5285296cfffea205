package web

import (
	"iter"
	"net/http"

	"polestar/auth"
	"polestar/naming"
)

// visible is a world of which a principal sees only what it may read: what is
// left out looks as if it were not there.
type visible struct {
	naming.World
	scope auth.Scope
}

// seen is the world as the scope shows it.
func seen(w naming.World, scope auth.Scope) naming.World {
	if scope.See == nil {
		return w
	}
	return visible{w, scope}
}

// sees reports whether a service may be read. One that does not exist may,
// wherever its namespace could hold one that may: there is nothing to hide.
func (v visible) sees(key naming.ServiceKey) bool {
	ns := v.World.Namespace(key.Namespace)
	if st := v.World.Service(key); st != nil {
		return v.scope.Sees(ns, st.Service)
	}
	return v.scope.Sees(ns, &naming.Service{Key: key})
}

// Service implements [naming.World].
func (v visible) Service(key naming.ServiceKey) *naming.ServiceState {
	st := v.World.Service(key)
	if st == nil || !v.scope.Sees(v.World.Namespace(key.Namespace), st.Service) {
		return nil
	}
	return st
}

// Services implements [naming.World].
func (v visible) Services(namespace string) iter.Seq[*naming.ServiceState] {
	return v.only(v.World.Services(namespace))
}

// Named implements [naming.World].
func (v visible) Named(name string) iter.Seq[*naming.ServiceState] {
	return v.only(v.World.Named(name))
}

// ExportedTo implements [naming.World].
func (v visible) ExportedTo(namespace string) iter.Seq[*naming.ServiceState] {
	return v.only(v.World.ExportedTo(namespace))
}

func (v visible) only(all iter.Seq[*naming.ServiceState]) iter.Seq[*naming.ServiceState] {
	return where(all, func(st *naming.ServiceState) bool {
		return v.scope.Sees(v.World.Namespace(st.Service.Key.Namespace), st.Service)
	})
}

// Namespace implements [naming.World].
func (v visible) Namespace(name string) *naming.Namespace {
	n := v.World.Namespace(name)
	if n == nil || !v.scope.Sees(n, nil) {
		return nil
	}
	return n
}

// Namespaces implements [naming.World].
func (v visible) Namespaces() iter.Seq[*naming.Namespace] {
	return where(v.World.Namespaces(), func(n *naming.Namespace) bool { return v.scope.Sees(n, nil) })
}

// Instance implements [naming.World].
func (v visible) Instance(id string) *naming.Instance {
	i := v.World.Instance(id)
	if i == nil || !v.sees(i.Service) {
		return nil
	}
	return i
}

// AliasesOf implements [naming.World].
func (v visible) AliasesOf(key naming.ServiceKey) iter.Seq[*naming.Service] {
	return where(v.World.AliasesOf(key), func(s *naming.Service) bool {
		return v.scope.Sees(v.World.Namespace(s.Key.Namespace), s)
	})
}

// Contract implements [naming.World].
func (v visible) Contract(key naming.ServiceKey, id string) *naming.Contract {
	if !v.sees(key) {
		return nil
	}
	return v.World.Contract(key, id)
}

// Contracts implements [naming.World].
func (v visible) Contracts(key naming.ServiceKey) iter.Seq[*naming.Contract] {
	return where(v.World.Contracts(key), func(*naming.Contract) bool { return v.sees(key) })
}

// Overrides implements [naming.World].
func (v visible) Overrides() iter.Seq[*naming.Override] {
	return where(v.World.Overrides(), func(o *naming.Override) bool { return v.sees(o.Service) })
}

// Client implements [naming.World]: the records of SDK processes belong to no
// service.
func (v visible) Client(string) *naming.Client { return nil }

// Clients implements [naming.World].
func (v visible) Clients() iter.Seq[*naming.Client] { return func(func(*naming.Client) bool) {} }

// sees tells what the caller may read of what is, or was, at a key, by the world
// and the policies of the moment at which it is asked: a stream of events lives
// longer than either.
func (s *Server) sees(r *http.Request) func(naming.ServiceKey) bool {
	by := callerOf(r).principal
	return func(key naming.ServiceKey) bool {
		v, some := seen(s.deps.World(), s.deps.Auth.Scope(auth.ConsoleAPI, by)).(visible)
		return !some || v.sees(key)
	}
}

// where are the items that a condition holds for.
func where[T any](all iter.Seq[T], holds func(T) bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		for item := range all {
			if holds(item) && !yield(item) {
				return
			}
		}
	}
}
