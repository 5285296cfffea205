package ads

import (
	"fmt"
	"slices"
	"strings"

	"polestar/naming"
	"polestar/xds/cache"
	"polestar/xds/resource"
)

// world is a map that plays the cache for one machine.
type world struct {
	revision  uint64
	resources map[resource.Ref]*resource.Resource
	watched   map[resource.Ref]bool
	all       [types]bool
	dirty     cache.Dirty
	ghosts    int
	excess    bool
}

func newWorld() *world {
	return &world{resources: map[resource.Ref]*resource.Resource{}, watched: map[resource.Ref]bool{}}
}

// put sets a resource; an empty version removes it. The bytes are the version.
func (w *world) put(t resource.Type, name, version string) {
	w.revision++
	ref := resource.Ref{Type: t, Name: name}
	if version == "" {
		delete(w.resources, ref)
	} else {
		w.resources[ref] = &resource.Resource{
			Name: name, Version: version, Revision: naming.Revision(w.revision), Any: []byte(version), Delta: []byte(version),
		}
	}
	if w.watched[ref] || w.all[t] {
		w.dirty[t] = append(w.dirty[t], name)
	}
}

func (w *world) take() cache.Dirty {
	d := w.dirty
	w.dirty = cache.Dirty{}
	return d
}

// attach forgets the subscriptions of an earlier machine.
func (w *world) attach() {
	w.watched, w.all, w.dirty, w.ghosts = map[resource.Ref]bool{}, [types]bool{}, cache.Dirty{}, 0
}

func (w *world) Subscribe(t resource.Type, name string) {
	w.watched[resource.Ref{Type: t, Name: name}] = true
}

func (w *world) Unsubscribe(t resource.Type, name string) {
	ref := resource.Ref{Type: t, Name: name}
	if !w.watched[ref] {
		panic(fmt.Sprintf("unsubscribe of %v, which is not subscribed", ref))
	}
	delete(w.watched, ref)
}

func (w *world) SubscribeAll(t resource.Type) []*resource.Resource {
	w.all[t] = true
	return w.All(t)
}

func (w *world) UnsubscribeAll(t resource.Type) { w.all[t] = false }

func (w *world) Get(t resource.Type, name string) *resource.Resource {
	ref := resource.Ref{Type: t, Name: name}
	if !w.watched[ref] && !w.all[t] {
		panic(fmt.Sprintf("get of %v, which is not subscribed", ref))
	}
	return w.resources[ref]
}

func (w *world) All(t resource.Type) []*resource.Resource {
	if !w.all[t] {
		panic(fmt.Sprintf("all of %v, which are not subscribed", t))
	}
	var out []*resource.Resource
	for ref, r := range w.resources {
		if ref.Type == t {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *resource.Resource) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (w *world) Revision() uint64 { return w.revision }

func (w *world) Ghosts(n int) {
	if w.ghosts += n; w.ghosts < 0 {
		panic("fewer than no ghosts")
	}
}

func (w *world) Excess() bool { return w.excess }

// forms writes resources as name=version.
func forms(list []*resource.Resource) []string {
	var out []string
	for _, r := range list {
		out = append(out, r.Name+"="+r.Version)
	}
	return out
}
