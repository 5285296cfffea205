package naming

import (
	"bytes"
	"cmp"
	"slices"
)

func refuse(err error) Result { return Result{Err: err} }

func (w *Register) decide(v *overlay) (Result, error) {
	want := w.Instance
	before, err := v.instance(want.ID)
	if err != nil {
		return Result{}, err
	}
	if before != nil && !sameOwner(before, &want) {
		// A caller-chosen id must not take over the instance of somebody else.
		return refuse(Errorf(Invalid, FieldID, "id: %q belongs to another instance", want.ID)), nil
	}
	svc, err := v.service(want.Service)
	switch {
	case err != nil:
		return Result{}, err
	case svc != nil && svc.IsAlias():
		return refuse(Errorf(Conflict, FieldAlias, "service: %q is an alias for %q; register to that", want.Service, svc.AliasFor)), nil
	case svc == nil:
		if r, err := w.createService(v); err != nil || r.Err != nil {
			return r, err
		}
	}
	own := Attributes{Weight: want.Weight, Healthy: w.Healthy == nil || *w.Healthy}
	var op *Operator
	switch {
	case before != nil:
		op, own.Isolated = before.Operator, before.Own().Isolated
	default:
		kept, err := v.override(want.ID)
		if err != nil {
			return Result{}, err
		}
		if kept != nil { // what was kept for an id of another service is for nobody now
			if kept.Service == want.Service {
				op = &kept.Operator
			}
			v.put(kept, nil, Change{Actor: w.Actor, Cause: CauseClient})
		}
	}
	if w.Isolated != nil {
		own.Isolated = *w.Isolated
	}
	want.settle(own, op)
	return v.putInstance(before, &want, Change{Actor: w.Actor, Cause: CauseClient}), nil
}

// sameOwner reports whether an id stands for the same place in both.
func sameOwner(a, b *Instance) bool {
	return a.Service == b.Service && a.VpcID == b.VpcID && a.Host == b.Host && a.Port == b.Port
}

// createService makes the service of a first registration, and its namespace.
func (w *Register) createService(v *overlay) (Result, error) {
	key := w.Instance.Service
	ns, err := v.namespace(key.Namespace)
	if err != nil {
		return Result{}, err
	}
	switch {
	case !w.AutoCreate && ns == nil:
		return refuse(Errorf(NotFound, FieldNamespace, "namespace %q does not exist", key.Namespace)), nil
	case !w.AutoCreate:
		return refuse(Errorf(NotFound, FieldService, "service %q does not exist", key)), nil
	}
	auto := Change{Actor: w.Actor, Cause: CauseAuto}
	if ns == nil {
		v.createNamespace(key.Namespace, auto)
	}
	v.put(nil, &Service{
		ID: ServiceID(key), Key: key, Owner: ownerOf(w.Actor), Creator: w.Actor.ID, Auto: true, Created: v.now, Modified: v.now, Revision: v.revision,
	}, auto)
	return Result{}, nil
}

// createNamespace makes a namespace that something else needs. It is nobody's:
// who may register one service must not get hold of all that come after it.
func (o *overlay) createNamespace(name string, c Change) {
	n := &Namespace{Name: name, Owner: ownerOf(c.Actor), Created: o.now, Modified: o.now, Revision: o.revision}
	o.put(nil, n, c)
}

// ownerOf is who owns what an actor creates; Polaris' word for nobody in
// particular.
func ownerOf(a Actor) string {
	if a.Principal == "" {
		return "Polaris"
	}
	return a.Principal
}

// foreign refuses a write on an instance of another service than the one that
// its caller was allowed: whoever may remove from one service must not hit
// another that took the id in between.
func foreign(i *Instance, want ServiceKey) *Error {
	if want == (ServiceKey{}) || i.Service == want {
		return nil
	}
	return Errorf(Conflict, FieldID, "id: %q belongs to another instance", i.ID)
}

// stale refuses a write that was meant for another revision of its object.
func stale(o Object, want Revision) *Error {
	if now := o.ObjectRevision(); want != 0 && now != want {
		return Errorf(Conflict, FieldRevision, "the %s is at revision %d, not %d: it changed meanwhile", o.ObjectKind(), now, want)
	}
	return nil
}

// vanished refuses a write that was meant for an object which is not there.
func vanished(k Kind, name string, want Revision) *Error {
	return Errorf(Conflict, FieldRevision, "%s %q does not exist, so it is not at revision %d", k, name, want)
}

func (w *Deregister) decide(v *overlay) (Result, error) {
	before, err := v.instance(w.ID)
	switch {
	case err != nil:
		return Result{}, err
	case before == nil:
		return v.absent(KindInstance, w.ID), nil
	}
	if err := cmp.Or(foreign(before, w.Service), stale(before, w.If)); err != nil {
		return refuse(err), nil
	}
	c := Change{Actor: w.Actor, Cause: w.Cause, Reason: w.Reason}
	v.put(before, nil, c)
	if before.Operator != nil {
		v.put(nil, &Override{
			InstanceID: before.ID, Service: before.Service, Host: before.Host, Port: before.Port,
			Operator: *before.Operator, Revision: v.revision,
		}, c)
	}
	return Result{Outcome: Deleted, Instance: before, Revision: v.revision}, nil
}

func (w *SetHealth) decide(v *overlay) (Result, error) {
	before, err := v.instance(w.ID)
	switch {
	case err != nil:
		return Result{}, err
	case before == nil:
		return v.absent(KindInstance, w.ID), nil
	case before.TTL == 0:
		// Re-registered without a health check meanwhile: its flag is its own.
		return Result{Outcome: Unchanged, Instance: before}, nil
	}
	after, own := *before, before.Own()
	own.Healthy = w.Healthy
	after.settle(own, before.Operator)
	return v.putInstance(before, &after, Change{Actor: w.Actor, Cause: w.Cause, Reason: w.Reason}), nil
}

func (w *Modify) decide(v *overlay) (Result, error) {
	before, err := v.instance(w.ID)
	if err != nil {
		return Result{}, err
	}
	if before == nil {
		return w.decideAbsent(v)
	}
	if err := cmp.Or(foreign(before, w.Service), stale(before, w.If)); err != nil {
		return refuse(err), nil
	}
	after := *before
	w.Set.rest(&after)
	if !slices.Equal(before.Metadata, after.Metadata) {
		if err := checkMetadataOf(&after); err != nil {
			return refuse(err), nil
		}
	}
	after.settle(before.Own(), w.operator(before.Operator, v.now))
	return v.putInstance(before, &after, Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason}), nil
}

// decideAbsent clears what was kept of an instance that is not registered.
func (w *Modify) decideAbsent(v *overlay) (Result, error) {
	kept, err := v.override(w.ID)
	if err != nil || kept == nil || w.Clear == (Clear{}) || w.Service != (ServiceKey{}) && kept.Service != w.Service {
		return v.absent(KindInstance, w.ID), err
	}
	after := *kept
	after.Operator, after.Revision = *w.operator(&kept.Operator, v.now), v.revision
	c := Change{Actor: w.Actor, Cause: CauseOperator, Reason: w.Reason}
	switch {
	case after.Operator.same(&kept.Operator):
		return v.absent(KindInstance, w.ID), nil
	case after.Operator.empty():
		v.put(kept, nil, c)
	default:
		v.put(kept, &after, c)
	}
	return Result{Outcome: Updated, Revision: v.revision}, nil
}

// operator returns what the operator's settings become.
func (w *Modify) operator(before *Operator, now Micros) *Operator {
	var op Operator
	if before != nil {
		op = *before
	}
	was := op
	if w.Clear.Weight {
		op.Weight = nil
	}
	if w.Clear.Healthy {
		op.Healthy = nil
	}
	if w.Clear.Isolated {
		op.Isolated = nil
	}
	if w.Set.Weight != nil {
		op.Weight = w.Set.Weight
	}
	if w.Set.Healthy != nil {
		op.Healthy = w.Set.Healthy
	}
	if w.Set.Isolated != nil {
		op.Isolated = w.Set.Isolated
	}
	if !op.same(&was) {
		op.By, op.Reason, op.Since = w.Actor.Principal, w.Reason, now
		if op.By == "" {
			op.By = w.Actor.Address
		}
	}
	return &op
}

// rest sets the attributes that only last until the client registers anew.
func (s *Setting) rest(i *Instance) {
	put(&i.Protocol, s.Protocol)
	put(&i.Version, s.Version)
	put(&i.LogicSet, s.LogicSet)
	put(&i.Priority, s.Priority)
	put(&i.TTL, s.TTL)
	put(&i.Location.Region, s.Region)
	put(&i.Location.Zone, s.Zone)
	put(&i.Location.Campus, s.Campus)
	put(&i.Metadata, s.Metadata)
	i.Metadata = s.Patch.apply(i.Metadata)
}

func put[T any](at, value *T) {
	if value != nil {
		*at = *value
	}
}

func (w *PutClient) decide(v *overlay) (Result, error) {
	before, err := v.client(w.Client.ID)
	if err != nil {
		return Result{}, err
	}
	after := w.Client
	after.Created, after.Modified, after.Revision = v.now, v.now, v.revision
	c := Change{Actor: w.Actor, Cause: CauseClient}
	if before == nil {
		v.put(nil, &after, c)
		return Result{Outcome: Created, Client: &after, Revision: v.revision}, nil
	}
	if before.same(&after) {
		return Result{Outcome: Unchanged, Client: before}, nil
	}
	after.Created = before.Created
	v.put(before, &after, c)
	return Result{Outcome: Updated, Client: &after, Revision: v.revision}, nil
}

// same reports whether two clients say the same; times and revisions do not
// count.
func (c *Client) same(o *Client) bool {
	return c.Host == o.Host && c.Type == o.Type && c.Version == o.Version && c.Location == o.Location && slices.Equal(c.Stats, o.Stats)
}

func (w *RemoveClient) decide(v *overlay) (Result, error) {
	before, err := v.client(w.ID)
	switch {
	case err != nil:
		return Result{}, err
	case before == nil:
		return v.absent(KindClient, w.ID), nil
	}
	v.put(before, nil, Change{Actor: w.Actor, Cause: w.Cause, Reason: w.Reason})
	return Result{Outcome: Deleted, Client: before, Revision: v.revision}, nil
}

func (w *PutContract) decide(v *overlay) (Result, error) {
	svc, err := v.service(w.Contract.Service)
	switch {
	case err != nil:
		return Result{}, err
	case svc == nil:
		return refuse(Errorf(NotFound, FieldService, "service %q does not exist", w.Contract.Service)), nil
	case svc.IsAlias():
		return refuse(Errorf(Conflict, FieldAliasFor, "service %q is an alias for %q; report to that", w.Contract.Service, svc.AliasFor)), nil
	}
	after := w.Contract
	before, err := v.contract(after.Service, after.ID())
	if err != nil {
		return Result{}, err
	}
	after.Created, after.Modified, after.Revision = v.now, v.now, v.revision
	c := Change{Actor: w.Actor, Cause: CauseClient}
	if before == nil {
		v.put(nil, &after, c)
		return Result{Outcome: Created, Contract: &after, Revision: v.revision}, nil
	}
	if bytes.Equal(before.Body, after.Body) {
		return Result{Outcome: Unchanged, Contract: before}, nil
	}
	after.Created = before.Created
	v.put(before, &after, c)
	return Result{Outcome: Updated, Contract: &after, Revision: v.revision}, nil
}
