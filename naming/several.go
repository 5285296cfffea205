package naming

import "context"

// ModifyAll changes several instances of one service alike, in one commit, as
// [Modify] does. Those that are not there, or are another service's, are left
// out.
type ModifyAll struct {
	Service ServiceKey
	IDs     []string
	Set     Setting
	Clear   Clear
	Actor   Actor
	Reason  string
}

// Place selects the instances of a service on one host.
type Place struct {
	Service ServiceKey
	Host    string
	Port    uint32 // 0: all
}

// DropOverride removes what is kept of an instance that is not registered.
type DropOverride struct {
	ID     string
	If     Revision // that it must have; 0: any
	Actor  Actor
	Cause  Cause
	Reason string
}

// Needs implements [Write].
func (w *ModifyAll) Needs() Needs { return Needs{Instances: w.IDs} }

// Needs implements [Write].
func (w *DropOverride) Needs() Needs { return Needs{Instances: []string{w.ID}} }

// ModifyHost changes weight, health and isolation of all instances of a service
// on one host, in one commit. Errors: NotFound when there is none; Invalid for
// other attributes, which belong to one instance.
func (r *Registrar) ModifyHost(ctx context.Context, at Place, w ModifyAll) (Result, error) {
	if err := checkServiceKey(at.Service); err != nil {
		return Result{}, err
	}
	if err := checkHost(at.Host); err != nil {
		return Result{}, err
	}
	if w.Set.attributes() {
		return Result{}, Errorf(Invalid, FieldRequest, "of all instances on a host only weight, health and isolation can be set")
	}
	one := Modify{ID: "any", Set: w.Set, Reason: w.Reason}
	if err := one.validate(); err != nil {
		return Result{}, err
	}
	w.Service, w.IDs = at.Service, nil
	if st := r.World.World().Service(at.Service); st != nil {
		for _, i := range st.Instances {
			if i.Host == at.Host && (at.Port == 0 || at.Port == i.Port) {
				w.IDs = append(w.IDs, i.ID)
			}
		}
	}
	switch n := len(w.IDs); {
	case n == 0:
		return Result{}, Errorf(NotFound, "instance", "service %q has no such instance on host %q", at.Service, at.Host)
	case n > MaxModifyAll:
		return Result{}, Errorf(Invalid, FieldHost, "host: %d instances of service %q, at most %d can be changed at once", n, at.Service, MaxModifyAll)
	}
	res, err := r.do(ctx, &w)
	if err == nil && res.Outcome == Absent {
		err = Errorf(NotFound, "instance", "service %q has no such instance on host %q any more", at.Service, at.Host)
	}
	return res, err
}

// attributes reports whether anything is set that only lasts until the client
// registers anew.
func (s *Setting) attributes() bool {
	return s.Protocol != nil || s.Version != nil || s.LogicSet != nil || s.Priority != nil || s.TTL != nil ||
		s.Region != nil || s.Zone != nil || s.Campus != nil || s.Metadata != nil || s.Patch != nil
}

// DropOverride removes what is kept of an absent instance; the outcome is
// Absent when nothing is.
func (r *Registrar) DropOverride(ctx context.Context, w DropOverride) (Result, error) {
	if err := checkText(FieldID, w.ID, MaxInstanceID); err != nil {
		return Result{}, err
	}
	if err := CheckReason(w.Reason); err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

func (w *ModifyAll) decide(v *overlay) (Result, error) {
	out := Result{Outcome: Absent}
	for _, id := range w.IDs {
		// The IDs come from a snapshot, so what is gone or another's now is not
		// meant. Nothing else refuses a Modify without attributes.
		r, err := (&Modify{ID: id, Service: w.Service, Set: w.Set, Clear: w.Clear, Actor: w.Actor, Reason: w.Reason}).decide(v)
		switch {
		case err != nil:
			return Result{}, err
		case r.Err != nil || r.Outcome == Absent:
			continue
		case r.Outcome == Updated:
			out.Outcome, out.Revision = Updated, r.Revision
		case out.Outcome == Absent:
			out.Outcome = Unchanged
		}
		if r.Instance != nil { // else what was kept of one that went meanwhile was cleared
			out.Instances = append(out.Instances, r.Instance)
		}
	}
	return out, nil
}

func (w *DropOverride) decide(v *overlay) (Result, error) {
	kept, err := v.override(w.ID)
	switch {
	case err != nil:
		return Result{}, err
	case kept == nil:
		return v.absent(KindOverride, w.ID), nil
	}
	if err := stale(kept, w.If); err != nil {
		return refuse(err), nil
	}
	v.put(kept, nil, Change{Actor: w.Actor, Cause: w.Cause, Reason: w.Reason})
	return Result{Outcome: Deleted, Revision: v.revision}, nil
}
