package ads

import "testing"

func TestW10OnlyClustersAndListenersHaveAWildcard(t *testing.T) {
	play(t, sotwEnvoy, `
		put eds a 1
		put rds a 1
		> eds
		> rds
		< nothing
		> eds *
		< eds #1 @2 ?*
	`)
}

func TestW11LegacyWildcardEndsWithTheFirstName(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put cds b 1
		> cds
		< cds #1 @2 a=1 b=1
		> cds #1
		> cds #1 b
		< cds #2 @2 b=1    // a name, sent unasked before, is answered (S-06)
		> cds #2 b
		put cds a 2
		< nothing
		put cds b 2
		< cds #3 @4 b=2
		> cds #3
		put cds b 3        // no names mean nothing now
		< nothing
	`)
	play(t, sotwEnvoy, `
		put cds a 1
		> cds
		< cds #1 @1 a=1
		> cds #1 *
		< nothing
		put cds a 2
		< cds #2 @2 a=2
		> cds #2
		put cds a 3
		< nothing
	`)
}

func TestW12NamesBesideTheWildcard(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put cds b 1
		> cds * b c
		< cds #1 @2 a=1 b=1 ?c
		> cds #1 * b c
		put cds c 1
		< cds #2 @3 a=1 b=1 c=1
	`)
}

func TestW13EmptyWildcardIsAnswered(t *testing.T) {
	play(t, sotwEnvoy, `
		> cds
		< cds #1 @0
		> cds #1
		< nothing
	`)
}

func TestW14NoLegacyWildcardForGRPC(t *testing.T) {
	play(t, sotwGRPC, `
		put cds a 1
		> cds
		< nothing
		put cds a 2
		< nothing
	`)
}

func TestN03MissingNamesAreToldOnce(t *testing.T) {
	play(t, sotwGRPC, `
		put lds a 1
		> lds a b
		< lds #1 @1 a=1 ?b
		> lds #1 a b
		put lds a 2
		< lds #2 @2 a=2
		> lds #2 a b c
		< lds #3 @2 a=2 ?c
		> rds x
		< rds #4 @2 ?x
		> rds #4 x y
		< rds #5 @2 ?y
	`)
}

func TestN05NameSpringsIntoExistence(t *testing.T) {
	play(t, sotwGRPC, `
		> lds a
		< lds #1 @0 ?a
		> lds #1 a
		> rds a
		< rds #2 @0 ?a
		> rds #2 a
		put lds a 1
		put rds a 1
		< lds #3 @1 a=1
		< rds #4 @2 a=1
	`)
}

func TestG25OneInFlightAndChangesCoalesce(t *testing.T) {
	play(t, sotwEnvoy, `
		put eds a 1
		> eds a
		< eds #1 @1 a=1
		put eds a 2
		put eds a 3
		put eds a 4
		< nothing
		> eds #1 a
		< eds #2 @4 a=4
		> eds #2 a
		put eds a 5
		put eds a 4
		< nothing          // as the client has it
	`)
}

func TestW11DeltaLegacyWildcardStays(t *testing.T) {
	play(t, deltaEnvoy, `
		put cds a 1
		> cds
		< cds #1 @1 a=1
		> cds #1 +b
		< cds #2 @1 -b ?b
		> cds #2
		put cds c 1
		< cds #3 @2 c=1
		> cds #3 -*
		put cds a 2
		< nothing
		put cds b 1
		< cds #4 @4 b=1
	`)
}

func TestW13DeltaEmptyWildcardIsAnswered(t *testing.T) {
	play(t, deltaEnvoy, `
		> cds
		< cds #1 @0
		> cds #1
		> lds +*
		< lds #2 @0
	`)
}

func TestW14DeltaNoLegacyWildcardForGRPC(t *testing.T) {
	play(t, deltaGRPC, `
		put cds a 1
		> cds
		< nothing
	`)
}
