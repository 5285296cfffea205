package naming

// PutUser creates or changes a user; nil fields stay.
type PutUser struct {
	ID         string // of a new one
	Name       string
	Mode       Mode
	Comment    *string
	Main       *bool
	Password   *string // an argon2id hash; empty: no login by password
	Identities *[]string
	Disabled   *bool
	If         Revision // that it must have; 0: any
	Actor      Actor
	Reason     string
}

// DeleteUser removes a user with its tokens, its default policy and its places
// in groups and policies. The last main user that is not disabled stays.
type DeleteUser struct {
	Name   string
	If     Revision // that it must have; 0: any
	Actor  Actor
	Reason string
}

// PutGroup creates or changes a group; nil fields stay.
type PutGroup struct {
	ID      string // of a new one
	Name    string
	Mode    Mode
	Comment *string
	Members *[]string // ids of users
	If      Revision  // that it must have; 0: any
	Actor   Actor
	Reason  string
}

// DeleteGroup removes a group with its tokens, its default policy and its
// places in policies.
type DeleteGroup struct {
	Name   string
	If     Revision // that it must have; 0: any
	Actor  Actor
	Reason string
}

// PutToken creates or changes a token; nil fields stay. Whose it is and what
// its text is are fixed at creation.
type PutToken struct {
	ID       string
	Mode     Mode // Create or Update
	Owner    string
	Hash     string
	Comment  *string
	Disabled *bool
	Expires  *Micros
	If       Revision // that it must have; 0: any
	Actor    Actor
	Reason   string
}

// DeleteToken removes a token.
type DeleteToken struct {
	ID     string
	If     Revision // that it must have; 0: any
	Actor  Actor
	Reason string
}

// PutPolicy creates or changes a policy; nil fields stay.
type PutPolicy struct {
	ID        string // of a new one
	Name      string
	Mode      Mode
	Comment   *string
	Deny      *bool
	Users     *[]string // ids, or [AnyUser], [NoUser]
	Groups    *[]string // ids
	Actions   *[]string
	Resources *[]Selector
	If        Revision // that it must have; 0: any
	Actor     Actor
	Reason    string
}

// DeletePolicy removes a policy that is nobody's default one.
type DeletePolicy struct {
	Name   string
	If     Revision // that it must have; 0: any
	Actor  Actor
	Reason string
}

// Bootstrap makes the main user and its first token while there is no user at
// all; else it changes nothing.
type Bootstrap struct {
	UserID, Name    string
	TokenID, Hash   string
	Actor           Actor
	Comment, Reason string
}

// RecordRefusals puts refusals into the change log.
type RecordRefusals struct{ Refusals []Refusal }

// Needs implements [Write]. All of these are seldom, and look at all users,
// groups, tokens and policies, of which there are few.
func (*PutUser) Needs() Needs { return Needs{Access: true} }

// Needs implements [Write].
func (*DeleteUser) Needs() Needs { return Needs{Access: true} }

// Needs implements [Write].
func (*PutGroup) Needs() Needs { return Needs{Access: true} }

// Needs implements [Write].
func (*DeleteGroup) Needs() Needs { return Needs{Access: true} }

// Needs implements [Write].
func (*PutToken) Needs() Needs { return Needs{Access: true} }

// Needs implements [Write].
func (*DeleteToken) Needs() Needs { return Needs{Access: true} }

// Needs implements [Write].
func (*PutPolicy) Needs() Needs { return Needs{Access: true} }

// Needs implements [Write].
func (*DeletePolicy) Needs() Needs { return Needs{Access: true} }

// Needs implements [Write].
func (*Bootstrap) Needs() Needs { return Needs{Access: true} }

// Needs implements [Write].
func (*RecordRefusals) Needs() Needs { return Needs{} }
