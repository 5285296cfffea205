package naming

import (
	"fmt"
	"runtime/debug"
)

// View reads the stored world inside a transaction. A missing object is nil
// without an error. Returned objects are never modified.
type View interface {
	Namespace(name string) (*Namespace, error)
	Service(key ServiceKey) (*Service, error)
	Instance(id string) (*Instance, error)
	Client(id string) (*Client, error)
	Contract(key ServiceKey, id string) (*Contract, error)
	Override(instanceID string) (*Override, error)
	// Usage counts what belongs to a service.
	Usage(key ServiceKey) (Usage, error)
	// ServicesIn visits the keys of a namespace's services until the visitor
	// returns false.
	ServicesIn(namespace string, visit func(ServiceKey) bool) error
	// ContractsOf visits the contracts of a service.
	ContractsOf(key ServiceKey, visit func(*Contract)) error
	// Epoch returns the epoch of a duty, 0 when nobody ever had it. It does not
	// change before the commit.
	Epoch(duty string) (uint64, error)
	// Access visits all users, groups, tokens and policies.
	Access(visit func(Object)) error
}

// Usage is how much belongs to a service, or what a group adds to that.
type Usage struct {
	Instances int64
	Aliases   int64
}

// UsageOf returns what one change adds to the usage of which service; false
// when it adds nothing.
func UsageOf(c *Change) (ServiceKey, Usage, bool) {
	var by int64
	switch {
	case c.Before == nil && c.After != nil:
		by = 1
	case c.Before != nil && c.After == nil:
		by = -1
	default:
		return ServiceKey{}, Usage{}, false // an object never moves to another service
	}
	switch x := c.Object().(type) {
	case *Instance:
		return x.Service, Usage{Instances: by}, true
	case *Service:
		return x.AliasFor, Usage{Aliases: by}, x.IsAlias()
	default:
		return ServiceKey{}, Usage{}, false
	}
}

// Add returns the sum.
func (u Usage) Add(o Usage) Usage {
	return Usage{Instances: u.Instances + o.Instances, Aliases: u.Aliases + o.Aliases}
}

// Plan decides a group of writes in arrival order, each on the world as the
// ones before it leave it. It is pure: the store calls it inside its
// transaction, writes the changes, and commits them as revision next.
//
// One result per write. A refused write has its Err set and changes nothing;
// its neighbours go on. When no write changes anything, the commit has no
// changes and revision 0, and nothing must be written: results then carry the
// revision before. An error of kind Internal means that a write panicked, any
// other that the view failed.
func Plan(next Revision, now Micros, v View, writes []Write) (Commit, []Result, error) {
	o := &overlay{
		view: v, revision: next, now: now, objects: map[objectID]Object{}, usage: map[ServiceKey]Usage{},
	}
	results := make([]Result, len(writes))
	for n, w := range writes {
		r, err := decide(w, o)
		if err != nil {
			return Commit{}, nil, err
		}
		results[n] = r
	}
	head := next - 1
	commit := Commit{Time: now, Changes: o.changes}
	if len(o.changes) > 0 {
		commit.Revision = next
	}
	for n := range results {
		if results[n].Revision == 0 && results[n].Err == nil {
			results[n].Revision = head
			if results[n].madeBy(next) {
				results[n].Revision = next // a neighbour in this very group made it so
			}
		}
	}
	return commit, results, nil
}

// decide asks one write.
func decide(w Write, o *overlay) (r Result, err error) {
	defer panicked(w, &err)
	return w.decide(o)
}

// NeedsOf asks one write what it needs. That it panics is an error, as in [Plan].
func NeedsOf(w Write) (n Needs, err error) {
	defer panicked(w, &err)
	return w.Needs(), nil
}

// panicked makes a panic of a write an error of its own kind: nothing has been
// written yet, so the group can be tried again without the guilty one.
func panicked(w Write, err *error) {
	if p := recover(); p != nil {
		*err = &Error{Kind: Internal, Err: fmt.Errorf("%T panicked: %v\n%s", w, p, debug.Stack())}
	}
}

func (r *Result) madeBy(rev Revision) bool {
	return r.Instance != nil && r.Instance.Revision == rev || r.Client != nil && r.Client.Revision == rev ||
		r.Service != nil && r.Service.Revision == rev || r.Namespace != nil && r.Namespace.Revision == rev ||
		r.Contract != nil && r.Contract.Revision == rev || r.User != nil && r.User.Revision == rev ||
		r.Group != nil && r.Group.Revision == rev || r.Token != nil && r.Token.Revision == rev || r.Policy != nil && r.Policy.Revision == rev
}

// objectID names an object of any kind.
type objectID struct {
	kind Kind
	key  string
}

func idOf(o Object) objectID { return objectID{o.ObjectKind(), o.ObjectKey()} }

// overlay is the view plus what the group has decided so far.
type overlay struct {
	view     View
	revision Revision
	now      Micros
	changes  []Change
	objects  map[objectID]Object // nil: the group deleted it
	usage    map[ServiceKey]Usage
	access   *access // nil until somebody asks
}

// find returns what the group left of an object, else what is stored.
func find[T any](o *overlay, kind Kind, key string, stored func() (*T, error)) (*T, error) {
	if x, ok := o.objects[objectID{kind, key}]; ok {
		t, _ := any(x).(*T)
		return t, nil
	}
	return stored()
}

func (o *overlay) namespace(name string) (*Namespace, error) {
	return find(o, KindNamespace, name, func() (*Namespace, error) { return o.view.Namespace(name) })
}

func (o *overlay) service(key ServiceKey) (*Service, error) {
	return find(o, KindService, key.StoreKey(), func() (*Service, error) { return o.view.Service(key) })
}

func (o *overlay) instance(id string) (*Instance, error) {
	return find(o, KindInstance, id, func() (*Instance, error) { return o.view.Instance(id) })
}

func (o *overlay) client(id string) (*Client, error) {
	return find(o, KindClient, id, func() (*Client, error) { return o.view.Client(id) })
}

func (o *overlay) contract(key ServiceKey, id string) (*Contract, error) {
	return find(o, KindContract, ContractKey(key, id), func() (*Contract, error) { return o.view.Contract(key, id) })
}

func (o *overlay) override(instanceID string) (*Override, error) {
	return find(o, KindOverride, instanceID, func() (*Override, error) { return o.view.Override(instanceID) })
}

// usageOf counts what belongs to a service after what the group did.
func (o *overlay) usageOf(key ServiceKey) (Usage, error) {
	stored, err := o.view.Usage(key)
	return stored.Add(o.usage[key]), err
}

// hasService reports whether a namespace has a service after what the group did.
func (o *overlay) hasService(namespace string) (bool, error) {
	for id, x := range o.objects {
		if s, ok := x.(*Service); ok && id.kind == KindService && s.Key.Namespace == namespace {
			return true, nil
		}
	}
	found := false
	err := o.view.ServicesIn(namespace, func(key ServiceKey) bool {
		x, decided := o.objects[objectID{KindService, key.StoreKey()}]
		found = !decided || x != nil
		return !found
	})
	return found, err
}

// contractsOf lists the contracts of a service after what the group did.
func (o *overlay) contractsOf(key ServiceKey) ([]*Contract, error) {
	var out []*Contract
	err := o.view.ContractsOf(key, func(c *Contract) {
		if _, decided := o.objects[idOf(c)]; !decided {
			out = append(out, c)
		}
	})
	for id, x := range o.objects {
		if c, ok := x.(*Contract); ok && id.kind == KindContract && c.Service == key {
			out = append(out, c)
		}
	}
	return out, err
}

// absent is the answer for an object that is not there.
func (o *overlay) absent(kind Kind, key string) Result {
	if _, here := o.objects[objectID{kind, key}]; here {
		return Result{Outcome: Absent, Revision: o.revision} // a neighbour removed it
	}
	return Result{Outcome: Absent}
}

// putInstance stores after unless nothing of it differs from before.
func (o *overlay) putInstance(before, after *Instance, c Change) Result {
	after.Created, after.Modified, after.Revision = o.now, o.now, o.revision
	if before == nil {
		o.put(nil, after, c)
		return Result{Outcome: Created, Instance: after, Revision: o.revision}
	}
	if before.SameContent(after) && before.Operator.same(after.Operator) {
		return Result{Outcome: Unchanged, Instance: before}
	}
	after.Created = before.Created
	o.put(before, after, c)
	return Result{Outcome: Updated, Instance: after, Revision: o.revision}
}

// put records one change; before or after is nil for a creation or deletion.
func (o *overlay) put(before, after Object, c Change) {
	c.Before, c.After = before, after
	o.changes = append(o.changes, c)
	o.objects[idOf(c.Object())] = after
	o.access.changed(&c)
	if key, u, ok := UsageOf(&c); ok {
		o.usage[key] = o.usage[key].Add(u)
	}
}
