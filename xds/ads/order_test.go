package ads

import (
	"math/rand/v2"
	"testing"

	"polestar/xds/resource"
)

func TestW01EndpointsFollowTheirCluster(t *testing.T) {
	for kind, name := range map[string][2]string{sotwEnvoy: {"a", "a"}, deltaEnvoy: {"+a", ""}} {
		play(t, kind, `
			put cds a 1
			put eds a 1
			> cds
			< cds #1 @1 a=1
			> eds `+name[0]+`
			< eds #2 @2 a=1
			> eds #2 `+name[1]+`
			put cds a 2
			< nothing          // one response of clusters at a time
			> cds #1
			< cds #3 @3 a=2
			< eds #4 @2 a=1    // right behind it, unchanged, the cluster not accepted yet (W-02)
			> eds #4 `+name[1]+`
			> cds #3
			< nothing
		`)
	}
}

func TestW03NewClusterWithKnownEndpoints(t *testing.T) {
	play(t, sotwEnvoy, `
		put eds a 1
		> eds a
		< eds #1 @1 a=1
		> eds #1 a
		> cds
		< cds #2 @1
		> cds #2
		put cds a 1
		< cds #3 @2 a=1
		< eds #4 @1 a=1
	`)
}

func TestW02EndpointsDoNotWaitForClusters(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put eds a 1
		> cds
		< cds #1 @1 a=1
		> eds a
		< eds #2 @2 a=1
		> eds #2 a
		put eds a 2
		< eds #3 @3 a=2
		> eds #3 a
		put eds a 3
		< eds #4 @4 a=3
	`)
}

func TestW02RoutesDoNotWaitForClustersThatTheClientHas(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put rds r 1
		> cds
		< cds #1 @1 a=1
		> rds r
		< rds #2 @2 r=1
		> rds #2 r
		put cds a 2
		put rds r 2
		< rds #3 @4 r=2
	`)
}

func TestOrderRoutesWaitForNewClusters(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put lds l 1
		put rds r 1
		> cds
		< cds #1 @1 a=1
		> lds
		< lds #2 @2 l=1
		> lds #2
		> rds r
		< rds #3 @3 r=1
		> rds #3 r
		put cds b 1
		put lds l 2
		put rds r 2
		< nothing          // b waits behind #1
		wait 4s
		< nothing
		> cds #1
		< cds #4 @4 a=1 b=1
		< lds #5 @5 l=2
		< rds #6 @6 r=2
		> lds #5
		> rds #6 r
		put cds c 1
		put rds r 3
		< nothing
		wait 5s            // a client that does not answer is not cut off
		< rds #7 @8 r=3
	`)
}

func TestOrderOfOneChange(t *testing.T) {
	play(t, sotwEnvoy, `
		put rds r 1
		put lds l 1
		put eds a 1
		put cds a 1
		> rds r
		> lds
		> eds a
		> cds
		< cds #1 @4 a=1
		< eds #2 @3 a=1
		< lds #3 @2 l=1
		< rds #4 @1 r=1
	`)
}

func TestOrderClustersGoAfterTheirRoutes(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put cds b 1
		put rds r 1
		> cds
		< cds #1 @2 a=1 b=1
		> cds #1
		> rds r
		< rds #2 @3 r=1
		> rds #2 r
		del cds b
		put rds r 2
		< rds #3 @5 r=2
		< cds #4 @5 a=1
		> cds #4
		> rds #3 r
		del cds a
		put cds c 1
		put rds r 3
		< cds #5 @7 a=1 c=1 // a stays until the route has changed
		< rds #6 @8 r=3
		< nothing
		> cds #5
		< cds #7 @8 c=1
	`)
}

func TestOrderRemovalDoesNotWaitForEver(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put rds r 1
		> cds
		< cds #1 @1 a=1
		> cds #1
		> rds r
		< rds #2 @2 r=1
		del cds a
		put rds r 2
		< nothing          // the route waits for the answer to #2
		wait 5s
		< cds #3 @4
	`)
}

func TestW05ClustersAreSentOnChangeOnly(t *testing.T) {
	for _, kind := range []string{sotwEnvoy, deltaEnvoy} {
		play(t, kind, `
			put cds a 1
			put cds b 1
			> cds
			< cds #1 @2 a=1 b=1
			> cds #1
			put eds a 1
			put eds a 2
			put rds r 1
			put cds a 1        // built again, and the same
			< nothing
			put cds b 2
			put cds b 1        // changed and back
			< nothing
		`)
	}
}

// TestReferenceDefect06OrderDoesNotDependOnChance changes a resource of each
// type, in any order: what reaches the client is in one order.
func TestReferenceDefect06OrderDoesNotDependOnChance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 50 {
		for _, delta := range []bool{false, true} {
			w := newWorld()
			m := NewSotW(w, false)
			if delta {
				m = NewDelta(w, false)
			}
			types := namedTypes()
			nonces := map[resource.Type]string{}
			random.Shuffle(len(types), func(i, j int) { types[i], types[j] = types[j], types[i] })
			for _, version := range []string{"1", "2"} {
				for _, typ := range types {
					w.put(typ, "a", version)
					r := Request{URL: typ.URL(), Nonce: nonces[typ], Subscribe: []string{"a"}}
					if delta && version == "2" {
						r.Subscribe = nil
					}
					if _, err := m.Request(zero, r); err != nil {
						t.Fatal(err)
					}
				}
				m.Changed(w.take())
				for _, typ := range namedTypes() {
					r := m.Next(zero)
					if r == nil || r.typ != typ {
						t.Fatalf("round %d, delta %v, version %s: %s instead of %s", round, delta, version, describe(r), typ)
					}
					nonces[typ] = r.Nonce
				}
			}
		}
	}
}
