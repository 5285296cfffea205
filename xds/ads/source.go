package ads

import (
	"slices"

	"polestar/xds/cache"
	"polestar/xds/resource"
)

// source is a machine's view on the cache: the resources of one client's scope.
type source struct {
	watcher  *cache.Watcher
	cache    *cache.Cache
	revision func() uint64
	scope    resource.Scope
	shared   [types]resource.Scope  // of most resources of a type
	own      [types]map[string]need // what the wildcard holds besides the shared members
}

// need says why a resource is watched that is a wildcard's and has a name.
type need struct{ named, all bool }

func newSource(w *cache.Watcher, c *cache.Cache, revision func() uint64, scope resource.Scope) *source {
	s := &source{watcher: w, cache: c, revision: revision, scope: scope}
	for _, t := range resource.Types() {
		s.shared[t] = scope.For(t)
		for _, name := range scope.Own(t) {
			if s.own[t] == nil {
				s.own[t] = map[string]need{}
			}
			s.own[t][name] = need{}
		}
	}
	return s
}

func (s *source) key(t resource.Type, name string) resource.Key {
	scope := s.shared[t]
	if s.scope.Kind != resource.Plain {
		scope = s.scope.Of(t, name)
	}
	return resource.Key{Type: t, Scope: scope, Name: name}
}

func (s *source) Subscribe(t resource.Type, name string) {
	s.watcher.Subscribe(s.key(t, name))
	if n, mine := s.own[t][name]; mine {
		n.named = true
		s.own[t][name] = n
	}
}

func (s *source) Unsubscribe(t resource.Type, name string) {
	n, mine := s.own[t][name]
	if mine {
		n.named = false
		s.own[t][name] = n
	}
	if !n.all {
		s.watcher.Unsubscribe(s.key(t, name))
	}
}

func (s *source) SubscribeAll(t resource.Type) []*resource.Resource {
	s.watcher.SubscribeAll(t, s.shared[t])
	for name, n := range s.own[t] {
		s.watcher.Subscribe(s.key(t, name))
		n.all = true
		s.own[t][name] = n
	}
	return s.All(t)
}

func (s *source) UnsubscribeAll(t resource.Type) {
	s.watcher.UnsubscribeAll(t, s.shared[t])
	for name, n := range s.own[t] {
		n.all = false
		s.own[t][name] = n
		if !n.named {
			s.watcher.Unsubscribe(s.key(t, name))
		}
	}
}

func (s *source) Get(t resource.Type, name string) *resource.Resource { return s.watcher.Get(t, name) }

func (s *source) All(t resource.Type) []*resource.Resource {
	list := s.cache.All(t, s.shared[t])
	var own []*resource.Resource
	for name := range s.own[t] {
		if r := s.Get(t, name); r != nil {
			own = append(own, r)
		}
	}
	if own == nil {
		return list
	}
	own = slices.Concat(list, own) // the list is shared
	slices.SortFunc(own, byName)
	return own
}

func (s *source) Revision() uint64 { return s.revision() }

func (s *source) Ghosts(n int) { s.watcher.Ghosts(n) }

func (s *source) Excess() bool { return s.watcher.Excess() }
