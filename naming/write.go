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
	Instances  []string
	Clients    []string
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
	Outcome  Outcome
	Instance *Instance // as it is now; of a deletion as it was
	Client   *Client
	Revision Revision // the commit that made it so; for Unchanged and Absent one that already had it so
	Err      error    // this write was refused; its neighbours were not
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
}

// Modify changes attributes of a registered instance; nil fields stay.
type Modify struct {
	ID       string
	Isolated *bool
	Healthy  *bool
	Weight   *uint32 // 0…65535
	Actor    Actor
	Cause    Cause
	Reason   string
}

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

// Needs implements [Write].
func (w *Deregister) Needs() Needs { return Needs{Instances: []string{w.ID}} }

// Needs implements [Write].
func (w *SetHealth) Needs() Needs { return Needs{Instances: []string{w.ID}} }

// Needs implements [Write].
func (w *Modify) Needs() Needs { return Needs{Instances: []string{w.ID}} }

// Needs implements [Write].
func (w *PutClient) Needs() Needs { return Needs{Clients: []string{w.Client.ID}} }

func (w *Register) decide(v *overlay) (Result, error) {
	want := w.Instance
	before, err := v.Instance(want.ID)
	if err != nil {
		return Result{}, err
	}
	if before != nil && !sameOwner(before, &want) {
		// A caller-chosen id must not take over the instance of somebody else.
		return refuse(Errorf(Invalid, FieldID, "id: %q belongs to another instance", want.ID)), nil
	}
	if r, err := w.ensureService(v); err != nil || r.Err != nil {
		return r, err
	}
	want.Healthy = w.Healthy == nil || *w.Healthy
	want.Isolated = false
	switch {
	case w.Isolated != nil:
		want.Isolated = *w.Isolated
	case before != nil:
		want.Isolated = before.Isolated
	}
	return v.putInstance(before, &want, Change{Actor: w.Actor, Cause: CauseClient}), nil
}

// sameOwner reports whether an id stands for the same place in both.
func sameOwner(a, b *Instance) bool {
	return a.Service == b.Service && a.VpcID == b.VpcID && a.Host == b.Host && a.Port == b.Port
}

func (w *Register) ensureService(v *overlay) (Result, error) {
	key := w.Instance.Service
	svc, err := v.Service(key)
	if err != nil || svc != nil {
		return Result{}, err
	}
	ns, err := v.Namespace(key.Namespace)
	if err != nil {
		return Result{}, err
	}
	switch {
	case !w.AutoCreate && ns == nil:
		return refuse(Errorf(NotFound, "namespace", "namespace %q does not exist", key.Namespace)), nil
	case !w.AutoCreate:
		return refuse(Errorf(NotFound, "service", "service %q does not exist", key)), nil
	}
	owner := w.Actor.Principal
	if owner == "" {
		owner = "Polaris"
	}
	auto := Change{Actor: w.Actor, Cause: CauseAuto}
	if ns == nil {
		n := &Namespace{Name: key.Namespace, Owner: owner, Created: v.now, Modified: v.now, Revision: v.revision}
		v.put(nil, n, auto)
	}
	v.put(nil, &Service{
		ID: ServiceID(key), Key: key, Owner: owner, Created: v.now, Modified: v.now, Revision: v.revision,
	}, auto)
	return Result{}, nil
}

func (w *Deregister) decide(v *overlay) (Result, error) {
	before, err := v.Instance(w.ID)
	if err != nil {
		return Result{}, err
	}
	if before == nil {
		return v.absent(w.ID), nil
	}
	if w.Service != (ServiceKey{}) && before.Service != w.Service {
		// Whoever was allowed to remove from one service must not hit another
		// that took the id in between.
		return refuse(Errorf(Conflict, FieldID, "id: %q belongs to another instance", w.ID)), nil
	}
	v.put(before, nil, Change{Actor: w.Actor, Cause: w.Cause, Reason: w.Reason})
	return Result{Outcome: Deleted, Instance: before, Revision: v.revision}, nil
}

func (w *SetHealth) decide(v *overlay) (Result, error) {
	before, err := v.Instance(w.ID)
	if err != nil {
		return Result{}, err
	}
	if before == nil {
		return v.absent(w.ID), nil
	}
	if before.TTL == 0 {
		// Re-registered without a health check meanwhile: its flag is its own.
		return Result{Outcome: Unchanged, Instance: before}, nil
	}
	after := *before
	after.Healthy = w.Healthy
	return v.putInstance(before, &after, Change{Actor: w.Actor, Cause: w.Cause}), nil
}

func (w *Modify) decide(v *overlay) (Result, error) {
	before, err := v.Instance(w.ID)
	if err != nil {
		return Result{}, err
	}
	if before == nil {
		return v.absent(w.ID), nil
	}
	after := *before
	if w.Isolated != nil {
		after.Isolated = *w.Isolated
	}
	if w.Healthy != nil {
		after.Healthy = *w.Healthy
	}
	if w.Weight != nil {
		after.Weight = *w.Weight
	}
	return v.putInstance(before, &after, Change{Actor: w.Actor, Cause: w.Cause, Reason: w.Reason}), nil
}

func (w *PutClient) decide(v *overlay) (Result, error) {
	before, err := v.Client(w.Client.ID)
	if err != nil {
		return Result{}, err
	}
	after := w.Client
	after.Created = v.now
	outcome := Created
	var was Object // a nil *Client in an Object would not be nil
	if before != nil {
		if before.Host == after.Host && before.Type == after.Type && before.Version == after.Version && before.Location == after.Location {
			return Result{Outcome: Unchanged, Client: before}, nil
		}
		after.Created, outcome, was = before.Created, Updated, before
	}
	after.Modified, after.Revision = v.now, v.revision
	v.put(was, &after, Change{Actor: w.Actor, Cause: CauseClient})
	return Result{Outcome: outcome, Client: &after, Revision: v.revision}, nil
}

func refuse(err *Error) Result { return Result{Err: err} }
