package web

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

// historyPage is an answer of the history.
type historyPage struct {
	History []Change
	Next    string
	Log     Reach
}

// brief is a change in short.
func (c *Change) brief() string {
	return fmt.Sprintf("%d:%d %s %s %s", c.Revision, c.Index, c.Kind, c.Action, c.Cause)
}

func briefs(all []Change) (out []string) {
	for _, c := range all {
		out = append(out, c.brief())
	}
	return out
}

func TestHistoryTellsWhoDidWhatAndWhy(t *testing.T) {
	b := newBackend(t)
	s := doorOf(b, true)
	must[Mutation](t, send(s, "PATCH", "/api/v1/instances/i1", `{"isolated":true,"weight":0,"reason":"disk"}`), 200)
	b.do(t, &naming.Register{Instance: naming.Instance{
		ID: "i1", Service: naming.ServiceKey{Namespace: "ns", Name: "svc"}, Host: "10.0.0.1", Port: 80, Weight: 9, TTL: 5, Version: "2",
	}, Actor: naming.Actor{Principal: "team-a", Address: "10.9.9.9", Agent: "go/1"}})
	b.do(t, &naming.SetHealth{ID: "i1", Cause: naming.CauseLease})
	got := must[historyPage](t, get(s, "/api/v1/history"), 200)
	want := []string{
		"5:0 instance updated lease expired", "4:0 instance updated client", "3:0 instance updated operator",
		"2:1 service created operator", "2:0 namespace created auto-created",
		"1:2 instance created client", "1:1 service created auto-created", "1:0 namespace created auto-created",
	}
	if diff := cmp.Diff(want, briefs(got.History)); diff != "" || got.Next != "" {
		t.Fatalf("next %q (-want +got):\n%s", got.Next, diff)
	}
	operator := got.History[2]
	if operator.Actor.Address != "192.0.2.1" || operator.Actor.Agent != "test/1" || operator.Reason != "disk" || operator.Host != "10.0.0.1" || operator.Port != 80 || operator.ID != "i1" || operator.Time == "" {
		t.Errorf("%+v", operator)
	}
	if diff := cmp.Diff([]Difference{
		{"weight", 7.0, 0.0}, {"isolated", false, true}, {"set.weight", nil, 0.0}, {"set.isolated", nil, true},
	}, operator.Fields); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	client := got.History[1]
	if diff := cmp.Diff([]Difference{{"own.weight", 7.0, 9.0}, {"version", "", "2"}, {"ttl_seconds", 0.0, 5.0}}, client.Fields); diff != "" || client.Actor.Principal != "team-a" {
		t.Errorf("%+v (-want +got):\n%s", client.Actor, diff)
	}
	if lease := got.History[0]; lease.Actor != (Actor{}) || lease.Fields[0] != (Difference{"healthy", true, false}) {
		t.Errorf("%+v", lease)
	}
	if got.Log.OldestRevision != 1 || got.Log.NewestRevision != 5 || got.Log.MaxRevisions != 9 {
		t.Errorf("%+v", got.Log)
	}
	for filter, want := range map[string]int{
		"namespace=ns": 6, "namespace=other": 2, "service=svc": 6, "kind=service": 2, "kind=instance&instance=i1": 4, "instance=none": 0,
		"actor=team-a": 1, "actor=10.9.9.9": 1, "actor=192.0.2.1": 1, "cause=operator": 2, "cause=lease-expired": 1, "cause=lease expired": 1,
		"revision=2": 2, "revision=99": 0, "before=2": 3, "before=2:1": 4, "limit=0": 0,
		"since=2000-01-01T00:00:00Z": 8, "until=2000-01-01T00:00:00Z": 0, "since=2999-01-01T00:00:00%2B01:00": 0,
	} {
		got := must[historyPage](t, get(s, "/api/v1/history?"+strings.ReplaceAll(filter, " ", "%20")), 200)
		if len(got.History) != want {
			t.Errorf("%s: %v, want %d", filter, briefs(got.History), want)
		}
	}
	for filter, want := range map[string][2]string{
		"kind=pod": {"kind", "instance"}, "cause=magic": {"cause", "lease-expired"}, "since=yesterday": {"since", "2006-01-02"}, "before=x": {"before", "revision:index"},
		"before=1:-1": {"before", "revision:index"}, "revision=x": {"revision", "revision"}, "limit=1001": {"limit", "1000"}, "offset=1": {"offset", "before"},
	} {
		if p := must[refused](t, get(s, "/api/v1/history?"+filter), 400); p.Parameter != want[0] || !strings.Contains(p.Detail, want[1]) {
			t.Errorf("%s: %+v", filter, p)
		}
	}
}

// Pages of any size meet: each change is on exactly one.
func TestPagesOfHistoryMeet(t *testing.T) {
	b := newBackend(t)
	s := doorOf(b, true)
	for n := range 70 { // more than one chunk
		b.do(t, &naming.Modify{ID: "i1", Set: naming.Setting{Weight: new(uint32(n + 100))}})
	}
	for _, limit := range []int{1, 3, 32, 1000} {
		var all []string
		next := ""
		for {
			got := must[historyPage](t, get(s, "/api/v1/history?limit="+strconv.Itoa(limit)+"&before="+next), 200)
			all = append(all, briefs(got.History)...)
			if next = got.Next; next == "" {
				break
			}
		}
		if len(all) != 75 || all[0] != "72:0 instance updated operator" || all[74] != "1:0 namespace created auto-created" {
			t.Errorf("limit %d: %d changes, from %q to %q", limit, len(all), all[0], all[len(all)-1])
		}
		seen := map[string]bool{}
		for _, c := range all {
			if seen[c] {
				t.Errorf("limit %d: %s is there twice", limit, c)
			}
			seen[c] = true
		}
	}
}

// long is a change log of so many commits of 100 changes each; it counts what
// is read.
type long struct {
	commits naming.Revision
	size    int // of a value in each change
	read    int
}

func (l *long) Before(_ context.Context, before naming.Revision, limit int) (out []naming.Commit, err error) {
	if before == 0 || before > l.commits {
		before = l.commits + 1
	}
	for rev := before - 1; rev > 0 && len(out) < limit; rev-- {
		c := naming.Commit{Revision: rev}
		for range 100 {
			c.Changes = append(c.Changes, naming.Change{After: &naming.Namespace{Name: "n", Comment: strings.Repeat("x", l.size)}})
		}
		out = append(out, c)
		l.read += len(c.Changes)
	}
	return out, nil
}

func (l *long) Since(context.Context, naming.Revision, int) ([]naming.Commit, error) { return nil, nil }

func (l *long) Oldest(context.Context) (naming.Revision, error) { return 1, nil }

// A search that finds nothing, or too much, ends before it has read the whole
// log or made an endless answer, and says where to go on.
func TestASearchIsBounded(t *testing.T) {
	s := door(t, true)
	log := &long{commits: 1000}
	s.deps.ChangeLog = log
	got := must[historyPage](t, get(s, "/api/v1/history?namespace=none"), 200)
	if len(got.History) != 0 || got.Next != "800:100" || log.read > historyScanned+historyChunk*100 {
		t.Errorf("%d found, next %q, %d read", len(got.History), got.Next, log.read)
	}
	pages := 1
	for got.Next != "" {
		got = must[historyPage](t, get(s, "/api/v1/history?namespace=none&before="+got.Next), 200)
		pages++
	}
	if pages != 5 {
		t.Errorf("%d pages", pages)
	}
	log.size = 100 << 10
	w := get(s, "/api/v1/history?limit=1000")
	if got = must[historyPage](t, w, 200); w.Body.Len() > historyBytes+historyBytes/4 || got.Next == "" || len(got.History) == 0 {
		t.Errorf("%d bytes, %d changes, next %q", w.Body.Len(), len(got.History), got.Next)
	}
}

// Who may do what has a history, too, and no secret is in it.
func TestHistoryOfAccessKeepsSecrets(t *testing.T) {
	b := newBackend(t)
	s := doorOf(b, true)
	first, second := "$argon2id$"+"Zmlyc3Q", "$argon2id$"+"c2Vjb25k"
	hash := strings.Repeat("d", 64)
	by := naming.Actor{Principal: "root", ID: strings.Repeat("1", 32)}
	b.do(t, &naming.Bootstrap{UserID: strings.Repeat("1", 32), Name: "root", TokenID: strings.Repeat("2", 32), Hash: hash})
	b.do(t, &naming.PutUser{Name: "root", Password: new(first), Actor: by})
	b.do(t, &naming.PutUser{Name: "root", Password: new(second), Reason: "leaked", Actor: by})
	b.do(t, &naming.RecordRefusals{Refusals: []naming.Refusal{{
		Principal: "eve", Address: "10.0.0.9", Action: "write", Service: naming.ServiceKey{Namespace: "ns", Name: "svc"}, Reason: "forbidden",
		Method: "PUT /api/v1/services/ns/svc", Count: 3, First: 1_000_000, Last: 2_000_000,
	}}})
	for _, path := range []string{"/api/v1/history", "/api/v1/events?since=0&follow=false"} {
		body := get(s, path).Body.String()
		for _, secret := range []string{"argon2id", "Zmlyc3Q", "c2Vjb25k", hash} {
			if strings.Contains(body, secret) {
				t.Errorf("%s shows %s: %s", path, secret, body)
			}
		}
		if !strings.Contains(body, "root") || !strings.Contains(body, "eve") {
			t.Errorf("%s lacks the user or the refusal: %s", path, body)
		}
	}
	got := must[historyPage](t, get(s, "/api/v1/history?kind=user"), 200).History
	if len(got) != 3 || got[0].ID != "root" || got[0].Actor.Principal != "root" || got[0].Reason != "leaked" {
		t.Fatalf("%+v", got)
	}
	for n, want := range [][]Difference{{{"password", "set", "set"}}, {{"password", "", "set"}}} {
		if diff := cmp.Diff(want, got[n].Fields); diff != "" {
			t.Errorf("change %d (-want +got):\n%s", n, diff)
		}
	}
	if tokens := must[historyPage](t, get(s, "/api/v1/history?kind=token"), 200).History; len(tokens) != 1 || tokens[0].Fields[1] != (Difference{"hash", nil, "set"}) {
		t.Errorf("tokens: %+v", tokens)
	}
	refusals := must[historyPage](t, get(s, "/api/v1/history?kind=refusal&cause=refused&actor=eve&namespace=ns"), 200).History
	if len(refusals) != 1 || refusals[0].Service != "svc" || refusals[0].Reason != "forbidden" || refusals[0].Actor.Address != "10.0.0.9" {
		t.Fatalf("refusals: %+v", refusals)
	}
	fields := map[string]any{}
	for _, d := range refusals[0].Fields {
		fields[d.Field] = d.After
	}
	if fields["count"] != "3" || fields["action"] != "write" || fields["method"] != "PUT /api/v1/services/ns/svc" || fields["last"] != "1970-01-01T00:00:02Z" {
		t.Errorf("%v", fields)
	}
	if all := must[historyPage](t, get(s, "/api/v1/history?kind=policy"), 200).History; len(all) != 1 || all[0].ID != "default-user-root" {
		t.Errorf("policies: %+v", all)
	}
}
