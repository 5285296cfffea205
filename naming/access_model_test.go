package naming_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"polestar/naming"
)

// directory is who there is and who may do what, in the simplest form: names
// instead of ids, one write after the other.
type directory struct {
	users    map[string]person
	groups   map[string][]string // members
	tokens   map[string]string   // whose: "user ann", "group ops"
	policies map[string][]string // principals, in the same words
}

type person struct {
	main, disabled bool
	identity       string
}

func (d *directory) mains() (n int) {
	for _, p := range d.users {
		if p.main && !p.disabled {
			n++
		}
	}
	return n
}

// do applies one write and says what must come of it.
func (d *directory) do(w naming.Write) string {
	switch x := w.(type) {
	case *naming.Bootstrap:
		if len(d.users) > 0 {
			return "unchanged"
		}
		d.users[x.Name], d.tokens["first"] = person{main: true}, "user "+x.Name
		return "created"
	case *naming.PutUser:
		return d.putUser(x)
	case *naming.DeleteUser:
		was, known := d.users[x.Name]
		switch {
		case !known:
			return "absent"
		case was.main && !was.disabled && d.mains() == 1:
			return "refused"
		}
		delete(d.users, x.Name)
		for name, members := range d.groups {
			d.groups[name] = slices.DeleteFunc(slices.Clone(members), func(m string) bool { return m == x.Name })
		}
		d.forget("user " + x.Name)
		return "deleted"
	case *naming.PutGroup:
		members := named(*x.Members)
		if slices.ContainsFunc(members, func(m string) bool { _, known := d.users[m]; return !known }) {
			return "refused"
		}
		return assign(d.groups, x.Name, members, slices.Equal)
	case *naming.DeleteGroup:
		if _, known := d.groups[x.Name]; !known {
			return "absent"
		}
		delete(d.groups, x.Name)
		d.forget("group " + x.Name)
		return "deleted"
	case *naming.PutToken:
		if _, known := d.tokens[x.ID]; known || !d.known(x.Owner) {
			return "refused"
		}
		d.tokens[x.ID] = x.Owner
		return "created"
	case *naming.PutPolicy:
		who := slices.Concat(*x.Users, *x.Groups)
		if slices.ContainsFunc(who, func(o string) bool { return !d.known(o) }) {
			return "refused"
		}
		return assign(d.policies, x.Name, who, slices.Equal)
	}
	return "?"
}

func (d *directory) putUser(x *naming.PutUser) string {
	was, known := d.users[x.Name]
	if x.Mode == naming.Create && known || x.Mode == naming.Update && !known {
		return "refused"
	}
	now := person{*x.Main, *x.Disabled, ""}
	if len(*x.Identities) > 0 {
		now.identity = (*x.Identities)[0]
	}
	for name, p := range d.users {
		if name != x.Name && p.identity != "" && p.identity == now.identity {
			return "refused"
		}
	}
	if was.main && !was.disabled && (!now.main || now.disabled) && d.mains() == 1 {
		return "refused"
	}
	return assign(d.users, x.Name, now, func(a, b person) bool { return a == b })
}

// assign sets a value and says what that was.
func assign[V any](m map[string]V, key string, v V, same func(V, V) bool) string {
	was, known := m[key]
	m[key] = v
	switch {
	case !known:
		return "created"
	case same(was, v):
		return "unchanged"
	}
	return "updated"
}

func (d *directory) forget(who string) {
	maps.DeleteFunc(d.tokens, func(_, owner string) bool { return owner == who })
	for name, all := range d.policies {
		d.policies[name] = slices.DeleteFunc(slices.Clone(all), func(p string) bool { return p == who })
	}
}

func (d *directory) known(who string) bool {
	for name := range d.users {
		if "user "+name == who {
			return true
		}
	}
	for name := range d.groups {
		if "group "+name == who {
			return true
		}
	}
	return false
}

// named turns ids into names. Ids are words here, "user ann", and who comes
// again has the one that he had, so that what was left of him would show.
func named(ids []string) (out []string) {
	for _, id := range ids {
		out = append(out, id[len("user "):])
	}
	return out
}

func drawAccess(t *rapid.T) naming.Write {
	user := rapid.SampledFrom([]string{"ann", "bob", "root"})
	name := user.Draw(t, "name")
	group := rapid.SampledFrom([]string{"ops", "dev"}).Draw(t, "group")
	who := rapid.SampledFrom([]string{"user ann", "user bob", "group ops", "group dev"}).Draw(t, "who")
	switch rapid.IntRange(0, 10).Draw(t, "kind") {
	case 0:
		return &naming.Bootstrap{UserID: "user root", Name: "root", TokenID: "first", Hash: "first"}
	case 1:
		return &naming.DeleteUser{Name: name}
	case 2, 3:
		members := rapid.SliceOfNDistinct(user, 0, 2, rapid.ID[string]).Draw(t, "members")
		slices.Sort(members)
		for n := range members {
			members[n] = "user " + members[n]
		}
		return &naming.PutGroup{ID: "group " + group, Name: group, Members: &members}
	case 4:
		return &naming.DeleteGroup{Name: group}
	case 5, 6:
		id := rapid.SampledFrom([]string{"t1", "t2", "t3"}).Draw(t, "token")
		return &naming.PutToken{ID: id, Mode: naming.Create, Owner: who, Hash: id}
	case 7:
		users, groups := []string{}, []string{}
		if who[0] == 'u' {
			users = append(users, who)
		} else {
			groups = append(groups, who)
		}
		return &naming.PutPolicy{ID: "policy p", Name: "p", Users: &users, Groups: &groups}
	default:
		identities := rapid.SampledFrom([][]string{{}, {"x"}, {"y"}}).Draw(t, "identities")
		return &naming.PutUser{
			ID: "user " + name, Name: name, Mode: rapid.SampledFrom([]naming.Mode{naming.Upsert, naming.Create, naming.Update}).Draw(t, "mode"),
			Main: new(rapid.Bool().Draw(t, "main")), Disabled: new(rapid.Bool().Draw(t, "disabled")), Identities: &identities,
		}
	}
}

// Any sequence of groups of writes ends in what the same writes make one by
// one in the simple model, with the same answers, and fits together.
func TestAnySequenceOfAccessEqualsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &directory{map[string]person{}, map[string][]string{}, map[string]string{}, map[string][]string{}}
		s := newShelf()
		d.do(&naming.Bootstrap{Name: "root"})
		s.apply(t, &naming.Bootstrap{UserID: "user root", Name: "root", TokenID: "first", Hash: "first"})
		for range rapid.IntRange(1, 8).Draw(t, "groups") {
			group := rapid.SliceOfN(rapid.Custom(drawAccess), 0, 6).Draw(t, "group")
			was := s.head
			commit, results := s.apply(t, group...)
			var want, got []string
			for n, w := range group {
				want, got = append(want, d.do(w)), append(got, word(results[n]))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("answers (-model +plan):\n%s", diff)
			}
			checkCommit(t, was, map[string]*naming.Instance{}, commit, results)
			checkDirectory(t, d, s)
		}
	})
}

func checkDirectory(t *rapid.T, d *directory, s *shelf) {
	stored := &directory{map[string]person{}, map[string][]string{}, map[string]string{}, map[string][]string{}}
	var check naming.AccessCheck
	defaults := 0
	for _, o := range s.access {
		check.Add(o)
		switch x := o.(type) {
		case *naming.User:
			p := person{x.Main, x.Disabled, ""}
			if len(x.Identities) > 0 {
				p.identity = x.Identities[0]
			}
			stored.users[x.Name] = p
		case *naming.Group:
			stored.groups[x.Name] = named(x.Members)
		case *naming.Token:
			stored.tokens[x.ID] = x.Owner
		case *naming.Policy:
			if x.Default {
				defaults++
				continue
			}
			stored.policies[x.Name] = slices.Concat(x.Users, x.Groups)
		}
	}
	for _, p := range check.Problems() {
		t.Fatal(p)
	}
	if defaults != len(d.users)+len(d.groups) {
		t.Fatalf("%d default policies of %d users and %d groups", defaults, len(d.users), len(d.groups))
	}
	for _, two := range [][2]any{{d.users, stored.users}, {d.groups, stored.groups}, {d.tokens, stored.tokens}, {d.policies, stored.policies}} {
		if got, want := fmt.Sprint(two[1]), fmt.Sprint(two[0]); got != want {
			t.Fatalf("stored %s, the model has %s", got, want)
		}
	}
}
