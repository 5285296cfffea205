package auth

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"polestar/naming"
)

// Scope implements [Gate].
func (e *Engine) Scope(api API, p Principal) Scope {
	if !e.cfg.Of(api).Open {
		return Scope{}
	}
	s, refusal := e.newest().known(p)
	if refusal != nil {
		return nothing
	}
	at, action := &s.scopes[0], Discover
	if api != ClientAPI {
		at, action = &s.scopes[1], Read
	}
	if made := at.Load(); made != nil {
		return *made
	}
	made := s.scope(action) // the same whoever makes it
	at.Store(&made)
	return made
}

// nothing is the scope of who may read nothing.
var nothing = (&subject{}).scope(Read)

// view is what determines what a subject sees: no more, so that all who see the
// same share one key, and no less.
type view struct {
	deny, allow []selector // sorted, each once
	self        creators   // only where one of them selects by creator
}

// scope compiles what a subject sees by one action.
func (s *subject) scope(a Action) Scope {
	v := view{deny: gather(s.deny, bits[a]), allow: gather(s.allow, bits[a])}
	if s.main || slices.ContainsFunc(v.allow, selector.everything) {
		v.allow = []selector{selectorOf(naming.Selector{Namespace: "*", Service: "*"})}
	}
	if slices.ContainsFunc(v.deny, selector.everything) {
		v.allow = nil
	}
	switch byCreator := func(s selector) bool { return s.created }; {
	case len(v.allow) == 0:
		v.deny = nil // nothing is seen, whatever is denied
	case slices.ContainsFunc(v.allow, byCreator) || slices.ContainsFunc(v.deny, byCreator):
		v.self = s.self
	}
	if len(v.deny) == 0 && len(v.allow) == 1 && v.allow[0].everything() {
		return Scope{}
	}
	return Scope{Key: v.key(), See: v.see}
}

// gather collects the selectors of the policies with an action, sorted, each
// once.
func gather(all []*policy, a actions) (out []selector) {
	for _, p := range all {
		if p.actions&a != 0 {
			out = append(out, p.selectors...)
		}
	}
	slices.SortFunc(out, selector.compare)
	return slices.Compact(out)
}

func (s selector) compare(o selector) int {
	return cmp.Or(s.namespace.compare(o.namespace), s.service.compare(o.service), ordinal(s.created)-ordinal(o.created))
}

func (p pattern) compare(o pattern) int {
	return cmp.Or(cmp.Compare(p.text, o.text), ordinal(p.prefix)-ordinal(o.prefix))
}

func ordinal(b bool) int {
	if b {
		return 1
	}
	return 0
}

// key hashes the whole view. Lengths go before texts, so that no two views are
// written alike.
func (v *view) key() string {
	b := make([]byte, 0, 512)
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for _, list := range [][]selector{v.deny, v.allow} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, s := range list {
			text(s.namespace.text)
			text(s.service.text)
			b = append(b, byte(ordinal(s.namespace.prefix)|ordinal(s.service.prefix)<<1|ordinal(s.created)<<2))
		}
	}
	for _, id := range v.self {
		text(id)
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (v *view) see(n *naming.Namespace, s *naming.Service) bool {
	var r Resource
	if n != nil {
		r.Namespace, r.NamespaceCreator = n.Name, n.Creator
	}
	if s == nil {
		return v.seeNamespace(r)
	}
	r.Namespace, r.Service, r.ServiceCreator = s.Key.Namespace, s.Key.Name, s.Creator
	match := func(s selector) bool { return s.match(r, v.self) }
	return !slices.ContainsFunc(v.deny, match) && slices.ContainsFunc(v.allow, match)
}

// seeNamespace reports whether a service in a namespace could be visible, or
// the namespace is itself.
func (v *view) seeNamespace(r Resource) bool {
	for _, s := range v.deny {
		if !s.created && s.inNamespace(r.Namespace) && s.service.all() {
			return false // all that is in it, and itself
		}
	}
	return slices.ContainsFunc(v.allow, func(s selector) bool { return s.created || s.inNamespace(r.Namespace) })
}
