package naming

// Write is one wish to change the world. A store decides it inside its
// transaction with [Plan], on the state as it is there, so that two servers
// can never decide on different pasts.
type Write interface {
	// Needs lists the objects that deciding reads, so that a backend can load
	// and lock them in one go.
	Needs() Needs
	decide(v *overlay) (Result, error)
}

// Needs names objects by their keys.
type Needs struct {
	Namespaces []string
	Services   []ServiceKey
	Instances  []string // and the overrides kept for them
	Clients    []string
	Contracts  []*Contract  // by their service and ID
	Usage      []ServiceKey // services whose usage is counted
	Duties     []string     // whose epochs are asked for
	Access     bool         // all users, groups, tokens and policies
}

// Outcome says what a write did.
type Outcome uint8

// The outcomes.
const (
	Unchanged Outcome = iota // the world was already so: no new revision
	Created
	Updated
	Deleted
	Absent // the object to delete or change is not there
)

// Result answers one write.
type Result struct {
	Outcome Outcome
	// What was written, as it is now; of a deletion as it was.
	Instance  *Instance
	Instances []*Instance // of a [ModifyAll]: those that are registered
	Client    *Client
	Service   *Service
	Namespace *Namespace
	Contract  *Contract
	User      *User
	Group     *Group
	Token     *Token
	Policy    *Policy
	Revision  Revision // the commit that made it so; for Unchanged and Absent one that already had it so
	Err       error    // this write was refused; its neighbours were not
}

// Register puts an instance, creating its service and namespace when they are
// missing and AutoCreate allows it.
type Register struct {
	Instance Instance // validated; Created, Modified and Revision are ignored
	// Isolated and Healthy are the caller's own wish; nil keeps what is stored
	// for isolation, and means true for health.
	Isolated *bool
	Healthy  *bool
	// AutoCreate allows a missing service or namespace to be created.
	AutoCreate bool
	Actor      Actor
}

// Deregister removes an instance.
type Deregister struct {
	ID      string
	Service ServiceKey // whose instance it must be; zero: of any
	If      Revision   // that it must have; 0: any
	Actor   Actor
	Cause   Cause
	Reason  string
}

// SetHealth changes the health of an instance that has a TTL.
type SetHealth struct {
	ID      string
	Healthy bool
	Actor   Actor
	Cause   Cause
	Reason  string
}

// Modify changes a registered instance on behalf of an operator; nil fields
// stay. Weight, health and isolation that it sets win over the client's until
// they are cleared; the rest lasts until the client registers anew.
type Modify struct {
	ID      string
	Service ServiceKey // whose instance it must be; zero: of any
	If      Revision   // that it must have; 0: any
	Set     Setting
	Clear   Clear
	Actor   Actor
	Reason  string
}

// Setting are the attributes that a [Modify] sets.
type Setting struct {
	Weight   *uint32 // 0…65535
	Healthy  *bool
	Isolated *bool

	Protocol *string
	Version  *string
	LogicSet *string
	Priority *uint32
	TTL      *uint32 // seconds, 0…3600; 0 ends the health check
	Region   *string
	Zone     *string
	Campus   *string
	Metadata *Metadata
	Patch    Patch // of the metadata, after Metadata
}

// Clear names what goes back to the client's wish.
type Clear struct{ Weight, Healthy, Isolated bool }

// PutClient records an SDK process.
type PutClient struct {
	Client Client
	Actor  Actor
}

// Needs implements [Write].
func (w *Register) Needs() Needs {
	return Needs{
		Namespaces: []string{w.Instance.Service.Namespace},
		Services:   []ServiceKey{w.Instance.Service},
		Instances:  []string{w.Instance.ID},
	}
}

// PutContract records what a service says of its interfaces.
type PutContract struct {
	Contract Contract
	Actor    Actor
}

// RemoveClient removes the record of an SDK process that reports no more.
type RemoveClient struct {
	ID     string
	Actor  Actor
	Cause  Cause
	Reason string
}

// Needs implements [Write].
func (w *Deregister) Needs() Needs { return Needs{Instances: []string{w.ID}} }

// Needs implements [Write].
func (w *SetHealth) Needs() Needs { return Needs{Instances: []string{w.ID}} }

// Needs implements [Write].
func (w *Modify) Needs() Needs { return Needs{Instances: []string{w.ID}} }

// Needs implements [Write].
func (w *PutClient) Needs() Needs { return Needs{Clients: []string{w.Client.ID}} }

// Needs implements [Write].
func (w *RemoveClient) Needs() Needs { return Needs{Clients: []string{w.ID}} }

// Needs implements [Write].
func (w *PutContract) Needs() Needs {
	return Needs{Services: []ServiceKey{w.Contract.Service}, Contracts: []*Contract{&w.Contract}}
}
