package registry_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"polestar/naming"
)

// However services, aliases and namespaces change whom they show, the walk of
// what is exported to a namespace is that of all services, filtered.
func TestExportedToEqualsAllFiltered(t *testing.T) {
	names := []string{"a", "b", "c"}
	lists := [][]string{nil, {"a"}, {"a", "b"}, {"*"}}
	rapid.Check(t, func(rt *rapid.T) {
		p := newPair()
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			ns, k := rapid.SampledFrom(names).Draw(rt, "namespace"), rapid.SampledFrom(names).Draw(rt, "name")
			list := slices.Clone(rapid.SampledFrom(lists).Draw(rt, "list"))
			var w naming.Write
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0:
				w = &naming.PutNamespace{Name: ns, ServiceExportTo: &list}
			case 1:
				w = &naming.DeleteService{Key: key(ns, k)}
			case 2:
				w = &naming.PutAlias{Key: key(ns, "alias"), For: key("a", k), AutoCreate: true}
			default:
				w = &naming.PutService{Key: key(ns, k), ExportTo: &list, AutoCreate: true}
			}
			commit, _, err := p.store.Apply(t.Context(), []naming.Write{w})
			if err != nil {
				rt.Fatal(err)
			}
			if err := p.reg.Apply(commit); err != nil {
				rt.Fatal(err)
			}
		}
		for _, world := range []naming.World{p.reg.World(), p.reload(t).World()} {
			for _, to := range append(names, "nobody") {
				var want, got []naming.ServiceKey
				for st := range world.Services("") {
					if named, _ := naming.ExportsTo(world, st.Service, to); named && st.Service.Key.Namespace != to {
						want = append(want, st.Service.Key)
					}
				}
				for st := range world.ExportedTo(to) {
					got = append(got, st.Service.Key)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					rt.Fatalf("exported to %s (-filtered +walked):\n%s", to, diff)
				}
				for range world.ExportedTo(to) { // a walk may end early
					break
				}
			}
		}
	})
}
