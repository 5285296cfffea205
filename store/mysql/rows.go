package mysql

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"polestar/naming"
	"polestar/store/codec"
)

// What is selected of each table; scan functions read it in this order.
const (
	selectNamespace = "SELECT name, comment, owner, service_export_to, ctime, mtime, polestar_revision, polestar_creator FROM namespace WHERE flag = 0"

	selectService = `SELECT s.id, s.namespace, s.name, s.ports, s.business, s.department, s.cmdb_mod1, s.cmdb_mod2, s.cmdb_mod3, s.comment,
s.owner, s.export_to, s.ctime, s.mtime, s.polestar_revision, s.polestar_auto, s.polestar_touched, s.polestar_creator, r.namespace, r.name
FROM service s LEFT JOIN service r ON r.id = s.reference WHERE s.flag = 0`

	// The join is straight: a page is read along the primary key of instance.
	selectInstance = `SELECT i.id, s.namespace, s.name, i.host, i.port, COALESCE(i.vpc_id, ''), i.protocol, i.version, i.logic_set, i.priority, i.weight,
i.health_status, i.isolate, IF(i.enable_health_check = 1, COALESCE(h.ttl, 0), 0), i.cmdb_region, i.cmdb_zone, i.cmdb_idc,
i.ctime, i.mtime, i.polestar_revision, i.polestar_operator, i.service_id
FROM instance i STRAIGHT_JOIN service s ON s.id = i.service_id LEFT JOIN health_check h ON h.id = i.id WHERE i.flag = 0`

	selectClient   = "SELECT id, host, type, version, region, zone, campus, ctime, mtime, polestar_revision FROM client WHERE flag = 0"
	selectStat     = "SELECT client_id, target, port, protocol, path FROM client_stat"
	selectContract = "SELECT namespace, service, type, protocol, version, body, ctime, mtime, polestar_revision FROM polestar_contract"
	selectOverride = "SELECT instance_id, record FROM polestar_override"
	selectAccess   = "SELECT kind, record FROM polestar_access"
)

func micros(t time.Time) naming.Micros { return naming.Micros(t.UnixMicro()) }

// firstTime is the earliest that a TIMESTAMP can hold; what was restored without
// a time gets it.
const firstTime naming.Micros = 1_000_000

func when(m naming.Micros) time.Time { return time.UnixMicro(int64(max(m, firstTime))).UTC() }

// list reads and writes a list of namespaces in the form of the reference: a
// JSON object whose keys they are.
func list(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	set := map[string]struct{}{}
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return nil, fmt.Errorf("a list of namespaces: %w", err)
	}
	var out []string
	for ns := range set {
		out = append(out, ns)
	}
	slices.Sort(out)
	return out, nil
}

func listText(namespaces []string) string {
	if len(namespaces) == 0 {
		return ""
	}
	set := map[string]struct{}{}
	for _, ns := range namespaces {
		set[ns] = struct{}{}
	}
	text, err := json.Marshal(set)
	if err != nil {
		panic(err) // a map of texts can always be written
	}
	return string(text)
}

func scanNamespace(r *sql.Rows, in codec.Interner) (*naming.Namespace, error) {
	var n naming.Namespace
	var export string
	var created, modified time.Time
	if err := r.Scan(&n.Name, &n.Comment, &n.Owner, &export, &created, &modified, &n.Revision, &n.Creator); err != nil {
		return nil, err
	}
	n.Creator = in.String(n.Creator)
	n.Name, n.Owner, n.Created, n.Modified = in.String(n.Name), in.String(n.Owner), micros(created), micros(modified)
	var err error
	n.ServiceExportTo, err = list(export)
	return &n, err
}

func scanService(r *sql.Rows, in codec.Interner) (*naming.Service, naming.Revision, error) {
	var s naming.Service
	var export string
	var created, modified time.Time
	var touched naming.Revision
	var forNamespace, forName sql.NullString
	err := r.Scan(&s.ID, &s.Key.Namespace, &s.Key.Name, &s.Ports, &s.Business, &s.Department, &s.Cmdb[0], &s.Cmdb[1], &s.Cmdb[2],
		&s.Comment, &s.Owner, &export, &created, &modified, &s.Revision, &s.Auto, &touched, &s.Creator, &forNamespace, &forName)
	if err != nil {
		return nil, 0, err
	}
	s.Key = naming.ServiceKey{Namespace: in.String(s.Key.Namespace), Name: in.String(s.Key.Name)}
	s.Owner, s.Creator, s.Created, s.Modified = in.String(s.Owner), in.String(s.Creator), micros(created), micros(modified)
	s.AliasFor = naming.ServiceKey{Namespace: in.String(forNamespace.String), Name: in.String(forName.String)}
	s.ExportTo, err = list(export)
	return &s, touched, err
}

// scanInstance returns an instance and the id of its service.
func scanInstance(r *sql.Rows, in codec.Interner) (i *naming.Instance, service string, err error) {
	i = &naming.Instance{}
	var created, modified time.Time
	var operator []byte
	err = r.Scan(&i.ID, &i.Service.Namespace, &i.Service.Name, &i.Host, &i.Port, &i.VpcID, &i.Protocol, &i.Version, &i.LogicSet,
		&i.Priority, &i.Weight, &i.Healthy, &i.Isolated, &i.TTL, &i.Location.Region, &i.Location.Zone, &i.Location.Campus,
		&created, &modified, &i.Revision, &operator, &service)
	if err != nil {
		return nil, "", err
	}
	for _, s := range []*string{
		&i.Service.Namespace, &i.Service.Name, &i.VpcID, &i.Protocol, &i.Version, &i.LogicSet,
		&i.Location.Region, &i.Location.Zone, &i.Location.Campus,
	} {
		*s = in.String(*s)
	}
	i.Created, i.Modified = micros(created), micros(modified)
	if len(operator) > 0 {
		i.Operator, err = codec.DecodeOperator(operator)
	}
	return i, service, err
}

func scanClient(r *sql.Rows, in codec.Interner) (*naming.Client, error) {
	var c naming.Client
	var created, modified time.Time
	err := r.Scan(&c.ID, &c.Host, &c.Type, &c.Version, &c.Location.Region, &c.Location.Zone, &c.Location.Campus,
		&created, &modified, &c.Revision)
	c.Type, c.Version, c.Created, c.Modified = in.String(c.Type), in.String(c.Version), micros(created), micros(modified)
	return &c, err
}

func scanContract(r *sql.Rows, in codec.Interner) (*naming.Contract, error) {
	var c naming.Contract
	var created, modified time.Time
	err := r.Scan(&c.Service.Namespace, &c.Service.Name, &c.Type, &c.Protocol, &c.Version, &c.Body, &created, &modified, &c.Revision)
	c.Service = naming.ServiceKey{Namespace: in.String(c.Service.Namespace), Name: in.String(c.Service.Name)}
	c.Created, c.Modified = micros(created), micros(modified)
	return &c, err
}

func scanOverride(r *sql.Rows) (*naming.Override, error) {
	var id string
	var record []byte
	if err := r.Scan(&id, &record); err != nil {
		return nil, err
	}
	o, err := codec.Decode(naming.KindOverride, record, nil)
	if err != nil {
		return nil, fmt.Errorf("override %q: %w", id, err)
	}
	return o.(*naming.Override), nil
}

func scanAccess(r *sql.Rows) (naming.Object, error) {
	var kind naming.Kind
	var record []byte
	if err := r.Scan(&kind, &record); err != nil {
		return nil, err
	}
	o, err := codec.Decode(kind, record, nil)
	if err != nil {
		return nil, fmt.Errorf("a %s: %w", kind, err)
	}
	return o, nil
}

// scanPair reads one row of a metadata table.
func scanPair(r *sql.Rows, in codec.Interner) (id string, p naming.Pair, err error) {
	err = r.Scan(&id, &p.Key, &p.Value)
	return id, naming.Pair{Key: in.String(p.Key), Value: in.String(p.Value)}, err
}

// sortPairs puts metadata in order of its bytes, whatever the collation does.
func sortPairs(m naming.Metadata) naming.Metadata {
	slices.SortFunc(m, func(a, b naming.Pair) int { return cmp.Compare(a.Key, b.Key) })
	return slices.Clip(m)
}

func scanStat(r *sql.Rows, in codec.Interner) (id string, s naming.ClientStat, err error) {
	err = r.Scan(&id, &s.Target, &s.Port, &s.Protocol, &s.Path)
	s.Target, s.Protocol, s.Path = in.String(s.Target), in.String(s.Protocol), in.String(s.Path)
	return id, s, err
}

// placed is the condition that finds services by their keys; n of them.
func placed(n int) string {
	one := "(s.name = ? AND s.namespace = ?)"
	return "(" + strings.Repeat(one+" OR ", n-1) + one + ")"
}

func placedArgs(keys []naming.ServiceKey) []any {
	out := make([]any, 0, 2*len(keys))
	for _, k := range keys {
		out = append(out, k.Name, k.Namespace)
	}
	return out
}
