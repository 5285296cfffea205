package naming

import "slices"

// Mode says what a write of a named object expects to find.
type Mode uint8

// The modes.
const (
	Upsert Mode = iota // create it or change it
	Create             // refused with Exists when it is there
	Update             // refused with NotFound when it is not
)

// PutNamespace creates or changes a namespace; nil fields stay.
type PutNamespace struct {
	Name            string
	Mode            Mode
	Comment         *string
	Owner           *string
	ServiceExportTo *[]string // sorted
	If              Revision  // that it must have; 0: any
	Actor           Actor
	Reason          string
}

// DeleteNamespace removes a namespace without services.
type DeleteNamespace struct {
	Name   string
	If     Revision // that it must have; 0: any
	Actor  Actor
	Cause  Cause
	Reason string
}

// PutService creates or changes a service; nil fields stay. It refuses an
// alias.
type PutService struct {
	Key        ServiceKey
	Mode       Mode
	Metadata   *Metadata
	Patch      Patch // of the metadata, after Metadata
	Ports      *string
	Business   *string
	Department *string
	Comment    *string
	Owner      *string
	Cmdb       *[3]string
	ExportTo   *[]string // sorted
	If         Revision  // that it must have itself; 0: any
	// AutoCreate allows a missing namespace to be created.
	AutoCreate bool
	Actor      Actor
	Reason     string
}

// PutAlias creates or changes another name of a service.
type PutAlias struct {
	Key        ServiceKey
	For        ServiceKey // zero when updating: stays
	Mode       Mode
	Comment    *string
	Owner      *string
	If         Revision // that it must have; 0: any
	AutoCreate bool
	Actor      Actor
	Reason     string
}

// DeleteService removes a service without instances and aliases, with its
// contracts; or an alias.
type DeleteService struct {
	Key    ServiceKey
	Alias  bool     // remove an alias, and nothing else; false: a service, and no alias
	Auto   bool     // only while nobody touched what a first registration created
	If     Revision // that it must have itself; 0: any
	Actor  Actor
	Cause  Cause
	Reason string
}

// Needs implements [Write].
func (w *PutNamespace) Needs() Needs { return Needs{Namespaces: []string{w.Name}} }

// Needs implements [Write].
func (w *DeleteNamespace) Needs() Needs { return Needs{Namespaces: []string{w.Name}} }

// Needs implements [Write].
func (w *PutService) Needs() Needs {
	return Needs{Namespaces: []string{w.Key.Namespace}, Services: []ServiceKey{w.Key}}
}

// Needs implements [Write].
func (w *PutAlias) Needs() Needs {
	out := Needs{Namespaces: []string{w.Key.Namespace}, Services: []ServiceKey{w.Key}}
	if w.For != (ServiceKey{}) {
		out.Services = append(out.Services, w.For)
	}
	return out
}

// Needs implements [Write].
func (w *DeleteService) Needs() Needs {
	return Needs{Services: []ServiceKey{w.Key}, Usage: []ServiceKey{w.Key}}
}

func (w *PutNamespace) decide(v *overlay) (Result, error) {
	before, err := v.namespace(w.Name)
	switch {
	case err != nil:
		return Result{}, err
	case before == nil && w.Mode == Update:
		return refuse(Errorf(NotFound, FieldNamespace, "namespace %q does not exist", w.Name)), nil
	case before != nil && w.Mode == Create:
		return refuse(Errorf(Exists, FieldNamespace, "namespace %q exists", w.Name)), nil
	case before == nil && w.If != 0:
		return refuse(vanished(KindNamespace, w.Name, w.If)), nil
	}
	if before != nil {
		if err := stale(before, w.If); err != nil {
			return refuse(err), nil
		}
	}
	after := &Namespace{Name: w.Name, Owner: ownerOf(w.Actor), Creator: w.Actor.ID, Created: v.now}
	if before != nil {
		*after = *before
	}
	put(&after.Comment, w.Comment)
	put(&after.Owner, w.Owner)
	put(&after.ServiceExportTo, w.ServiceExportTo)
	if before != nil && before.same(after) {
		return Result{Outcome: Unchanged, Namespace: before}, nil
	}
	after.Modified, after.Revision = v.now, v.revision
	out := Result{Outcome: Created, Namespace: after, Revision: v.revision}
	var was Object // a nil *Namespace in an Object would not be nil
	if before != nil {
		was, out.Outcome = before, Updated
	}
	v.put(was, after, Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason})
	return out, nil
}

func (n *Namespace) same(o *Namespace) bool {
	return n.Comment == o.Comment && n.Owner == o.Owner && slices.Equal(n.ServiceExportTo, o.ServiceExportTo)
}

func (w *DeleteNamespace) decide(v *overlay) (Result, error) {
	before, err := v.namespace(w.Name)
	switch {
	case err != nil:
		return Result{}, err
	case before == nil:
		return v.absent(KindNamespace, w.Name), nil
	}
	if err := stale(before, w.If); err != nil {
		return refuse(err), nil
	}
	used, err := v.hasService(w.Name)
	switch {
	case err != nil:
		return Result{}, err
	case used:
		return refuse(Errorf(Conflict, FieldServices, "namespace %q still has services", w.Name)), nil
	}
	v.put(before, nil, Change{Actor: w.Actor, Cause: w.Cause, Reason: w.Reason})
	return Result{Outcome: Deleted, Namespace: before, Revision: v.revision}, nil
}

// prepare returns the service before and as it would be if nothing were set;
// before is nil when there is none. A refusal is in the result.
func (o *overlay) prepare(key ServiceKey, mode Mode, want Revision, autoCreate bool, c Change) (before, after *Service, r Result, err error) {
	before, err = o.service(key)
	switch {
	case err != nil:
		return nil, nil, Result{}, err
	case before == nil && mode == Update:
		return nil, nil, refuse(Errorf(NotFound, FieldService, "service %q does not exist", key)), nil
	case before != nil && mode == Create:
		return nil, nil, refuse(Errorf(Exists, FieldService, "service %q exists", key)), nil
	case before == nil && want != 0:
		return nil, nil, refuse(vanished(KindService, key.String(), want)), nil
	case before != nil:
		if err := stale(before, want); err != nil {
			return nil, nil, refuse(err), nil
		}
		copied := *before
		return before, &copied, Result{}, nil
	}
	ns, err := o.namespace(key.Namespace)
	switch {
	case err != nil:
		return nil, nil, Result{}, err
	case ns == nil && !autoCreate:
		return nil, nil, refuse(Errorf(NotFound, FieldNamespace, "namespace %q does not exist", key.Namespace)), nil
	case ns == nil:
		c.Cause = CauseAuto
		o.createNamespace(key.Namespace, c)
	}
	return nil, &Service{ID: ServiceID(key), Key: key, Owner: ownerOf(c.Actor), Creator: c.Actor.ID, Created: o.now}, Result{}, nil
}

// putService stores after unless nothing of it differs from before.
func (o *overlay) putService(before, after *Service, c Change) Result {
	if before != nil && before.Digest() == after.Digest() && before.Auto == after.Auto {
		return Result{Outcome: Unchanged, Service: before}
	}
	after.Modified, after.Revision = o.now, o.revision
	out := Result{Outcome: Created, Service: after, Revision: o.revision}
	var was Object
	if before != nil {
		was, out.Outcome = before, Updated
	}
	o.put(was, after, c)
	return out
}

func (w *PutService) decide(v *overlay) (Result, error) {
	c := Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason}
	before, after, r, err := v.prepare(w.Key, w.Mode, w.If, w.AutoCreate, c)
	if err != nil || r.Err != nil {
		return r, err
	}
	if before != nil && before.IsAlias() {
		return refuse(Errorf(Conflict, FieldAliasFor, "service %q is an alias for %q", w.Key, before.AliasFor)), nil
	}
	put(&after.Metadata, w.Metadata)
	after.Metadata = w.Patch.apply(after.Metadata)
	if before == nil || !slices.Equal(before.Metadata, after.Metadata) {
		if err := checkServiceMetadata(after.Metadata); err != nil {
			return refuse(err), nil
		}
	}
	put(&after.Ports, w.Ports)
	put(&after.Business, w.Business)
	put(&after.Department, w.Department)
	put(&after.Comment, w.Comment)
	put(&after.Owner, w.Owner)
	put(&after.Cmdb, w.Cmdb)
	put(&after.ExportTo, w.ExportTo)
	after.Auto = false // somebody cares
	return v.putService(before, after, c), nil
}

func (w *PutAlias) decide(v *overlay) (Result, error) {
	if w.For != (ServiceKey{}) {
		target, err := v.service(w.For)
		switch {
		case err != nil:
			return Result{}, err
		case target == nil:
			return refuse(Errorf(NotFound, FieldService, "service %q does not exist", w.For)), nil
		case target.IsAlias():
			return refuse(Errorf(Conflict, FieldAliasOfAlias, "service %q is an alias itself", w.For)), nil
		}
	}
	c := Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason}
	before, after, r, err := v.prepare(w.Key, w.Mode, w.If, w.AutoCreate, c)
	if err != nil || r.Err != nil {
		return r, err
	}
	if before != nil && !before.IsAlias() {
		return refuse(Errorf(Exists, FieldService, "service %q exists and is no alias", w.Key)), nil
	}
	put(&after.Comment, w.Comment)
	put(&after.Owner, w.Owner)
	if w.For != (ServiceKey{}) {
		after.AliasFor = w.For
	}
	if before == nil || before.AliasFor == after.AliasFor {
		return v.putService(before, after, c), nil
	}
	// An object never changes what it counts for: the old alias goes.
	v.put(before, nil, c)
	r = v.putService(nil, after, c)
	r.Outcome = Updated
	return r, nil
}

func (w *DeleteService) decide(v *overlay) (Result, error) {
	before, err := v.service(w.Key)
	switch {
	case err != nil:
		return Result{}, err
	case before == nil:
		return v.absent(KindService, w.Key.StoreKey()), nil
	case before.IsAlias() && !w.Alias:
		return refuse(Errorf(Conflict, FieldAliasFor, "service %q is an alias for %q", w.Key, before.AliasFor)), nil
	case !before.IsAlias() && w.Alias:
		return refuse(Errorf(NotFound, FieldAlias, "alias %q does not exist; a service has that name", w.Key)), nil
	}
	if err := stale(before, w.If); err != nil {
		return refuse(err), nil
	}
	if w.Auto && !before.Auto {
		return Result{Outcome: Unchanged, Service: before}, nil
	}
	used, err := v.usageOf(w.Key)
	switch {
	case err != nil:
		return Result{}, err
	case used.Instances > 0:
		return refuse(Errorf(Conflict, FieldInstances, "service %q still has %d instances", w.Key, used.Instances)), nil
	case used.Aliases > 0:
		return refuse(Errorf(Conflict, FieldAliases, "service %q still has %d aliases", w.Key, used.Aliases)), nil
	}
	c := Change{Actor: w.Actor, Cause: w.Cause, Reason: w.Reason}
	contracts, err := v.contractsOf(w.Key)
	if err != nil {
		return Result{}, err
	}
	for _, contract := range contracts {
		v.put(contract, nil, c)
	}
	v.put(before, nil, c)
	return Result{Outcome: Deleted, Service: before, Revision: v.revision}, nil
}
