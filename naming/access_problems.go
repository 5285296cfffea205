package naming

import (
	"fmt"
	"slices"
)

// AccessCheck gathers users, groups, tokens and policies, and tells what of them
// does not fit together. The zero value has none.
type AccessCheck struct{ all access }

// Add takes an object; those of other kinds are ignored.
func (c *AccessCheck) Add(o Object) {
	if c.all.users == nil {
		c.all = *newAccess()
	}
	c.all.place(o)
}

// Problems tells in words what the writes of this package never leave.
func (c *AccessCheck) Problems() (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	unique := map[string]string{}
	once := func(what, value, of string) {
		if value == "" {
			return
		}
		if other, taken := unique[what+"\x00"+value]; taken {
			say("%s and %s have the same %s", other, of, what)
		}
		unique[what+"\x00"+value] = of
	}
	main := len(c.all.users) == 0
	for _, u := range sorted(c.all.users) {
		main = main || u.Main && !u.Disabled
		c.owned(say, KindUser, u.ID)
		once("name of a user", u.Name, "user "+u.ID)
		for _, name := range u.Identities {
			once("identity", name, "user "+u.ID)
		}
	}
	if !main {
		say("no user that is not disabled is a main user")
	}
	for _, g := range sorted(c.all.groups) {
		c.owned(say, KindGroup, g.ID)
		once("name of a group", g.Name, "group "+g.ID)
		for _, id := range g.Members {
			if c.all.users[id] == nil {
				say("group %s has the member %s, who does not exist", g.ID, id)
			}
		}
	}
	for _, t := range sorted(c.all.tokens) {
		once("hash", t.Hash, "token "+t.ID)
		if !c.all.owner(t.Owner) {
			say("token %s belongs to %s, which is neither a user nor a group", t.ID, t.Owner)
		}
	}
	for _, p := range sorted(c.all.policies) {
		once("name of a policy", p.Name, "policy "+p.ID)
		if p.Default && !c.all.owner(p.ID) {
			say("default policy %s is of nobody", p.ID)
		}
		if err := c.all.principals(nil, p); err != nil {
			say("policy %s: %s", p.ID, err.Msg)
		}
	}
	return out
}

// owned looks for the default policy of a user or group.
func (c *AccessCheck) owned(say func(string, ...any), kind Kind, id string) {
	p := c.all.policies[id]
	if p == nil || !p.Default || !slices.Contains(slices.Concat(p.Users, p.Groups), id) {
		say("%s %s has no default policy", kind, id)
	}
}
