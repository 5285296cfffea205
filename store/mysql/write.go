package mysql

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"polestar/naming"
	"polestar/store/codec"
)

// Columns as they are inserted; what follows the key is what a change updates.
var (
	namespaceColumns = []string{"name", "comment", "owner", "service_export_to", "flag", "ctime", "mtime", "polestar_revision", "polestar_creator"}
	serviceColumns   = []string{
		"id", "name", "namespace", "ports", "business", "department", "cmdb_mod1", "cmdb_mod2", "cmdb_mod3", "comment", "revision", "owner",
		"flag", "reference", "export_to", "ctime", "mtime", "polestar_revision", "polestar_auto", "polestar_touched", "polestar_creator",
	}
	instanceColumns = []string{
		"id", "service_id", "vpc_id", "host", "port", "protocol", "version", "health_status", "isolate", "weight", "enable_health_check",
		"logic_set", "cmdb_region", "cmdb_zone", "cmdb_idc", "priority", "revision", "flag", "ctime", "mtime", "polestar_revision", "polestar_operator",
	}
	clientColumns   = []string{"id", "host", "type", "version", "region", "zone", "campus", "flag", "ctime", "mtime", "polestar_revision"}
	contractColumns = []string{"namespace", "service", "id", "type", "protocol", "version", "body", "ctime", "mtime", "polestar_revision"}
)

// final is what a commit leaves of each object, sorted by kind and key: rows
// are locked in one order.
type final struct {
	first, last *naming.Change
}

func finals(commit naming.Commit) []final {
	type id struct {
		kind naming.Kind
		key  string
	}
	at := map[id]int{}
	var out []final
	for n := range commit.Changes {
		c := &commit.Changes[n]
		key := id{c.Object().ObjectKind(), c.Object().ObjectKey()}
		if k, known := at[key]; known {
			out[k].last = c
			continue
		}
		at[key] = len(out)
		out = append(out, final{c, c})
	}
	slices.SortFunc(out, func(a, b final) int {
		x, y := a.last.Object(), b.last.Object()
		return cmp.Or(cmp.Compare(x.ObjectKind(), y.ObjectKind()), cmp.Compare(x.ObjectKey(), y.ObjectKey()))
	})
	return out
}

// writing turns the objects of a commit into rows.
type writing struct {
	v      *view
	commit naming.Commit
	ids    map[naming.ServiceKey]string // of services that are known to exist
	gone   map[naming.ServiceKey]bool   // services that the commit removes

	namespaces, services, instances, checks, clients, stats, contracts, overrides [][]any
	serviceMeta, instanceMeta                                                     [][]any
	clearServiceMeta, clearMeta, clearStats, clearChecks                          []string
	goneNamespaces, goneServices, goneInstances, goneClients, goneOverrides       []string
	goneContracts                                                                 []*naming.Contract
	touched                                                                       map[string]bool // ids of services
	access                                                                        [][]any
	goneAccess                                                                    []naming.Object
}

// script makes all statements of a commit but the last, COMMIT. The order is:
// main rows, health checks, clear old metadata, insert metadata, change log,
// revision.
func (s *Store) script(v *view, commit naming.Commit, seq uint64) (*script, error) {
	w := writing{v: v, commit: commit, ids: map[naming.ServiceKey]string{}, gone: map[naming.ServiceKey]bool{}, touched: map[string]bool{}}
	all := finals(commit)
	for _, f := range all {
		if svc, ok := f.last.Object().(*naming.Service); ok {
			w.ids[svc.Key], w.gone[svc.Key] = svc.ID, f.last.Deleted()
		}
	}
	for _, f := range all {
		if err := w.object(f); err != nil {
			return nil, err
		}
	}
	out := &script{}
	w.mainRows(out)
	w.details(out)
	return out, s.appendLog(out, v, commit, seq)
}

func (w *writing) mainRows(out *script) {
	insert := func(table string, of []string, rows [][]any) { out.insert(table, strings.Join(of, ", "), of, rows) }
	insert("namespace", namespaceColumns, w.namespaces)
	insert("service", serviceColumns, w.services)
	insert("instance", instanceColumns, w.instances)
	insert("client", clientColumns, w.clients)
	insert("polestar_contract", contractColumns, w.contracts)
	insert("polestar_override", []string{"instance_id", "record"}, w.overrides)
	insert("polestar_access", []string{"kind", "id", "record"}, w.access)
	flag := func(table, key string, keys []string) {
		if len(keys) == 0 {
			return
		}
		args := []any{when(w.commit.Time), uint64(w.commit.Revision)}
		for _, k := range keys {
			args = append(args, k)
		}
		out.add("UPDATE "+table+" SET flag = 1, mtime = ?, polestar_revision = ? WHERE "+key+" IN ("+marks(len(keys))+")", args...)
	}
	flag("instance", "id", w.goneInstances)
	flag("service", "id", w.goneServices)
	flag("namespace", "name", w.goneNamespaces)
	flag("client", "id", w.goneClients)
	out.each("DELETE FROM polestar_override WHERE instance_id IN (??)", w.goneOverrides)
	for _, c := range w.goneContracts {
		out.add("DELETE FROM polestar_contract WHERE namespace = ? AND service = ? AND id = ?", c.Service.Namespace, c.Service.Name, c.ID())
	}
	for _, o := range w.goneAccess {
		out.add("DELETE FROM polestar_access WHERE kind = ? AND id = ?", uint8(o.ObjectKind()), o.ObjectKey())
	}
	if len(w.touched) > 0 {
		args := []any{uint64(w.commit.Revision)}
		for id := range w.touched {
			args = append(args, id)
		}
		out.add("UPDATE service SET polestar_touched = ? WHERE id IN ("+marks(len(args)-1)+")", args...)
	}
}

func (w *writing) details(out *script) {
	out.insert("health_check", "id, type, ttl", []string{"type", "ttl"}, w.checks)
	out.each("DELETE FROM health_check WHERE id IN (??)", w.clearChecks)
	out.each("DELETE FROM instance_metadata WHERE id IN (??)", w.clearMeta)
	out.insert("instance_metadata", "id, mkey, mvalue", nil, w.instanceMeta)
	out.each("DELETE FROM service_metadata WHERE id IN (??)", w.clearServiceMeta)
	out.insert("service_metadata", "id, mkey, mvalue", nil, w.serviceMeta)
	out.each("DELETE FROM client_stat WHERE client_id IN (??)", w.clearStats)
	out.insert("client_stat", "client_id, polestar_place, target, port, protocol, path", nil, w.stats)
}

// object adds the rows of one object.
func (w *writing) object(f final) error {
	gone := f.last.Deleted()
	switch x := f.last.Object().(type) {
	case *naming.Namespace:
		if gone {
			w.goneNamespaces = append(w.goneNamespaces, x.Name)
			break
		}
		w.namespaces = append(w.namespaces, []any{
			x.Name, x.Comment, x.Owner, listText(x.ServiceExportTo), 0, when(x.Created), when(x.Modified), uint64(x.Revision), x.Creator,
		})
	case *naming.Service:
		return w.service(x, gone)
	case *naming.Instance:
		return w.instance(f, x, gone)
	case *naming.Client:
		w.client(x, gone)
	case *naming.Contract:
		if gone {
			w.goneContracts = append(w.goneContracts, x)
			break
		}
		w.contracts = append(w.contracts, []any{
			x.Service.Namespace, x.Service.Name, x.ID(), x.Type, x.Protocol, x.Version, x.Body, when(x.Created), when(x.Modified), uint64(x.Revision),
		})
	case *naming.Override:
		if gone {
			w.goneOverrides = append(w.goneOverrides, x.InstanceID)
			break
		}
		record, err := codec.Encode(x)
		w.overrides = append(w.overrides, []any{x.InstanceID, record})
		return err
	case *naming.User, *naming.Group, *naming.Token, *naming.Policy:
		if gone {
			w.goneAccess = append(w.goneAccess, x)
			break
		}
		record, err := codec.Encode(x)
		w.access = append(w.access, []any{uint8(x.ObjectKind()), x.ObjectKey(), record})
		return err
	}
	return nil
}

// id returns the id of a service, which rows of others refer to.
func (w *writing) id(key naming.ServiceKey) (string, error) {
	if id, ok := w.ids[key]; ok {
		return id, nil
	}
	if id, ok := w.v.ids[key]; ok { // a removal and a change of health ask for nothing but the instance
		return id, nil
	}
	s, err := w.v.Service(key)
	if err != nil {
		return "", err
	}
	if s == nil {
		return "", naming.Errorf(naming.Internal, "", "service %s is not stored", key)
	}
	w.ids[key] = s.ID
	return s.ID, nil
}

func (w *writing) service(x *naming.Service, gone bool) error {
	if gone {
		w.goneServices = append(w.goneServices, x.ID)
		return nil
	}
	var reference any
	if x.IsAlias() {
		id, err := w.id(x.AliasFor)
		if err != nil {
			return err
		}
		reference = id
	}
	w.services = append(w.services, []any{
		x.ID, x.Key.Name, x.Key.Namespace, x.Ports, x.Business, x.Department, x.Cmdb[0], x.Cmdb[1], x.Cmdb[2], x.Comment,
		revisionText(x.Revision), x.Owner, 0, reference, listText(x.ExportTo), when(x.Created), when(x.Modified), uint64(x.Revision),
		x.Auto, uint64(w.commit.Revision), x.Creator,
	})
	w.clearServiceMeta = append(w.clearServiceMeta, x.ID)
	for _, p := range x.Metadata {
		w.serviceMeta = append(w.serviceMeta, []any{x.ID, p.Key, p.Value})
	}
	return nil
}

// revisionText is a revision as Polaris' tools see it: some text that changes.
func revisionText(r naming.Revision) string { return strconv.FormatUint(uint64(r), 16) }

func (w *writing) instance(f final, x *naming.Instance, gone bool) error {
	if w.gone[x.Service] {
		if gone {
			w.goneInstances = append(w.goneInstances, x.ID)
		}
		return nil
	}
	service, err := w.id(x.Service)
	if err != nil {
		return err
	}
	w.touched[service] = true
	if gone {
		w.goneInstances = append(w.goneInstances, x.ID)
		return nil
	}
	operator, err := codec.EncodeOperator(x.Operator)
	if err != nil {
		return err
	}
	w.instances = append(w.instances, []any{
		x.ID, service, x.VpcID, x.Host, x.Port, x.Protocol, x.Version, x.Healthy, x.Isolated, x.Weight, x.TTL > 0,
		x.LogicSet, x.Location.Region, x.Location.Zone, x.Location.Campus, x.Priority, revisionText(x.Revision), 0,
		when(x.Created), when(x.Modified), uint64(x.Revision), operator,
	})
	before, known := f.first.Before.(*naming.Instance)
	switch {
	case x.TTL > 0:
		if !known || before.TTL != x.TTL {
			w.checks = append(w.checks, []any{x.ID, 1, x.TTL}) // 1: HEARTBEAT
		}
	case !known || before.TTL > 0:
		w.clearChecks = append(w.clearChecks, x.ID)
	}
	if known && slices.Equal(before.Metadata, x.Metadata) {
		return nil // a change of health writes one row
	}
	w.clearMeta = append(w.clearMeta, x.ID)
	for _, p := range x.Metadata {
		w.instanceMeta = append(w.instanceMeta, []any{x.ID, p.Key, p.Value})
	}
	return nil
}

func (w *writing) client(x *naming.Client, gone bool) {
	if gone {
		w.goneClients = append(w.goneClients, x.ID)
		return
	}
	w.clients = append(w.clients, []any{
		x.ID, x.Host, x.Type, x.Version, x.Location.Region, x.Location.Zone, x.Location.Campus, 0, when(x.Created), when(x.Modified), uint64(x.Revision),
	})
	w.clearStats = append(w.clearStats, x.ID)
	for n, s := range x.Stats {
		w.stats = append(w.stats, []any{x.ID, n, s.Target, s.Port, s.Protocol, s.Path})
	}
}
