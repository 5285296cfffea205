package ads

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"polestar/xds/resource"
)

var zero = time.Unix(1, 0)

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

func TestDeltaRemovedAndBackIsNotReported(t *testing.T) {
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

func TestDeltaW11LegacyWildcardStays(t *testing.T) {
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

func TestDeltaW13EmptyWildcardIsAnswered(t *testing.T) {
	play(t, deltaEnvoy, `
		> cds
		< cds #1 @0
		> cds #1
		> lds +*
		< lds #2 @0
	`)
}

func TestDeltaW14NoLegacyWildcardForGRPC(t *testing.T) {
	play(t, deltaGRPC, `
		put cds a 1
		> cds
		< nothing
	`)
}

func TestP04UnservedTypes(t *testing.T) {
	play(t, deltaEnvoy, `
		> nobody.Knows +x +y +*
		< nobody.Knows #1 @0 -x -y
		> nobody.Knows #1
		> nobody.Knows +*
		< nothing
	`)
	play(t, sotwEnvoy, `
		> nobody.Knows x y
		< nothing
	`)
	m := NewSotW(newWorld(), true)
	for i := range 100 {
		if _, err := m.Request(zero, Request{URL: strings.Repeat("x", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(m.Unserved()); got != maxUnknownTypes {
		t.Errorf("%d unserved types are remembered", got)
	}
}

func TestP07Split(t *testing.T) {
	for _, delta := range []bool{false, true} {
		w := newWorld()
		names := []string{"a", "b", "c", "d", "missing"}
		for _, name := range names[:4] {
			w.put(resource.Endpoints, name, name)
			r := w.resources[resource.Ref{Type: resource.Endpoints, Name: name}]
			r.Any, r.Delta = make([]byte, MaxMessage*2/5), make([]byte, MaxMessage*2/5)
		}
		w.resources[resource.Ref{Type: resource.Endpoints, Name: "c"}].Any = make([]byte, 2*MaxMessage)
		w.resources[resource.Ref{Type: resource.Endpoints, Name: "c"}].Delta = make([]byte, 2*MaxMessage)
		m := NewSotW(w, false)
		if delta {
			m = NewDelta(w, false)
		}
		var got []string
		r := Request{URL: resource.Endpoints.URL(), Subscribe: names}
		for range 10 {
			if _, err := m.Request(zero, r); err != nil {
				t.Fatal(err)
			}
			next := m.Next(zero)
			if next == nil {
				break
			}
			got = append(got, strings.Join(forms(next.Resources), " "))
			r.Nonce = next.Nonce
			if delta {
				r.Subscribe = nil
			}
		}
		if want := "a=a b=b|c=c|d=d"; strings.Join(got, "|") != want {
			t.Errorf("delta %v: %v, want %s", delta, got, want)
		}
	}
}

func TestP07SplitOfMissingNames(t *testing.T) {
	w := newWorld()
	m := NewDelta(w, true)
	long := strings.Repeat("n", MaxNameLength-5)
	var names []string
	for i := range 5000 {
		names = append(names, long+string(rune('a'+i/676))+string(rune('a'+i/26%26))+string(rune('a'+i%26)))
	}
	for _, url := range []string{resource.Cluster.URL(), "nobody.Knows"} {
		r := Request{URL: url, Subscribe: names}
		removed := 0
		for removed < len(names) {
			if _, err := m.Request(zero, r); err != nil {
				t.Fatal(err)
			}
			for next := m.Next(zero); next != nil; next = m.Next(zero) {
				data, err := Codec().Marshal(&packet{Response: next})
				if err != nil || data.Len() > 4<<20 {
					t.Fatalf("a response of %d bytes, %v", data.Len(), err)
				}
				removed += len(next.Removed)
				r = Request{URL: url, Nonce: next.Nonce}
			}
		}
		if removed != len(names) {
			t.Errorf("%s: %d names removed, want %d", url, removed, len(names))
		}
	}
}

func TestBounds(t *testing.T) {
	long := strings.Repeat("n", MaxNameLength+1)
	many := make([]string, MaxNames+1)
	initial := map[string]string{}
	for i := range many {
		many[i] = string(rune('a'+i%26)) + strings.Repeat("x", i/26%97) + string(rune(0x4e00+i/26))
		initial[many[i]] = "1"
	}
	eds, cds := resource.Endpoints.URL(), resource.Cluster.URL()
	for name, c := range map[string]struct {
		delta bool
		r     Request
		code  codes.Code
		text  string
	}{
		"longest name":           {false, Request{URL: eds, Subscribe: []string{long[1:]}}, codes.OK, ""},
		"name too long":          {false, Request{URL: eds, Subscribe: []string{long}}, codes.InvalidArgument, "resource_names: a name has 1025 bytes, at most 1024"},
		"of an unserved type":    {true, Request{URL: "x", Subscribe: []string{long}}, codes.InvalidArgument, "resource_names: a name has 1025 bytes"},
		"unsubscribed too long":  {true, Request{URL: eds, Unsubscribe: []string{long}}, codes.InvalidArgument, "resource_names: a name has 1025 bytes"},
		"initial too long":       {true, Request{URL: eds, Initial: map[string]string{long: "1"}}, codes.InvalidArgument, "a name has 1025 bytes"},
		"version too long":       {true, Request{URL: eds, Initial: map[string]string{"a": long}}, codes.InvalidArgument, "initial_resource_versions: a version has 1025 bytes"},
		"too many initial":       {true, Request{URL: cds, Initial: initial}, codes.ResourceExhausted, "initial_resource_versions: 100001 entries, at most 100000"},
		"most names":             {false, Request{URL: eds, Subscribe: many[1:]}, codes.OK, ""},
		"too many, partial":      {false, Request{URL: eds, Subscribe: many}, codes.ResourceExhausted, "resource_names: more than 100000 names"},
		"too many, full state":   {false, Request{URL: cds, Subscribe: many}, codes.ResourceExhausted, "resource_names: more than 100000 names"},
		"too many, delta":        {true, Request{URL: cds, Subscribe: many}, codes.ResourceExhausted, "resource_names: more than 100000 names"},
		"repeated names are one": {false, Request{URL: eds, Subscribe: append(many[1:], many[1:]...)}, codes.OK, ""},
	} {
		m := NewSotW(newWorld(), true)
		if c.delta {
			m = NewDelta(newWorld(), true)
		}
		_, err := m.Request(zero, c.r)
		if status.Code(err) != c.code || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v %q", name, err, c.code, c.text)
		}
	}
}

func TestStatus(t *testing.T) {
	w := newWorld()
	w.put(resource.Cluster, "a", "1")
	m := NewDelta(w, true)
	if got := m.Status(); got != nil {
		t.Errorf("before the first request: %+v", got)
	}
	request := func(r Request) {
		t.Helper()
		if _, err := m.Request(zero, r); err != nil {
			t.Fatal(err)
		}
	}
	request(Request{URL: resource.Cluster.URL(), Subscribe: []string{"*", "b"}})
	m.Next(zero)
	request(Request{URL: resource.Cluster.URL(), Nonce: "1"})
	w.put(resource.Cluster, "a", "2")
	m.Changed(w.take())
	m.Next(zero.Add(1))
	request(Request{URL: resource.Cluster.URL(), Nonce: "2", Refused: true, Reason: strings.Repeat("é", maxReason)})
	got := m.Status()[0]
	if len(got.Refused.Reason) > maxReason+2 || !strings.HasPrefix(got.Refused.Reason, "éé") {
		t.Errorf("reason of %d bytes: %s", len(got.Refused.Reason), got.Refused.Reason)
	}
	got.Refused.Reason = ""
	want := TypeStatus{
		Type: resource.Cluster, Wildcard: true, Names: 1, Parked: 1,
		Sent:    SentStatus{Revision: 2, Nonce: "2", At: zero.Add(1), Resources: 1},
		Acked:   AckStatus{Revision: 1, At: zero},
		Refused: NackStatus{Revision: 2, At: zero, Names: []string{"a"}, Count: 1},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	names := []NameStatus{
		{
			Type: resource.Cluster, Name: "a", Current: Form{"2", 2},
			Sent: Delivery{Form{"2", 2}, zero.Add(1)}, Acked: Delivery{Form{"1", 1}, zero},
			Refused: Refusal{Delivery{Form{"2", 2}, zero}, m.Status()[0].Refused.Reason},
		},
		{Type: resource.Cluster, Name: "b", Named: true},
	}
	if d := cmp.Diff(names, m.Names()); d != "" {
		t.Error(d)
	}
}
