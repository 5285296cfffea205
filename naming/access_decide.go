package naming

import "slices"

// access is all users, groups, tokens and policies as the group of writes
// leaves them so far.
type access struct {
	users    map[string]*User // by id
	groups   map[string]*Group
	tokens   map[string]*Token
	policies map[string]*Policy
}

func newAccess() *access {
	return &access{map[string]*User{}, map[string]*Group{}, map[string]*Token{}, map[string]*Policy{}}
}

// accessible reads them once; put keeps them up to date.
func (o *overlay) accessible() (*access, error) {
	if o.access != nil {
		return o.access, nil
	}
	a := newAccess()
	if err := o.view.Access(a.place); err != nil {
		return nil, err
	}
	o.access = a
	return a, nil
}

func (a *access) place(x Object) {
	switch x := x.(type) {
	case *User:
		a.users[x.ID] = x
	case *Group:
		a.groups[x.ID] = x
	case *Token:
		a.tokens[x.ID] = x
	case *Policy:
		a.policies[x.ID] = x
	}
}

// changed keeps what a change did to an object of access.
func (a *access) changed(c *Change) {
	switch {
	case a == nil:
	case !c.Deleted():
		a.place(c.After)
	default:
		key := c.Before.ObjectKey()
		switch c.Before.(type) {
		case *User:
			delete(a.users, key)
		case *Group:
			delete(a.groups, key)
		case *Token:
			delete(a.tokens, key)
		case *Policy:
			delete(a.policies, key)
		}
	}
}

// first returns the value that a condition holds for, nil when there is none;
// conditions hold for one at most.
func first[T any](all map[string]*T, holds func(*T) bool) *T {
	for _, x := range all {
		if holds(x) {
			return x
		}
	}
	return nil
}

func (a *access) user(name string) *User {
	return first(a.users, func(u *User) bool { return u.Name == name })
}

func (a *access) group(name string) *Group {
	return first(a.groups, func(g *Group) bool { return g.Name == name })
}

func (a *access) policy(name string) *Policy {
	return first(a.policies, func(p *Policy) bool { return p.Name == name })
}

// ownPolicies counts those that did not come with a user or a group.
func (a *access) ownPolicies() (n int) {
	for _, p := range a.policies {
		if !p.Default {
			n++
		}
	}
	return n
}

// owner reports whether an id is that of a user or a group.
func (a *access) owner(id string) bool { return a.users[id] != nil || a.groups[id] != nil }

// expected refuses a write whose mode or revision does not fit what is there.
func expected(k Kind, field, name string, before Object, mode Mode, want Revision) *Error {
	switch {
	case before == nil && mode == Update:
		return Errorf(NotFound, field, "%s %q does not exist", k, name)
	case before != nil && mode == Create:
		return Errorf(Exists, field, "%s %q exists", k, name)
	case before == nil && want != 0:
		return vanished(k, name, want)
	case before != nil:
		return stale(before, want)
	}
	return nil
}

// full refuses one more object than there may be.
func full(k Kind, have, most int) *Error {
	if have < most {
		return nil
	}
	return Errorf(Conflict, FieldRequest, "there are %d of kind %s already; more are not kept", have, k)
}

// keep stores an object of access unless nothing of it differs. res gets it.
func keep[T any, P interface {
	*T
	Object
}](o *overlay, before, after P, same bool, c Change, res func(P) Result,
) Result {
	if before != nil && same {
		out := res(before)
		out.Outcome = Unchanged
		return out
	}
	var was Object // a nil P in an Object would not be nil
	out := res(after)
	out.Outcome, out.Revision = Created, o.revision
	if before != nil {
		was, out.Outcome = before, Updated
	}
	o.put(was, after, c)
	return out
}

func (w *PutUser) decide(o *overlay) (Result, error) {
	a, err := o.accessible()
	if err != nil {
		return Result{}, err
	}
	before := a.user(w.Name)
	if err := expected(KindUser, FieldUser, w.Name, objectOf(before), w.Mode, w.If); err != nil {
		return refuse(err), nil
	}
	after := &User{ID: w.ID, Name: w.Name, Created: o.now}
	if before != nil {
		*after = *before
	} else if err := firstOf(full(KindUser, len(a.users), MaxUsers), a.free(w.ID)); err != nil {
		return refuse(err), nil
	}
	put(&after.Comment, w.Comment)
	put(&after.Main, w.Main)
	put(&after.Password, w.Password)
	put(&after.Identities, w.Identities)
	put(&after.Disabled, w.Disabled)
	if err := firstOf(a.lastMain(before, after), a.identities(after)); err != nil {
		return refuse(err), nil
	}
	same := before != nil && before.same(after)
	after.Modified, after.Revision = o.now, o.revision
	c := Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason}
	out := keep(o, before, after, same, c, func(u *User) Result { return Result{User: u} })
	if before == nil {
		o.put(nil, o.defaultPolicy(after.ID, "user", after.Name), c)
	}
	return out, nil
}

// soAlready is the answer of a write that finds what it wants. Neighbours in its
// group may have made it so.
func (o *overlay) soAlready(what Outcome) Result {
	if len(o.changes) > 0 {
		return Result{Outcome: what, Revision: o.revision}
	}
	return Result{Outcome: what}
}

// objectOf is a pointer as an Object, nil for nil.
func objectOf[T any, P interface {
	*T
	Object
}](x P) Object {
	if x == nil {
		return nil
	}
	return x
}

func firstOf(all ...*Error) *Error {
	for _, e := range all {
		if e != nil {
			return e
		}
	}
	return nil
}

// free refuses the id of another user or group.
func (a *access) free(id string) *Error {
	if a.owner(id) || a.policies[id] != nil {
		return Errorf(Conflict, FieldID, "id: %q is in use", id)
	}
	return nil
}

// lastMain refuses to leave nobody who may do everything; after nil: before is
// removed.
func (a *access) lastMain(before, after *User) *Error {
	if before == nil || !before.Main || before.Disabled || after != nil && after.Main && !after.Disabled {
		return nil
	}
	if first(a.users, func(u *User) bool { return u.ID != before.ID && u.Main && !u.Disabled }) != nil {
		return nil
	}
	return Errorf(Conflict, FieldUser, "user %q is the last main user that is not disabled; make another one first", before.Name)
}

// identities refuses one that another user has.
func (a *access) identities(u *User) *Error {
	for _, id := range u.Identities {
		other := first(a.users, func(o *User) bool { return o.ID != u.ID && slices.Contains(o.Identities, id) })
		if other != nil {
			return Errorf(Conflict, FieldIdentities, "identities: %q is user %q", id, other.Name)
		}
	}
	return nil
}

// DefaultPolicyPrefix begins the names of policies that came with a user or a
// group: what these created is theirs.
const DefaultPolicyPrefix = "default-"

func (o *overlay) defaultPolicy(owner, kind, name string) *Policy {
	p := &Policy{
		ID: owner, Name: DefaultPolicyPrefix + kind + "-" + name, Default: true, Actions: []string{"*"}, Resources: []Selector{{Created: true}},
		Created: o.now, Modified: o.now, Revision: o.revision,
	}
	if kind == "group" {
		p.Groups = []string{owner}
	} else {
		p.Users = []string{owner}
	}
	return p
}

func (w *DeleteUser) decide(o *overlay) (Result, error) {
	a, err := o.accessible()
	if err != nil {
		return Result{}, err
	}
	before := a.user(w.Name)
	if before == nil {
		return o.soAlready(Absent), nil
	}
	if err := firstOf(stale(before, w.If), a.lastMain(before, nil)); err != nil {
		return refuse(err), nil
	}
	c := Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason}
	o.put(before, nil, c)
	for _, g := range sorted(a.groups) {
		if slices.Contains(g.Members, before.ID) {
			after := *g
			after.Members, after.Modified, after.Revision = without(g.Members, before.ID), o.now, o.revision
			o.put(g, &after, c)
		}
	}
	o.forget(a, before.ID, c)
	return Result{Outcome: Deleted, User: before, Revision: o.revision}, nil
}

// forget removes what belongs to a user or group that went: its tokens, its
// default policy, its place in others.
func (o *overlay) forget(a *access, id string, c Change) {
	for _, t := range sorted(a.tokens) {
		if t.Owner == id {
			o.put(t, nil, c)
		}
	}
	for _, p := range sorted(a.policies) {
		switch {
		case p.ID == id:
			o.put(p, nil, c)
		case slices.Contains(p.Users, id) || slices.Contains(p.Groups, id):
			after := *p
			after.Users, after.Groups = without(p.Users, id), without(p.Groups, id)
			after.Modified, after.Revision = o.now, o.revision
			o.put(p, &after, c)
		}
	}
}

func without(list []string, gone string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == gone })
}

// sorted are the values by key: equal input gives equal commits.
func sorted[T any](all map[string]*T) []*T {
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]*T, len(keys))
	for n, k := range keys {
		out[n] = all[k]
	}
	return out
}

func (w *PutGroup) decide(o *overlay) (Result, error) {
	a, err := o.accessible()
	if err != nil {
		return Result{}, err
	}
	before := a.group(w.Name)
	if err := expected(KindGroup, FieldGroup, w.Name, objectOf(before), w.Mode, w.If); err != nil {
		return refuse(err), nil
	}
	after := &Group{ID: w.ID, Name: w.Name, Created: o.now}
	if before != nil {
		*after = *before
	} else if err := firstOf(full(KindGroup, len(a.groups), MaxGroups), a.free(w.ID)); err != nil {
		return refuse(err), nil
	}
	put(&after.Comment, w.Comment)
	put(&after.Members, w.Members)
	for _, id := range after.Members {
		if a.users[id] == nil {
			return refuse(Errorf(NotFound, FieldMembers, "members: there is no user with id %q", id)), nil
		}
	}
	same := before != nil && before.same(after)
	after.Modified, after.Revision = o.now, o.revision
	c := Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason}
	out := keep(o, before, after, same, c, func(g *Group) Result { return Result{Group: g} })
	if before == nil {
		o.put(nil, o.defaultPolicy(after.ID, "group", after.Name), c)
	}
	return out, nil
}

func (w *DeleteGroup) decide(o *overlay) (Result, error) {
	a, err := o.accessible()
	if err != nil {
		return Result{}, err
	}
	before := a.group(w.Name)
	if before == nil {
		return o.soAlready(Absent), nil
	}
	if err := stale(before, w.If); err != nil {
		return refuse(err), nil
	}
	c := Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason}
	o.put(before, nil, c)
	o.forget(a, before.ID, c)
	return Result{Outcome: Deleted, Group: before, Revision: o.revision}, nil
}
