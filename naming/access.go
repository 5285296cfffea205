package naming

import "slices"

// User is somebody, or some program, that may act.
type User struct {
	ID      string // 32 hexadecimal digits, fixed at creation
	Name    string // unique, fixed at creation; see [CheckAccessName]
	Comment string
	// Main marks the user that may do everything. There is always one that is
	// not disabled.
	Main bool
	// Password is an argon2id hash in PHC form; empty: no login by password.
	Password string
	// Identities are the SANs of certificates that mean this user, sorted; an
	// identity belongs to one user at most.
	Identities []string
	Disabled   bool
	Created    Micros
	Modified   Micros
	Revision   Revision // of its last change
}

// Group is several users; policies for a group hold for its members.
type Group struct {
	ID       string // 32 hexadecimal digits, fixed at creation
	Name     string // unique among groups, fixed at creation; as of users
	Comment  string
	Members  []string // ids of users, sorted
	Created  Micros
	Modified Micros
	Revision Revision // of its last change
}

// Token lets its bearer act as its owner. The text of a token is shown once, at
// its creation, and never stored.
type Token struct {
	ID       string // 32 hexadecimal digits, fixed at creation
	Owner    string // id of a user or a group
	Hash     string // SHA-256 of the text, 64 hexadecimal digits; unique
	Comment  string
	Disabled bool
	Expires  Micros // 0: never
	Created  Micros
	Modified Micros
	Revision Revision // of its last change
}

// Policy allows or denies principals actions on resources.
type Policy struct {
	ID      string // 32 hexadecimal digits, fixed at creation
	Name    string // unique, fixed at creation; as of users
	Comment string
	Deny    bool // wins over every policy that allows
	// Default marks the policy that was made with its user or group, has its id,
	// and goes with it. Its principal cannot be changed.
	Default   bool
	Users     []string // ids, sorted; or [AnyUser], [NoUser]
	Groups    []string // ids, sorted
	Actions   []string // sorted; "*" is all
	Resources []Selector
	Created   Micros
	Modified  Micros
	Revision  Revision // of its last change
}

// What a policy's Users may say beside ids.
const (
	AnyUser = "*"         // everybody who is known
	NoUser  = "anonymous" // callers who are not known
)

// Selector names resources of a policy.
type Selector struct {
	Namespace string // "*": all, and the server as a whole
	Service   string // "*": all; empty: the namespace itself only
	// Created selects what the principal itself created, whatever its name.
	Created bool
}

// Refusal is somebody who was refused something, so many times. It is a record
// of the change log and nothing else: no world ever holds it.
type Refusal struct {
	Principal string // name; empty: nobody in particular
	Address   string // ip
	Action    string
	Service   ServiceKey // what it was about; zero: the server as a whole
	Reason    string
	Method    string // of gRPC or HTTP
	Count     uint64
	First     Micros
	Last      Micros
}

// ObjectKind implements [Object].
func (*User) ObjectKind() Kind { return KindUser }

// ObjectKey implements [Object].
func (u *User) ObjectKey() string { return u.ID }

// ObjectRevision implements [Object].
func (u *User) ObjectRevision() Revision { return u.Revision }

// ObjectKind implements [Object].
func (*Group) ObjectKind() Kind { return KindGroup }

// ObjectKey implements [Object].
func (g *Group) ObjectKey() string { return g.ID }

// ObjectRevision implements [Object].
func (g *Group) ObjectRevision() Revision { return g.Revision }

// ObjectKind implements [Object].
func (*Token) ObjectKind() Kind { return KindToken }

// ObjectKey implements [Object].
func (t *Token) ObjectKey() string { return t.ID }

// ObjectRevision implements [Object].
func (t *Token) ObjectRevision() Revision { return t.Revision }

// ObjectKind implements [Object].
func (*Policy) ObjectKind() Kind { return KindPolicy }

// ObjectKey implements [Object].
func (p *Policy) ObjectKey() string { return p.ID }

// ObjectRevision implements [Object].
func (p *Policy) ObjectRevision() Revision { return p.Revision }

// ObjectKind implements [Object].
func (*Refusal) ObjectKind() Kind { return KindRefusal }

// ObjectKey implements [Object]; nobody looks for a refusal by a key.
func (r *Refusal) ObjectKey() string { return r.Principal + "\x00" + r.Address + "\x00" + r.Method }

// ObjectRevision implements [Object].
func (*Refusal) ObjectRevision() Revision { return 0 }

func (u *User) same(o *User) bool {
	return u.Comment == o.Comment && u.Main == o.Main && u.Password == o.Password && u.Disabled == o.Disabled &&
		slices.Equal(u.Identities, o.Identities)
}

func (g *Group) same(o *Group) bool {
	return g.Comment == o.Comment && slices.Equal(g.Members, o.Members)
}

func (t *Token) same(o *Token) bool {
	return t.Comment == o.Comment && t.Disabled == o.Disabled && t.Expires == o.Expires
}

func (p *Policy) same(o *Policy) bool {
	return p.Comment == o.Comment && p.Deny == o.Deny && slices.Equal(p.Users, o.Users) && slices.Equal(p.Groups, o.Groups) &&
		slices.Equal(p.Actions, o.Actions) && slices.Equal(p.Resources, o.Resources)
}
