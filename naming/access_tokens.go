package naming

import (
	"slices"
	"strings"
)

func (w *PutToken) decide(o *overlay) (Result, error) {
	a, err := o.accessible()
	if err != nil {
		return Result{}, err
	}
	before := a.tokens[w.ID]
	if err := expected(KindToken, FieldToken, w.ID, objectOf(before), w.Mode, w.If); err != nil {
		return refuse(err), nil
	}
	after := &Token{ID: w.ID, Owner: w.Owner, Hash: w.Hash, Created: o.now}
	switch {
	case before != nil:
		*after = *before
	case !a.owner(w.Owner):
		return refuse(Errorf(NotFound, FieldOwner, "owner: there is no user or group with id %q", w.Owner)), nil
	case first(a.tokens, func(t *Token) bool { return t.Hash == w.Hash }) != nil:
		return refuse(Errorf(Exists, FieldToken, "token: its text is in use")), nil
	default:
		if err := firstOf(full(KindToken, len(a.tokens), MaxTokens), a.manyTokens(w.Owner)); err != nil {
			return refuse(err), nil
		}
	}
	put(&after.Comment, w.Comment)
	put(&after.Disabled, w.Disabled)
	put(&after.Expires, w.Expires)
	same := before != nil && before.same(after)
	after.Modified, after.Revision = o.now, o.revision
	c := Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason}
	return keep(o, before, after, same, c, func(t *Token) Result { return Result{Token: t} }), nil
}

// manyTokens refuses one more token of somebody who has a lot: nobody may take
// the room of all others.
func (a *access) manyTokens(owner string) *Error {
	n := 0
	for _, t := range a.tokens {
		if t.Owner == owner {
			n++
		}
	}
	if n < MaxTokensOfOne {
		return nil
	}
	return Errorf(Conflict, FieldOwner, "owner: has %d tokens, more are not kept; delete some that are not used", n)
}

func (w *DeleteToken) decide(o *overlay) (Result, error) {
	a, err := o.accessible()
	if err != nil {
		return Result{}, err
	}
	before := a.tokens[w.ID]
	if before == nil {
		return o.soAlready(Absent), nil
	}
	if err := stale(before, w.If); err != nil {
		return refuse(err), nil
	}
	o.put(before, nil, Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason})
	return Result{Outcome: Deleted, Token: before, Revision: o.revision}, nil
}

func (w *PutPolicy) decide(o *overlay) (Result, error) {
	a, err := o.accessible()
	if err != nil {
		return Result{}, err
	}
	before := a.policy(w.Name)
	if err := expected(KindPolicy, FieldPolicy, w.Name, objectOf(before), w.Mode, w.If); err != nil {
		return refuse(err), nil
	}
	after := &Policy{ID: w.ID, Name: w.Name, Created: o.now}
	switch {
	case before != nil:
		*after = *before
	case strings.HasPrefix(w.Name, DefaultPolicyPrefix):
		return refuse(Errorf(Invalid, FieldPolicy, "policy: names that begin with %q are those of default policies", DefaultPolicyPrefix)), nil
	default:
		if err := firstOf(full(KindPolicy, a.ownPolicies(), MaxPolicies), a.free(w.ID)); err != nil {
			return refuse(err), nil
		}
	}
	put(&after.Comment, w.Comment)
	put(&after.Deny, w.Deny)
	put(&after.Users, w.Users)
	put(&after.Groups, w.Groups)
	put(&after.Actions, w.Actions)
	put(&after.Resources, w.Resources)
	if err := a.principals(before, after); err != nil {
		return refuse(err), nil
	}
	same := before != nil && before.same(after)
	after.Modified, after.Revision = o.now, o.revision
	c := Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason}
	return keep(o, before, after, same, c, func(p *Policy) Result { return Result{Policy: p} }), nil
}

// principals refuses those that do not exist, and others than its own of a
// default policy.
func (a *access) principals(before, after *Policy) *Error {
	if before != nil && before.Default && (!slices.Equal(before.Users, after.Users) || !slices.Equal(before.Groups, after.Groups)) {
		return Errorf(Conflict, FieldUsers, "users, groups: the principal of a default policy cannot be changed")
	}
	for _, id := range after.Users {
		if a.users[id] == nil && id != AnyUser && id != NoUser {
			return Errorf(NotFound, FieldUsers, "users: there is no user with id %q", id)
		}
	}
	for _, id := range after.Groups {
		if a.groups[id] == nil {
			return Errorf(NotFound, FieldGroups, "groups: there is no group with id %q", id)
		}
	}
	return nil
}

func (w *DeletePolicy) decide(o *overlay) (Result, error) {
	a, err := o.accessible()
	if err != nil {
		return Result{}, err
	}
	before := a.policy(w.Name)
	switch {
	case before == nil:
		return o.soAlready(Absent), nil
	case before.Default:
		return refuse(Errorf(Conflict, FieldPolicy, "policy %q goes with its user or group; it cannot be deleted alone", w.Name)), nil
	}
	if err := stale(before, w.If); err != nil {
		return refuse(err), nil
	}
	o.put(before, nil, Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason})
	return Result{Outcome: Deleted, Policy: before, Revision: o.revision}, nil
}

func (w *Bootstrap) decide(o *overlay) (Result, error) {
	a, err := o.accessible()
	if err != nil {
		return Result{}, err
	}
	if len(a.users) > 0 {
		return o.soAlready(Unchanged), nil
	}
	c := Change{Actor: w.Actor, Cause: CauseAuto, Reason: w.Reason}
	u := &User{ID: w.UserID, Name: w.Name, Comment: w.Comment, Main: true, Created: o.now, Modified: o.now, Revision: o.revision}
	t := &Token{ID: w.TokenID, Owner: u.ID, Hash: w.Hash, Comment: w.Comment, Created: o.now, Modified: o.now, Revision: o.revision}
	o.put(nil, u, c)
	o.put(nil, o.defaultPolicy(u.ID, "user", u.Name), c)
	o.put(nil, t, c)
	return Result{Outcome: Created, User: u, Token: t, Revision: o.revision}, nil
}

func (w *RecordRefusals) decide(o *overlay) (Result, error) {
	if len(w.Refusals) == 0 {
		return Result{Outcome: Unchanged}, nil
	}
	for n := range w.Refusals {
		r := w.Refusals[n]
		r.Count = max(r.Count, 1) // an empty record would say nothing, and could not be read back
		o.changes = append(o.changes, Change{
			After: &r, Actor: Actor{Principal: r.Principal, Address: r.Address}, Cause: CauseRefused, Reason: r.Reason,
		})
	}
	return Result{Outcome: Created, Revision: o.revision}, nil
}
