package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

// hexID makes an id out of one digit.
func hexID(digit string) string { return strings.Repeat(digit, 32) }

func hexHash(digit string) string { return strings.Repeat(digit, 64) }

func bootstrap(user, token string) *naming.Bootstrap {
	return &naming.Bootstrap{UserID: hexID(user), Name: "root", TokenID: hexID(token), Hash: hexHash(token)}
}

// outcome is what became of a write, in words.
func outcome(r naming.Result) string {
	if e, ok := errors.AsType[*naming.Error](r.Err); ok {
		return fmt.Sprint(e.Kind, " ", e.Field)
	}
	return fmt.Sprint(r.Outcome)
}

// people has a main user "root" (1), the users "ann" (2) and "Ann" (3), the
// group "ops" (4) of both, a token (b) of ann and a policy (c) for all of them.
func people(f *fixture) {
	f.t.Helper()
	_, rs := f.apply(
		bootstrap("1", "a"),
		&naming.PutUser{
			ID: hexID("2"), Name: "ann", Comment: new("a\ncomment"), Password: new("$argon2id$x"), Identities: &[]string{"ann.example", "spiffe://x/ann"},
		},
		&naming.PutUser{ID: hexID("3"), Name: "Ann", Disabled: new(true)},
		&naming.PutGroup{ID: hexID("4"), Name: "ops", Members: &[]string{hexID("2"), hexID("3")}},
		&naming.PutToken{ID: hexID("b"), Mode: naming.Create, Owner: hexID("2"), Hash: hexHash("b"), Comment: new("c"), Expires: new(naming.Micros(7))},
		&naming.PutPolicy{
			ID: hexID("c"), Name: "运维", Deny: new(true), Users: &[]string{"*", hexID("2")}, Groups: &[]string{hexID("4")}, Actions: &[]string{"discover", "read"},
			Resources: &[]naming.Selector{{Namespace: "z", Service: "*"}, {Namespace: "*"}, {Created: true}, {Namespace: "a", Service: "s"}},
		},
	)
	for n, r := range rs {
		if r.Err != nil || r.Outcome != naming.Created {
			f.t.Fatalf("write %d: %v, %v", n, r.Outcome, r.Err)
		}
	}
}

// Users, groups, tokens and policies come back as they were written, with the
// rules that hold between them.
func testAccess(t *testing.T, f *fixture) {
	people(f)
	f.reopen()
	_, objects, _ := f.world()
	if len(objects) != 3+1+2+1+4 { // users, group, tokens, policy, default policies
		t.Errorf("%d objects: %v", len(objects), objects)
	}
	ann, _ := objects["user "+hexID("2")].(*naming.User)
	if ann == nil || ann.Name != "ann" || ann.Password != "$argon2id$x" || len(ann.Identities) != 2 || ann.Comment != "a\ncomment" || ann.Main {
		t.Errorf("user: %+v", ann)
	}
	policy, _ := objects["policy "+hexID("c")].(*naming.Policy)
	if policy == nil || !policy.Deny || len(policy.Resources) != 4 || policy.Resources[0].Namespace != "z" || len(policy.Actions) != 2 || policy.Name != "运维" {
		t.Errorf("policy: %+v", policy)
	}
	conflict := func(field string) string { return fmt.Sprint(naming.Conflict, " ", field) }
	missing := func(field string) string { return fmt.Sprint(naming.NotFound, " ", field) }
	exists := func(field string) string { return fmt.Sprint(naming.Exists, " ", field) }
	for _, c := range []struct {
		name string
		w    naming.Write
		want string
	}{
		{"another user of the name", &naming.PutUser{ID: hexID("9"), Name: "ann", Mode: naming.Create}, exists(naming.FieldUser)},
		{"a user that is not there", &naming.PutUser{Name: "ANN", Mode: naming.Update}, missing(naming.FieldUser)},
		{"an identity of somebody else", &naming.PutUser{Name: "Ann", Identities: &[]string{"ann.example"}}, conflict(naming.FieldIdentities)},
		{"another revision", &naming.PutUser{Name: "ann", Disabled: new(true), If: 99}, conflict(naming.FieldRevision)},
		{"the last main user is disabled", &naming.PutUser{Name: "root", Disabled: new(true)}, conflict(naming.FieldUser)},
		{"the last main user is demoted", &naming.PutUser{Name: "root", Main: new(false)}, conflict(naming.FieldUser)},
		{"the last main user goes", &naming.DeleteUser{Name: "root"}, conflict(naming.FieldUser)},
		{"a member that does not exist", &naming.PutGroup{Name: "ops", Members: &[]string{hexID("9")}}, missing(naming.FieldMembers)},
		{"a token of nobody", &naming.PutToken{ID: hexID("9"), Mode: naming.Create, Owner: hexID("9"), Hash: hexHash("9")}, missing(naming.FieldOwner)},
		{"a hash twice", &naming.PutToken{ID: hexID("9"), Mode: naming.Create, Owner: hexID("3"), Hash: hexHash("b")}, exists(naming.FieldToken)},
		{"a principal that does not exist", &naming.PutPolicy{Name: "运维", Users: &[]string{hexID("9")}}, missing(naming.FieldUsers)},
		{"principals of a default policy", &naming.PutPolicy{Name: "default-user-ann", Users: &[]string{"*"}}, conflict(naming.FieldUsers)},
		{"a default policy alone", &naming.DeletePolicy{Name: "default-user-ann"}, conflict(naming.FieldPolicy)},
		{"the same again", &naming.PutUser{Name: "ann", Identities: &[]string{"ann.example", "spiffe://x/ann"}}, fmt.Sprint(naming.Unchanged)},
		{"what is not there goes", &naming.DeleteToken{ID: hexID("9")}, fmt.Sprint(naming.Absent)},
	} {
		commit, rs := f.apply(c.w)
		if got := outcome(rs[0]); got != c.want || commit.Revision != 0 {
			t.Errorf("%s: %s at revision %d, want %s", c.name, got, commit.Revision, c.want)
		}
	}
	testForgotten(t, f)
}

// Who goes takes along what belongs to it, in one commit.
func testForgotten(t *testing.T, f *fixture) {
	commit, rs := f.apply(&naming.DeleteUser{Name: "ann", Reason: "left"})
	if rs[0].Outcome != naming.Deleted || rs[0].User.Name != "ann" {
		t.Fatalf("%+v", rs[0])
	}
	got := map[string]string{}
	for _, c := range commit.Changes {
		what := "updated"
		if c.Deleted() {
			what = "deleted"
		}
		if c.Reason != "left" || !c.Deleted() && c.After.ObjectRevision() != commit.Revision {
			t.Errorf("%+v", c)
		}
		got[c.Object().ObjectKind().String()+" "+c.Object().ObjectKey()[:1]] = what
	}
	want := map[string]string{"user 2": "deleted", "policy 2": "deleted", "token b": "deleted", "group 4": "updated", "policy c": "updated"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// The name, the identity and the text of the token are free again.
	f.reopen()
	f.apply(&naming.DeleteGroup{Name: "ops"}, &naming.DeletePolicy{Name: "运维"})
	_, rs = f.apply(&naming.PutUser{ID: hexID("5"), Name: "ann", Mode: naming.Create, Main: new(true), Identities: &[]string{"ann.example"}},
		&naming.PutToken{ID: hexID("d"), Mode: naming.Create, Owner: hexID("5"), Hash: hexHash("b")}, &naming.DeleteUser{Name: "root"})
	for n, r := range rs {
		if r.Err != nil {
			t.Errorf("write %d: %v", n, r.Err)
		}
	}
	f.reopen()
	if _, objects, _ := f.world(); len(objects) != 2+2+1 {
		t.Errorf("left: %v", objects)
	}
}

// Servers that start at the same moment make one main user between them.
func testBootstrap(t *testing.T, f *fixture) {
	const servers = 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for n := range servers {
		wg.Go(func() {
			_, rs, err := f.Apply(t.Context(), []naming.Write{bootstrap(fmt.Sprintf("%x", n), fmt.Sprintf("%x", n+8))})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil || rs[0].Err != nil:
				t.Errorf("server %d: %v, %v", n, err, rs)
			case rs[0].Outcome == naming.Created:
				made++
			case rs[0].Outcome != naming.Unchanged || rs[0].Revision != 1:
				t.Errorf("server %d: %+v", n, rs[0])
			}
		})
	}
	wg.Wait()
	head, objects, _ := f.world()
	if made != 1 || head != 1 || len(objects) != 3 {
		t.Errorf("%d servers made a main user; revision %d, %v", made, head, objects)
	}
}

// Refusals are in the change log, and nowhere else.
func testRefusals(t *testing.T, f *fixture) {
	people(f)
	_, before, _ := f.world()
	first := naming.Refusal{
		Principal: "ann", Address: "10.0.0.1", Action: "read", Service: naming.ServiceKey{Namespace: "n", Name: "s"}, Reason: "forbidden", Method: "GET /x",
		Count: 3, First: 5, Last: 6,
	}
	commit, rs := f.apply(&naming.RecordRefusals{Refusals: []naming.Refusal{first, {}}})
	if commit.Revision != 2 || rs[0].Revision != 2 || len(commit.Changes) != 2 {
		t.Fatalf("%+v %+v", commit, rs)
	}
	f.reopen()
	head, after, _ := f.world()
	if diff := cmp.Diff(before, after); diff != "" || head != 2 {
		t.Errorf("head %d: %s", head, diff)
	}
	log, err := f.Since(t.Context(), 1, 10)
	if err != nil || len(log) != 1 {
		t.Fatalf("%d commits, %v", len(log), err)
	}
	if diff := cmp.Diff(commit, log[0]); diff != "" {
		t.Error(diff)
	}
	if c := log[0].Changes[0]; cmp.Diff(&first, c.After) != "" || c.Cause != naming.CauseRefused || c.Actor.Principal != "ann" || c.Actor.Address != "10.0.0.1" {
		t.Errorf("%+v", c)
	}
	if c, rs := f.apply(&naming.RecordRefusals{}); c.Revision != 0 || rs[0].Outcome != naming.Unchanged || rs[0].Revision != 2 {
		t.Errorf("no refusals: %+v %+v", c, rs)
	}
}

// Who created a namespace or a service is kept with it, whoever changes it
// later; the log says who that was.
func testCreator(t *testing.T, f *fixture) {
	i := Instance("svc", 1)
	w := register(i)
	w.Actor = naming.Actor{Principal: "ann", ID: hexID("2"), Address: "10.0.0.1", Agent: "go"}
	other := naming.Actor{Principal: "bob", ID: hexID("3")}
	alias := naming.ServiceKey{Namespace: "other", Name: "alias"}
	f.apply(w)
	f.apply(&naming.PutService{Key: i.Service, Comment: new("c"), Actor: other}, &naming.PutNamespace{Name: "ns", Comment: new("c"), Actor: other},
		&naming.PutNamespace{Name: "made", Actor: other},
		&naming.PutAlias{Key: alias, For: i.Service, AutoCreate: true, Actor: other})
	f.reopen()
	_, objects, _ := f.world()
	for name, want := range map[string]string{
		"namespace ns": "", "namespace other": "", // they came by the way, and are nobody's
		"service ns\x00svc": hexID("2"), "service other\x00alias": hexID("3"), "namespace made": hexID("3"),
	} {
		got := "missing"
		switch x := objects[name].(type) {
		case *naming.Namespace:
			got = x.Creator
		case *naming.Service:
			got = x.Creator
		}
		if got != want {
			t.Errorf("%q was created by %q, want %q", name, got, want)
		}
	}
	log, err := f.Since(t.Context(), 0, 1)
	if err != nil || len(log) != 1 || log[0].Changes[0].Actor != w.Actor {
		t.Errorf("log: %+v, %v", log, err)
	}
}
