package naming

import (
	"context"
	"fmt"
	"slices"
)

// Modify changes an instance on behalf of an operator. Weight, health and
// isolation win over the client's until they are cleared. Error: NotFound for
// an unknown instance.
func (r *Registrar) Modify(ctx context.Context, w Modify) (Result, error) {
	if err := w.validate(); err != nil {
		return Result{}, err
	}
	res, err := r.do(ctx, &w)
	if err == nil && res.Outcome == Absent {
		err = Errorf(NotFound, "instance", "instance %q is not registered", w.ID)
	}
	return res, err
}

func (w *Modify) validate() error {
	if w.ID == "" {
		return Errorf(Invalid, FieldID, "id: must not be empty")
	}
	if err := checkText(FieldID, w.ID, MaxInstanceID); err != nil {
		return err
	}
	if err := CheckReason(w.Reason); err != nil {
		return err
	}
	for _, c := range []struct {
		field string
		value *string
		most  int
	}{
		{FieldProtocol, w.Set.Protocol, MaxProtocol},
		{FieldVersion, w.Set.Version, MaxVersion},
		{FieldLogicSet, w.Set.LogicSet, MaxLogicSet},
		{FieldLocation + ".region", w.Set.Region, MaxLocation},
		{FieldLocation + ".zone", w.Set.Zone, MaxLocation},
		{FieldLocation + ".campus", w.Set.Campus, MaxLocation},
	} {
		if err := checkOptional(c.field, c.value, c.most); err != nil {
			return err
		}
	}
	if w.Set.Weight != nil && *w.Set.Weight > MaxWeight {
		return Errorf(Invalid, FieldWeight, "weight: %d is above %d", *w.Set.Weight, MaxWeight)
	}
	if w.Set.TTL != nil && *w.Set.TTL > MaxTTL {
		return Errorf(Invalid, FieldTTL, "%s: %d s is above %d s", FieldTTL, *w.Set.TTL, MaxTTL)
	}
	if w.Set.Metadata != nil {
		if err := checkMetadata(*w.Set.Metadata); err != nil {
			return err
		}
	}
	return w.Set.Patch.check()
}

// Remove removes an instance on behalf of an operator or a clean-up job. The
// outcome is Absent when it was not there.
func (r *Registrar) Remove(ctx context.Context, w Deregister) (Result, error) {
	if err := CheckReason(w.Reason); err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// PutNamespace creates or changes a namespace. Errors: Exists, NotFound, by the
// mode.
func (r *Registrar) PutNamespace(ctx context.Context, w PutNamespace) (Result, error) {
	if err := checkName(FieldNamespace, w.Name, MaxNamespace); err != nil {
		return Result{}, err
	}
	if err := checkTexts(w.Reason, w.Comment, w.Owner); err != nil {
		return Result{}, err
	}
	var err error
	if w.ServiceExportTo, err = exportList("service_export_to", w.ServiceExportTo); err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// DeleteNamespace removes a namespace; absent ones have the outcome Absent.
// Error: Conflict while it has services.
func (r *Registrar) DeleteNamespace(ctx context.Context, w DeleteNamespace) (Result, error) {
	if err := checkName(FieldNamespace, w.Name, MaxNamespace); err != nil {
		return Result{}, err
	}
	if err := CheckReason(w.Reason); err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// PutService creates or changes a service. Errors: Exists, NotFound, by the
// mode; NotFound for a missing namespace unless it may be created; Conflict for
// an alias; Invalid for a wrong setting ([ParseSettings]) in new metadata.
func (r *Registrar) PutService(ctx context.Context, w PutService) (Result, error) {
	if err := checkServiceKey(w.Key); err != nil {
		return Result{}, err
	}
	if err := checkTexts(w.Reason, w.Comment, w.Owner); err != nil {
		return Result{}, err
	}
	for _, c := range []struct {
		field string
		value *string
		most  int
	}{{FieldPorts, w.Ports, MaxPorts}, {FieldBusiness, w.Business, MaxBusiness}, {FieldDepart, w.Department, MaxDepartment}} {
		if err := checkOptional(c.field, c.value, c.most); err != nil {
			return Result{}, err
		}
	}
	if w.Cmdb != nil {
		for n, text := range w.Cmdb {
			if err := checkText(fmt.Sprint(FieldCmdb, n+1), text, MaxCmdb); err != nil {
				return Result{}, err
			}
		}
	}
	if w.Metadata != nil {
		if err := checkServiceMetadata(*w.Metadata); err != nil {
			return Result{}, err
		}
	}
	if err := w.Patch.check(); err != nil {
		return Result{}, err
	}
	var err error
	if w.ExportTo, err = exportList(FieldExportTo, w.ExportTo); err != nil {
		return Result{}, err
	}
	w.AutoCreate = w.AutoCreate || r.cfg.AutoCreate
	return r.do(ctx, &w)
}

// PutAlias creates or changes an alias. Errors: NotFound for a missing target
// (or, when changing, alias), Conflict for a target that is an alias, Exists
// for a name that is taken.
func (r *Registrar) PutAlias(ctx context.Context, w PutAlias) (Result, error) {
	if err := checkServiceKey(w.Key); err != nil {
		return Result{}, err
	}
	if w.For != (ServiceKey{}) || w.Mode != Update {
		if err := checkServiceKey(w.For); err != nil {
			return Result{}, err
		}
	}
	if err := checkTexts(w.Reason, w.Comment, w.Owner); err != nil {
		return Result{}, err
	}
	w.AutoCreate = w.AutoCreate || r.cfg.AutoCreate
	return r.do(ctx, &w)
}

// DeleteService removes a service or an alias; absent ones have the outcome
// Absent. Error: Conflict while it has instances or aliases.
func (r *Registrar) DeleteService(ctx context.Context, w DeleteService) (Result, error) {
	if err := checkServiceKey(w.Key); err != nil {
		return Result{}, err
	}
	if err := CheckReason(w.Reason); err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// ReportContract stores what a service says of its interfaces. Error: NotFound
// for an unknown service.
func (r *Registrar) ReportContract(ctx context.Context, c Contract, actor Actor) (Result, error) {
	if err := checkServiceKey(c.Service); err != nil {
		return Result{}, err
	}
	for _, f := range []struct{ field, value string }{{"type", c.Type}, {FieldProtocol, c.Protocol}, {FieldVersion, c.Version}} {
		if err := checkText(FieldContract+"."+f.field, f.value, MaxContractText); err != nil {
			return Result{}, err
		}
	}
	if n := len(c.Body); n > MaxContract {
		return Result{}, Errorf(Invalid, FieldContract, "contract: %d bytes, at most %d are allowed", n, MaxContract)
	}
	return r.do(ctx, &PutContract{Contract: c, Actor: actor})
}

func checkMetadata(m Metadata) error {
	if n := len(m); n > MaxMetadataPairs {
		return Errorf(Invalid, FieldMetadata, "metadata: %d pairs, at most %d are allowed", n, MaxMetadataPairs)
	}
	return checkPairs(m)
}

func checkOptional(field string, value *string, most int) error {
	if value == nil {
		return nil
	}
	return checkText(field, *value, most)
}

// checkTexts bounds what every managed object has. Comments may have lines.
func checkTexts(reason string, comment, owner *string) error {
	if err := CheckReason(reason); err != nil {
		return err
	}
	if err := checkOptional(FieldOwner, owner, MaxOwner); err != nil {
		return err
	}
	if comment == nil {
		return nil
	}
	if n := len([]rune(*comment)); n > MaxComment {
		return Errorf(Invalid, FieldComment, "comment: %d characters, at most %d are allowed", n, MaxComment)
	}
	return checkControl(FieldComment, *comment, "\t\n\r")
}

// exportList checks and sorts a list of namespaces; nil stays nil.
func exportList(field string, list *[]string) (*[]string, error) {
	if list == nil {
		return nil, nil
	}
	if n := len(*list); n > MaxExportTo {
		return nil, Errorf(Invalid, field, "%s: %d namespaces, at most %d are allowed", field, n, MaxExportTo)
	}
	out := slices.Clone(*list)
	slices.Sort(out)
	out = slices.Compact(out)
	for _, ns := range out {
		if ns == "*" {
			continue
		}
		if err := checkName(field, ns, MaxNamespace); err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		out = nil
	}
	return &out, nil
}
