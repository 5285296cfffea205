package registry

import (
	"iter"

	"github.com/tidwall/btree"

	"polestar/naming"
)

// access is who may do what at one revision.
type access struct {
	revision naming.Revision // of the last change of any of them
	users    *btree.Map[string, *naming.User]
	groups   *btree.Map[string, *naming.Group]
	tokens   *btree.Map[string, *naming.Token]
	policies *btree.Map[string, *naming.Policy]
}

func newAccess() access {
	return access{
		users: new(btree.Map[string, *naming.User]), groups: new(btree.Map[string, *naming.Group]),
		tokens: new(btree.Map[string, *naming.Token]), policies: new(btree.Map[string, *naming.Policy]),
	}
}

func (a access) edit() access {
	return access{a.revision, a.users.Copy(), a.groups.Copy(), a.tokens.Copy(), a.policies.Copy()}
}

// put takes an object in or out, as of a revision; false for an object that is
// none of access.
func (a *access) put(o naming.Object, gone bool, rev naming.Revision) bool {
	switch x := o.(type) {
	case *naming.User:
		place(a.users, x.ID, x, gone)
	case *naming.Group:
		place(a.groups, x.ID, x, gone)
	case *naming.Token:
		place(a.tokens, x.ID, x, gone)
	case *naming.Policy:
		place(a.policies, x.ID, x, gone)
	default:
		return false // a refusal, which only the change log has
	}
	a.revision = max(a.revision, rev)
	return true
}

func (a *access) object(kind naming.Kind, key string) naming.Object {
	switch kind {
	case naming.KindUser:
		return object(a.users, key)
	case naming.KindGroup:
		return object(a.groups, key)
	case naming.KindToken:
		return object(a.tokens, key)
	case naming.KindPolicy:
		return object(a.policies, key)
	default:
		return nil // a refusal, which no world has
	}
}

func (a *access) each(yield func(naming.Object) bool) bool {
	return each(a.users, yield) && each(a.groups, yield) && each(a.tokens, yield) && each(a.policies, yield)
}

func (a *access) len() int { return a.users.Len() + a.groups.Len() + a.tokens.Len() + a.policies.Len() }

// Users implements naming.World.
func (s *Snapshot) Users() iter.Seq[*naming.User] { return under(s.access.users, "") }

// Groups implements naming.World.
func (s *Snapshot) Groups() iter.Seq[*naming.Group] { return under(s.access.groups, "") }

// Tokens implements naming.World.
func (s *Snapshot) Tokens() iter.Seq[*naming.Token] { return under(s.access.tokens, "") }

// Policies implements naming.World.
func (s *Snapshot) Policies() iter.Seq[*naming.Policy] { return under(s.access.policies, "") }

// AccessRevision implements naming.World.
func (s *Snapshot) AccessRevision() naming.Revision { return s.access.revision }
