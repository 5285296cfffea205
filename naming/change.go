package naming

// Kind names a kind of object.
type Kind uint8

// The kinds of objects. The numbers are stored; never renumber.
const (
	KindNamespace Kind = 1
	KindService   Kind = 2
	KindInstance  Kind = 3
	KindClient    Kind = 4
	KindContract  Kind = 5
	KindOverride  Kind = 6
	KindUser      Kind = 7
	KindGroup     Kind = 8
	KindToken     Kind = 9
	KindPolicy    Kind = 10
	KindRefusal   Kind = 11 // in the change log only
)

// Kinds lists every kind of which the world has objects; owners come before what
// belongs to them.
func Kinds() []Kind {
	return []Kind{
		KindNamespace, KindService, KindInstance, KindClient, KindContract, KindOverride, KindUser, KindGroup, KindToken, KindPolicy,
	}
}

// Access reports whether objects of the kind say who may do what.
func (k Kind) Access() bool { return k >= KindUser && k <= KindPolicy }

// Kept reports whether stores keep objects of the kind, beside the change log.
func (k Kind) Kept() bool { return k != KindRefusal }

func (k Kind) String() string {
	switch k {
	case KindNamespace:
		return "namespace"
	case KindService:
		return "service"
	case KindInstance:
		return "instance"
	case KindClient:
		return "client"
	case KindContract:
		return "contract"
	case KindOverride:
		return "override"
	case KindUser:
		return "user"
	case KindGroup:
		return "group"
	case KindToken:
		return "token"
	case KindPolicy:
		return "policy"
	case KindRefusal:
		return "refusal"
	default:
		return "unknown"
	}
}

// Object is anything the store keeps: *Namespace, *Service, *Instance, *Client,
// *Contract, *Override, *User, *Group, *Token or *Policy; or a *Refusal, which
// only the change log has.
type Object interface {
	// ObjectKind tells which of them it is.
	ObjectKind() Kind
	// ObjectKey is the key within the kind: a namespace's name, a service's
	// [ServiceKey.StoreKey], an instance's or a client's id, a contract's
	// [ContractKey], the id of the instance that an override is for, the id of
	// anything else.
	ObjectKey() string
	// ObjectRevision is the revision of the object's last change.
	ObjectRevision() Revision
}

// ObjectKind implements [Object].
func (*Namespace) ObjectKind() Kind { return KindNamespace }

// ObjectKey implements [Object].
func (n *Namespace) ObjectKey() string { return n.Name }

// ObjectKind implements [Object].
func (*Service) ObjectKind() Kind { return KindService }

// ObjectKey implements [Object].
func (s *Service) ObjectKey() string { return s.Key.StoreKey() }

// ObjectKind implements [Object].
func (*Instance) ObjectKind() Kind { return KindInstance }

// ObjectKey implements [Object].
func (i *Instance) ObjectKey() string { return i.ID }

// ObjectKind implements [Object].
func (*Client) ObjectKind() Kind { return KindClient }

// ObjectKey implements [Object].
func (c *Client) ObjectKey() string { return c.ID }

// ObjectKind implements [Object].
func (*Contract) ObjectKind() Kind { return KindContract }

// ObjectKey implements [Object].
func (c *Contract) ObjectKey() string { return ContractKey(c.Service, c.ID()) }

// ObjectKind implements [Object].
func (*Override) ObjectKind() Kind { return KindOverride }

// ObjectKey implements [Object].
func (o *Override) ObjectKey() string { return o.InstanceID }

// ObjectRevision implements [Object].
func (n *Namespace) ObjectRevision() Revision { return n.Revision }

// ObjectRevision implements [Object].
func (s *Service) ObjectRevision() Revision { return s.Revision }

// ObjectRevision implements [Object].
func (i *Instance) ObjectRevision() Revision { return i.Revision }

// ObjectRevision implements [Object].
func (c *Client) ObjectRevision() Revision { return c.Revision }

// ObjectRevision implements [Object].
func (c *Contract) ObjectRevision() Revision { return c.Revision }

// ObjectRevision implements [Object].
func (o *Override) ObjectRevision() Revision { return o.Revision }

// ContractKey is the key of a contract: all contracts of a service have
// [ServiceKey.StoreKey] and a NUL before their id.
func ContractKey(k ServiceKey, id string) string { return k.StoreKey() + "\x00" + id }

// StoreKey joins namespace and name with a NUL, which neither may contain: an
// unambiguous key that sorts by namespace first.
func (k ServiceKey) StoreKey() string { return k.Namespace + "\x00" + k.Name }

// Actor says who asked for a change.
type Actor struct {
	Principal string // authenticated name; empty when nobody had to say
	ID        string // of the principal; empty like it
	Address   string // ip of the peer; empty for the server itself
	Agent     string // kind and version of the client, as it said
}

// Cause says why a change happened.
type Cause string

// The causes. They are stored as text.
const (
	CauseClient   Cause = "client"        // an SDK asked
	CauseLease    Cause = "lease expired" // no beat for three TTLs
	CauseBeat     Cause = "beat"          // a beat after the lease had expired
	CauseOperator Cause = "operator"
	CauseAuto     Cause = "auto-created" // a first registration needed it
	CauseCleanup  Cause = "clean-up"     // a clean-up job found it unused
	CauseRefused  Cause = "refused"      // nothing changed: somebody was turned down
)

// Causes lists every cause.
func Causes() []Cause {
	return []Cause{CauseClient, CauseLease, CauseBeat, CauseOperator, CauseAuto, CauseCleanup, CauseRefused}
}

// Change is one object's transition, decided and ready to be stored.
type Change struct {
	Before Object // nil: it did not exist
	After  Object // nil: it is deleted
	Actor  Actor
	Cause  Cause
	Reason string // free text of an operator; often empty
}

// Object returns After, or Before of a deletion.
func (c *Change) Object() Object {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// Deleted reports whether the change removes its object.
func (c *Change) Deleted() bool { return c.After == nil }

// Commit is one group of changes that became durable together. Changes keep
// their order: the same object may change twice in one commit.
type Commit struct {
	Revision Revision // 0: nothing changed, nothing was written
	Time     Micros
	Changes  []Change
	Record   Record // its own in the change log
	After    Record // the one that it came after
}

// Record names one record of the change log of a store that several servers
// share. None that was ever written has the name of another one, nor when a
// database that crashed forgot one and gave its revision away again. So whoever
// finds the record that he knows at a revision knows all before it. It is zero
// where it is not known: the log does not reach back so far, or belongs to a
// store with one server, which sees what it has written itself.
type Record struct{ Writer, Seq uint64 }

// Differs reports whether two records, both known, are not the same.
func (r Record) Differs(o Record) bool { return r != Record{} && o != Record{} && r != o }

// Tail is the end of the change log, after a revision.
type Tail struct {
	Head    Revision // the newest one; lower than the one asked for when the log was cut
	At      Record   // of the revision asked for
	Commits []Commit // after it, in order and without gaps
}

// Touched is the revision of the last commit that changed a service or any of
// its instances, deletions included. Stores keep it so that versions never go
// back over a restart.
type Touched struct {
	Service  ServiceKey
	Revision Revision
}
