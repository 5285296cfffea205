package ads

import (
	"fmt"
	"testing"

	"polestar/xds/resource"
)

func TestS02OutdatedNonceIsNotAnswered(t *testing.T) {
	play(t, sotwEnvoy, `
		put eds a 1
		put eds b 1
		> eds a
		< eds #1 @1 a=1
		> eds #1 a
		put eds a 2
		< eds #2 @3 a=2
		> eds #1 a b       // crossed with #2
		< nothing
		> eds #2 a b
		< eds #3 @3 b=1
		> eds #3 a b
		> eds #2 a b c     // older than what is settled: void
		< nothing
		> eds a b c        // no nonce is outdated as well
		< nothing
	`)
}

func TestS03AckAndNackAreAnsweredBySilence(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put eds a 1
		> cds
		< cds #1 @1 a=1
		> cds #1
		< nothing
		> eds a
		< eds #2 @2 a=1
		> eds #2 refused a
		< nothing
		put cds a 2
		< cds #3 @3 a=2
		> cds #3 refused
		< nothing          // and eds a=1 is not forced: it was refused
		put cds b 1
		< cds #4 @4 a=1 b=1 // the accepted form of a
		> cds #4
		put cds a 3
		< cds #5 @5 a=3 b=1
	`)
}

func TestS03RefusedFormNeverComesBack(t *testing.T) {
	play(t, sotwGRPC, `
		put rds a 1
		> rds a
		< rds #1 @1 a=1
		> rds #1 refused a
		put rds a 2
		< rds #2 @2 a=2
		> rds #2 a
		put rds a 1        // as it was when it was refused
		< nothing
		> rds #2           // unsubscribed
		> rds #2 a         // and again
		< nothing
		put rds a 3
		< rds #3 @4 a=3
	`)
}

func TestS04RefusedTogetherAreTriedAlone(t *testing.T) {
	play(t, sotwEnvoy, `
		put eds a 1
		put eds b 1
		put eds c 1
		> eds a b c
		< eds #1 @3 a=1 b=1 c=1
		> eds #1 refused a b c
		< eds #2 @3 a=1
		> eds #2 a b c
		< eds #3 @3 b=1
		> eds #3 refused a b c
		< eds #4 @3 c=1
		> eds #4 a b c
		< nothing
		put eds b 2
		< eds #5 @4 b=2
	`)
}

func TestS04FullStateKeepsWhatWasAccepted(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put cds z 1
		> cds
		< cds #1 @2 a=1 z=1
		> cds #1
		put cds a 2
		put cds b 1
		put cds c 1
		< cds #2 @5 a=2 b=1 c=1 z=1
		> cds #2 refused
		< cds #3 @5 a=2 z=1
		> cds #3 refused
		< cds #4 @5 a=1 b=1 z=1
		> cds #4
		< cds #5 @5 a=1 b=1 c=1 z=1
		> cds #5
		< nothing
		put cds a 3
		< cds #6 @6 a=3 b=1 c=1 z=1
	`)
}

func TestS04NewsGoBetweenTrials(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put cds b 1
		put cds c 1
		> cds
		< cds #1 @3 a=1 b=1 c=1
		> cds #1 refused
		put cds d 1
		< cds #2 @3 a=1
		> cds #2
		< cds #3 @4 a=1 d=1
		> cds #3
		< cds #4 @4 a=1 b=1 d=1
		> cds #4
		< cds #5 @4 a=1 b=1 c=1 d=1
	`)
}

func TestS04AcceptedFormIsNotSuspected(t *testing.T) {
	play(t, sotwGRPC, `
		put lds a 1
		put lds c 1
		> lds c
		< lds #1 @2 c=1
		> lds a            // c is given up
		> lds a c          // and asked for again
		> lds #1 a c
		< lds #2 @2 a=1 c=1
		> lds #2 refused a c
		< nothing          // a alone is to blame
	`)
}

func TestS04ManySuspectsShareTrials(t *testing.T) {
	c := newClient(t, newWorld(), false, true)
	for i := range 3 * maxTrials {
		c.w.put(resource.Cluster, fmt.Sprintf("c%04d", i), "1")
	}
	c.refuses = func(name, _ string) bool { return name == "c0100" }
	c.start(resource.Cluster)
	c.settle()
	if got := int(c.m.nonces); got > maxTrials+1 {
		t.Errorf("%d responses, at most %d are needed", got, maxTrials+1)
	}
	// The guilty one takes those in its trial along.
	if got, want := len(c.types[resource.Cluster].have), 3*maxTrials-3; got != want {
		t.Errorf("the client has %d clusters, want %d", got, want)
	}
}

func TestS05DeletionIsAbsence(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put cds b 1
		put lds l 1
		> cds
		< cds #1 @2 a=1 b=1
		> cds #1
		> lds
		< lds #2 @3 l=1
		> lds #2
		del cds b
		< cds #3 @4 a=1
		> cds #3
		del lds l
		< lds #4 @5
	`)
}

func TestS05PartialTypesNeverDelete(t *testing.T) {
	play(t, sotwEnvoy, `
		put eds a 1
		> eds a b
		< eds #1 @1 a=1 ?b
		> eds #1 a b
		del eds a
		< nothing
		put eds a 1
		< eds #2 @3 a=1    // the client may have waited for it since
	`)
}

func TestS06NewNameIsAnsweredThoughNothingChanged(t *testing.T) {
	play(t, sotwGRPC, `
		put cds a 1
		put cds b 1
		> cds a
		< cds #1 @1 a=1
		> cds #1 a
		> cds #1 a b
		< cds #2 @2 a=1 b=1
		> cds #2 a b
		> cds #2 b
		< nothing
		> cds #2 a b       // given up, asked for again
		< cds #3 @2 a=1 b=1
	`)
}

func TestS06NameGivenUpAndAskedForWhileAResponseIsInFlight(t *testing.T) {
	play(t, sotwGRPC, `
		put eds a 1
		put eds b 1
		> eds a
		< eds #1 @1 a=1
		> eds #1 a
		put eds a 2
		< eds #2 @3 a=2
		> eds #1 b
		> eds #1 a b
		> eds #2 a b
		< eds #3 @3 a=2 b=1
	`)
}

func TestS07ReconnectIsAnswered(t *testing.T) {
	play(t, sotwGRPC, `
		put cds a 1
		> cds a            // version_info of an earlier stream changes nothing
		< cds #1 @1 a=1
	`)
}

func TestS08NamesAreASet(t *testing.T) {
	play(t, sotwGRPC, `
		put eds a 1
		put eds b 1
		put cds z 1
		> eds b a b
		< eds #1 @2 a=1 b=1
		> eds #1 a b
		> eds #1 b a a
		< nothing
		> cds z z
		< cds #2 @3 z=1
		> cds #2 z
		< nothing
	`)
}

func TestS08RepetitionDoesNotHideWhatIsGivenUp(t *testing.T) {
	play(t, sotwGRPC, `
		put eds a 1
		put eds b 1
		> eds a b
		< eds #1 @2 a=1 b=1
		> eds #1 a a       // as many names, and b is not one of them
		put eds b 2
		< nothing
		> eds #1 a b
		< eds #2 @3 b=2
	`)
	play(t, sotwGRPC, `
		put cds a 1
		put cds b 1
		> cds a b
		< cds #1 @2 a=1 b=1
		> cds #1 a a
		put cds b 2
		< nothing
	`)
}

func TestS09NothingIsTwiceInAResponse(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put cds b 1
		put eds a 1
		> cds * a a b *
		< cds #1 @2 a=1 b=1
		> eds a a a
		< eds #2 @3 a=1
	`)
	play(t, deltaEnvoy, `
		put cds a 1
		put cds b 1
		put eds a 1
		> cds +* +a +a +*
		< cds #1 @2 a=1 b=1
		> eds +a +a
		< eds #2 @3 a=1
		> eds #2
		> cds #1
		put cds a 2
		put eds a 2        // changed, and forced by its cluster
		< cds #3 @4 a=2
		< eds #4 @5 a=2
	`)
}

func TestS10VersionGoesUpWithContent(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put cds b 1
		> cds
		< cds #1 @2 a=1 b=1
		> cds #1
		put eds z 1        // something else
		< nothing
		del cds b
		< cds #2 @4 a=1
	`)
}

func TestS11RepeatedEndpointRequestOfAWarmingCluster(t *testing.T) {
	play(t, sotwEnvoy, `
		put cds a 1
		put eds a 1
		> cds
		< cds #1 @1 a=1
		> eds a
		< eds #2 @2 a=1
		> eds #2 a
		> cds #1
		put cds a 2
		< cds #3 @3 a=2
		< eds #4 @2 a=1
		> eds #2 a         // crossed with it
		< nothing
		> eds #4 a
		> cds #3
		< nothing
	`)
}

func TestS05RefusedFirstFormLeavesNoOlderOne(t *testing.T) {
	play(t, sotwGRPC, `
		put lds a 1
		> lds a            // the client has an older form, of an earlier stream
		< lds #1 @1 a=1
		> lds #1 refused a
		< nothing
		del lds a
		< lds #2 @2        // which must go now
	`)
}
