package auth

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync/atomic"

	"polestar/naming"
)

// policy is a [naming.Policy], ready to match.
type policy struct {
	*naming.Policy
	actions   actions
	selectors []selector
}

func policyOf(p *naming.Policy) *policy {
	out := &policy{Policy: p, actions: actionsOf(p.Actions), selectors: make([]selector, len(p.Resources))}
	for n, s := range p.Resources {
		out.selectors[n] = selectorOf(s)
	}
	return out
}

// match returns the selector that covers an action on a resource, or -1.
func (p *policy) match(a actions, r Resource, self creators) int {
	if p.actions&a == 0 {
		return -1
	}
	for n := range p.selectors {
		if p.selectors[n].match(r, self) {
			return n
		}
	}
	return -1
}

// subject is a user or a group with the policies that hold for it.
type subject struct {
	id, name string
	group    bool
	main     bool
	disabled bool
	self     creators
	deny     []*policy
	allow    []*policy
	scopes   [2]atomic.Pointer[Scope] // by the API: made when they are asked for
}

// token is a [naming.Token] and whose it is.
type token struct {
	*naming.Token
	digest [sha256.Size]byte
	owner  *subject
}

// compiled is everything that decisions rest on, at one revision. It does not
// change.
type compiled struct {
	revision  naming.Revision
	loads     uint64
	subjects  map[string]*subject // users and groups by id
	names     map[string]*naming.User
	anonymous *subject
	byDigest  map[[sha256.Size]byte]*token
	tokens    map[string]*token   // by id
	identity  map[string]*subject // of certificates
	expiries  []naming.Micros     // of tokens that are not disabled, sorted
	policies  int
}

// of reports whether this was compiled from what a source is now.
func (c *compiled) of(from Source) bool {
	return c.revision == from.AccessRevision() && c.loads == from.Loads()
}

// compile reads a whole state.
func compile(from Source) *compiled {
	c := &compiled{
		revision: from.AccessRevision(), loads: from.Loads(), subjects: map[string]*subject{}, names: map[string]*naming.User{}, anonymous: &subject{},
		byDigest: map[[sha256.Size]byte]*token{}, tokens: map[string]*token{}, identity: map[string]*subject{},
	}
	for u := range from.Users() {
		s := &subject{id: u.ID, name: u.Name, main: u.Main, disabled: u.Disabled, self: creators{u.ID}}
		c.subjects[u.ID], c.names[u.Name] = s, u
		for _, name := range u.Identities {
			c.identity[name] = s
		}
	}
	groups := map[string][]*subject{} // members that exist
	for g := range from.Groups() {
		s := &subject{id: g.ID, name: g.Name, group: true, self: creators{g.ID}}
		c.subjects[g.ID] = s
		for _, id := range g.Members {
			if u := c.subjects[id]; u != nil && !u.group {
				groups[g.ID] = append(groups[g.ID], u)
				u.self = append(u.self, g.ID)
			}
		}
	}
	c.addPolicies(from, groups)
	for _, s := range c.subjects {
		slices.Sort(s.self)
	}
	for t := range from.Tokens() {
		c.addToken(t)
	}
	slices.Sort(c.expiries)
	c.expiries = slices.Compact(c.expiries)
	return c
}

// addPolicies gives every policy to those for whom it holds.
func (c *compiled) addPolicies(from Source, members map[string][]*subject) {
	all := slices.SortedFunc(from.Policies(), func(a, b *naming.Policy) int {
		// What somebody wrote explains a decision better than what came with a user.
		return cmp.Or(ordinal(a.Default)-ordinal(b.Default), cmp.Compare(a.Name, b.Name))
	})
	for _, raw := range all {
		p := policyOf(raw)
		c.policies++
		holds := map[*subject]bool{}
		for _, id := range raw.Users {
			switch s := c.subjects[id]; {
			case id == Anybody:
				for _, s := range c.subjects {
					holds[s] = true
				}
			case id == AnonymousUser:
				holds[c.anonymous] = true
			case s != nil && !s.group:
				holds[s] = true
			}
		}
		for _, id := range raw.Groups {
			if s := c.subjects[id]; s != nil && s.group {
				holds[s] = true
				for _, u := range members[id] {
					holds[u] = true
				}
			}
		}
		for s := range holds {
			if p.Deny {
				s.deny = append(s.deny, p)
			} else {
				s.allow = append(s.allow, p)
			}
		}
	}
}

func (c *compiled) addToken(raw *naming.Token) {
	t := &token{Token: raw, owner: c.subjects[raw.Owner]}
	sum, err := hex.DecodeString(raw.Hash)
	if err != nil || len(sum) != len(t.digest) || t.owner == nil {
		return // nobody can show it, or it is nobody's
	}
	copy(t.digest[:], sum)
	c.byDigest[t.digest], c.tokens[raw.ID] = t, t
	if raw.Expires != 0 && !raw.Disabled {
		c.expiries = append(c.expiries, raw.Expires)
	}
}

// nextExpiry is the first moment after now at which a token runs out, 0 when
// there is none.
func (c *compiled) nextExpiry(now naming.Micros) naming.Micros {
	n, _ := slices.BinarySearchFunc(c.expiries, now+1, cmp.Compare)
	if n == len(c.expiries) {
		return 0
	}
	return c.expiries[n]
}
