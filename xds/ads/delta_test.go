package ads

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"

	"polestar/xds/resource"
)

func TestD01SubscribedAgainIsSentAgain(t *testing.T) {
	play(t, deltaEnvoy, `
		put eds a 1
		> eds +a
		< eds #1 @1 a=1
		> eds #1
		> eds +a
		< eds #2 @1 a=1
		> eds #2 +b
		< eds #3 @1 -b ?b
		> eds #3
		> eds +b
		< eds #4 @1 -b
	`)
}

func TestD02MissingNamesAreReportedAtOnce(t *testing.T) {
	play(t, deltaEnvoy, `
		put eds a 1
		> eds +a +b
		< eds #1 @1 a=1 -b ?b
		> eds #1
		put eds b 1        // the subscription stayed (N-05)
		< eds #2 @2 b=1
	`)
}

func TestD03OutdatedNonceDoesNotVoidSubscriptions(t *testing.T) {
	play(t, deltaEnvoy, `
		put eds a 1
		put eds b 1
		put eds c 1
		> eds +a
		< eds #1 @1 a=1
		> eds #77 +b -a
		< nothing          // #1 is still in flight
		> eds #1 refused +c
		< eds #2 @3 b=1 c=1
		put eds a 2
		> eds #2
		< nothing          // a was given up
	`)
}

func TestD04InitialVersions(t *testing.T) {
	play(t, deltaEnvoy, `
		put cds a 1
		put cds b 2
		put cds d 1
		> cds a=1 b=1 c=1
		< cds #1 @3 b=2 d=1
		> cds #1
		< cds #2 @3 -c
		> cds #2
		put eds a 1
		put eds b 1
		> eds +a +b +c a=1 b=0 c=1 nobody=1
		< eds #3 @5 b=1
		> eds #3
		< eds #4 @5 -c
	`)
}

func TestD04UnchangedClientIsSentOnlyTheEmptyWildcard(t *testing.T) {
	play(t, deltaEnvoy, `
		put cds a 1
		put eds a 1
		put rds r 1
		> cds a=1
		< cds #1 @3
		> cds #1
		> eds +a a=1
		> rds +r r=1
		< nothing
	`)
}

func TestD04EndpointsOfAClusterSentOnThisStreamFollow(t *testing.T) {
	play(t, deltaEnvoy, `
		put cds a 2
		put cds b 1
		put eds a 1
		put eds b 1
		> cds a=1 b=1
		< cds #1 @1 a=2
		> eds +a +b a=1 b=1
		< eds #2 @3 a=1
	`)
}

// TestD04ClientThatWarmsIsSentItsEndpoints: an Envoy that reconnects while a
// cluster warms asks for endpoints first, and for nothing of clusters until it
// has them or 15 s have passed.
func TestD04ClientThatWarmsIsSentItsEndpoints(t *testing.T) {
	play(t, deltaEnvoy, `
		put cds a 2
		put eds a 1
		put eds b 1
		> eds +a +b +c a=1 b=1 c=1 nobody=1
		< eds #1 @3 a=1 b=1 -c
		> cds a=2
		< cds #2 @3
		> eds #1
		> cds #2
		< nothing
	`)
}

func TestD04StreamOfEndpointsAloneSendsOnlyDifferences(t *testing.T) {
	d := open(t)
	d.put(resource.Endpoints, "a", "a1")
	d.put(resource.Endpoints, "b", "b2")
	s, err := endpointv3.NewEndpointDiscoveryServiceClient(d.conn).DeltaEndpoints(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	c := deltaClient{t, s}
	c.send(&discoveryv3.DeltaDiscoveryRequest{
		Node: envoy, ResourceNamesSubscribe: []string{"a", "b"}, InitialResourceVersions: map[string]string{"a": "a1", "b": "b1"},
	})
	if r := c.recv(); len(r.GetResources()) != 1 || r.GetResources()[0].GetName() != "b" {
		t.Errorf("sent %v, want b alone", r)
	}
}

func TestD06UnsubscribeNeedsNoAnswer(t *testing.T) {
	play(t, deltaEnvoy, `
		put eds a 1
		> eds +a
		< eds #1 @1 a=1
		> eds #1 -a -phantom
		< nothing
		put eds a 2
		< nothing
	`)
}

func TestD06NameGivenUpBesideTheWildcard(t *testing.T) {
	play(t, deltaEnvoy, `
		put cds a 1
		> cds +* +a +b
		< cds #1 @1 a=1 -b ?b
		> cds #1
		> cds -a -b -phantom
		< cds #2 @1 a=1 -b
		> cds #2
		> cds -*
		put cds a 2
		< nothing
	`)
}

func TestD07RemovedLastClustersAfterRoutes(t *testing.T) {
	play(t, deltaEnvoy, `
		put cds a 1
		put cds b 1
		put eds b 1
		put rds r 1
		put rds s 1
		put lds l 1
		> cds
		< cds #1 @2 a=1 b=1
		> cds #1
		> eds +b
		< eds #2 @3 b=1
		> eds #2
		> lds
		< lds #3 @6 l=1
		> lds #3
		> rds +r +s
		< rds #4 @5 r=1 s=1
		> rds #4
		del cds b
		del eds b
		del lds l
		del rds s
		put rds r 2
		put cds a 2
		< cds #5 @12 a=2
		< rds #6 @11 r=2
		< nothing          // s waits for the answer to #6, and what it may name for s
		> rds #6
		< rds #7 @12 -s
		< lds #8 @12 -l
		< eds #9 @12 -b
		> cds #5
		< cds #10 @12 -b
	`)
}

func TestD08RefusedFormNeverComesBack(t *testing.T) {
	play(t, deltaEnvoy, `
		put eds a 1
		put eds b 1
		> eds +a +b
		< eds #1 @2 a=1 b=1
		> eds #1 refused
		< eds #2 @2 a=1
		> eds #2
		< eds #3 @2 b=1
		> eds #3 refused
		> eds -b
		> eds +b
		< nothing
		put eds b 2
		< eds #4 @3 b=2
	`)
}

func TestD08SuspectGivenUpAndAskedForAgain(t *testing.T) {
	play(t, deltaEnvoy, `
		put eds a 1
		put eds b 1
		> eds +a +b
		< eds #1 @2 a=1 b=1
		> eds #1 refused
		< eds #2 @2 a=1
		> eds -b
		> eds #2
		< nothing
		> eds +b
		< eds #3 @2 b=1    // still in doubt, so alone
		> eds #3 refused
		put eds c 1
		> eds -b +c
		< eds #4 @3 c=1
		> eds #4 +b
		< nothing
	`)
}

func TestD08RemovalsOfARefusedResponseAreRepeated(t *testing.T) {
	play(t, deltaEnvoy, `
		put eds a 1
		> eds +a +b
		< eds #1 @1 a=1 -b ?b
		> eds #1 refused
		< eds #2 @1 -b
		> eds #2 refused   // then never mind
		< nothing
	`)
}

func TestD09OneInFlight(t *testing.T) {
	play(t, deltaEnvoy, `
		put eds a 1
		> eds +a
		< eds #1 @1 a=1
		put eds a 2
		put eds a 3
		< nothing
		> eds #1
		< eds #2 @3 a=3
	`)
}

func TestD07RemovedAndBackIsNotReported(t *testing.T) {
	play(t, deltaEnvoy, `
		put cds a 1
		put rds r 1
		> cds
		< cds #1 @1 a=1
		> cds #1
		> rds +r
		< rds #2 @2 r=1
		del cds a
		put rds r 2
		< nothing          // r waits for the answer to #2, and a for r
		put cds a 1
		< nothing
		> rds #2
		< rds #3 @4 r=2
	`)
}
