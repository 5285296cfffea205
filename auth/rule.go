package auth

import (
	"slices"
	"strings"

	"polestar/naming"
)

// Anybody is what a policy's Users say for everybody who is known.
const Anybody = "*"

// AnonymousUser is what a policy's Users say for callers who are not known: they
// exist where an API is not strict. No "*" means them.
const AnonymousUser = "anonymous"

// implied lists the actions that others bring with them: who may read a service
// may also find it, follow it and see who has it. A policy that denies an action
// denies these as well.
var implied = map[Action][]Action{Read: {Discover, Subscribe, Inspect}}

// actions is a set of actions, a bit for each in the order of [Actions].
type actions uint32

var bits = func() map[Action]actions {
	out := map[Action]actions{}
	for n, a := range Actions() {
		out[a] = 1 << n
	}
	return out
}()

// actionsOf reads the actions of a policy. Words that this version does not
// know mean nothing.
func actionsOf(words []string) (out actions) {
	for _, w := range words {
		if w == "*" {
			return 1<<len(bits) - 1
		}
		out |= bits[Action(w)]
		for _, a := range implied[Action(w)] {
			out |= bits[a]
		}
	}
	return out
}

// pattern matches names: "*" all, "shop-*" those that begin so, else one.
type pattern struct {
	text   string // without the star
	prefix bool
}

func patternOf(s string) pattern {
	text, prefix := strings.CutSuffix(s, "*")
	return pattern{text, prefix}
}

func (p pattern) all() bool { return p.prefix && p.text == "" }

func (p pattern) match(name string) bool {
	if p.prefix {
		return strings.HasPrefix(name, p.text)
	}
	return name == p.text
}

// selector is a [naming.Selector], ready to match.
//
// The server as a whole, a resource without a namespace, is only meant by "*".
// The namespace itself, a resource without a service, is meant by no service
// and by "*", not by names of services.
type selector struct {
	namespace, service pattern
	created            bool
}

func selectorOf(s naming.Selector) selector {
	if s.Created {
		return selector{created: true}
	}
	return selector{namespace: patternOf(s.Namespace), service: patternOf(s.Service)}
}

// everything reports whether there is nothing that s does not select.
func (s selector) everything() bool { return !s.created && s.namespace.all() && s.service.all() }

func (s selector) match(r Resource, self creators) bool {
	if s.created {
		return self.made(r)
	}
	return s.inNamespace(r.Namespace) && s.ofService(r.Service)
}

func (s selector) inNamespace(name string) bool {
	return s.namespace.all() || name != "" && s.namespace.match(name)
}

func (s selector) ofService(name string) bool {
	if name == "" {
		return s.service.all() || s.service == pattern{}
	}
	return s.service.match(name)
}

// creators are the ids under which a principal creates things: his own and
// those of his groups, sorted.
type creators []string

// made reports whether the principal created a resource. A service belongs to
// who created it; one that does not exist yet, or that nobody in particular
// created, to who created its namespace.
func (c creators) made(r Resource) bool {
	by := r.ServiceCreator
	if by == "" {
		by = r.NamespaceCreator
	}
	return by != "" && slices.Contains(c, by)
}
