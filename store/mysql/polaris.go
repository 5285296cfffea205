package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"polestar/naming"
)

// Polaris is what an existing Polaris database holds, in our terms.
type Polaris struct {
	Namespaces []naming.PutNamespace
	Services   []naming.PutService
	Aliases    []naming.PutAlias
	Instances  []naming.Registration
	// Left counts, by what it is, what cannot be carried over.
	Left map[string]int
	// Broken says of rows that refer to nothing.
	Broken []string
}

// notCarried are the tables whose rows stay behind, and what they are.
var notCarried = map[string]string{
	"routing_config": "routing rules (v1)", "routing_config_v2": "routing rules", "ratelimit_config": "rate limit rules",
	"circuitbreaker_rule": "circuit breaker rules (v1)", "circuitbreaker_rule_v2": "circuit breaker rules", "fault_detect_rule": "fault detection rules",
	"lane_group": "lane groups", "service_contract": "service contracts (SDKs report them again)", "client": "clients (SDKs report themselves again)",
	"user": "users", "user_group": "user groups", "auth_strategy": "policies", "config_file": "configuration files",
	"config_file_group": "configuration groups",
}

// ReadPolaris reads a Polaris database of the schema of 1.12 to 1.18. Nothing
// is written to it. No error repeats the password.
func ReadPolaris(ctx context.Context, dsn, password string) (_ *Polaris, err error) {
	hosts, err := configs(dsn, password, connectTimeout)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(newConnector(hosts, nil))
	defer func() { _ = db.Close() }()
	p := polaris{db: db, out: &Polaris{Left: map[string]int{}}, services: map[string]*source{}, meta: map[string]map[string]string{}}
	for _, part := range []func(context.Context) error{p.schema, p.namespaces, p.readServices, p.instances, p.left} {
		if err := part(ctx); err != nil {
			return nil, fmt.Errorf("read the Polaris database: %w", err)
		}
	}
	return p.out, nil
}

// source is one row of the service table.
type source struct {
	key       naming.ServiceKey
	reference string
	put       naming.PutService
}

type polaris struct {
	db       *sql.DB
	out      *Polaris
	columns  map[string]bool // table.column
	services map[string]*source
	meta     map[string]map[string]string // of instances, by id
}

// schema finds out which columns there are: later versions added some.
func (p *polaris) schema(ctx context.Context) error {
	p.columns = map[string]bool{}
	var r reading
	r.add("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()", func(rows *sql.Rows) error {
		var table, column string
		err := rows.Scan(&table, &column)
		p.columns[strings.ToLower(table+"."+column)] = true
		return err
	})
	if err := r.run(ctx, p.db); err != nil {
		return err
	}
	for _, need := range []string{"namespace.name", "service.reference", "instance.service_id", "health_check.ttl", "instance_metadata.mkey"} {
		if !p.columns[need] {
			return fmt.Errorf("it has no column %s: this is no database of Polaris 1.12 to 1.18", need)
		}
	}
	return nil
}

// optional names a column, or the empty text where there is none.
func (p *polaris) optional(table, column string) string {
	if p.columns[table+"."+column] {
		return "COALESCE(" + column + ", '')"
	}
	return "''"
}

func (p *polaris) namespaces(ctx context.Context) error {
	var r reading
	r.add("SELECT name, COALESCE(comment, ''), owner, "+p.optional("namespace", "service_export_to")+" FROM namespace WHERE flag = 0 ORDER BY name",
		func(rows *sql.Rows) error {
			var n naming.PutNamespace
			var comment, owner, export string
			if err := rows.Scan(&n.Name, &comment, &owner, &export); err != nil {
				return err
			}
			n.Comment, n.Owner = &comment, &owner
			namespaces, err := list(export)
			n.ServiceExportTo = &namespaces
			p.out.Namespaces = append(p.out.Namespaces, n)
			return err
		})
	return r.run(ctx, p.db)
}

func (p *polaris) readServices(ctx context.Context) error {
	var order []string
	meta := map[string]map[string]string{}
	var r reading
	r.add(`SELECT id, name, namespace, COALESCE(ports, ''), COALESCE(business, ''), COALESCE(department, ''), COALESCE(cmdb_mod1, ''), COALESCE(cmdb_mod2, ''),
COALESCE(cmdb_mod3, ''), COALESCE(comment, ''), COALESCE(owner, ''), COALESCE(reference, ''), `+p.optional("service", "export_to")+`
FROM service WHERE flag = 0 ORDER BY namespace, name`, func(rows *sql.Rows) error {
		var id, ports, business, department, comment, owner, export string
		var cmdb [3]string
		s := &source{}
		err := rows.Scan(&id, &s.key.Name, &s.key.Namespace, &ports, &business, &department, &cmdb[0], &cmdb[1], &cmdb[2], &comment, &owner, &s.reference, &export)
		if err != nil {
			return err
		}
		namespaces, err := list(export)
		s.put = naming.PutService{
			Key: s.key, Ports: &ports, Business: &business, Department: &department, Cmdb: &cmdb, Comment: &comment, Owner: &owner,
			ExportTo: &namespaces, AutoCreate: true,
		}
		p.services[id], order = s, append(order, id)
		return err
	})
	r.add("SELECT id, mkey, mvalue FROM service_metadata", collect(meta))
	if err := r.run(ctx, p.db); err != nil {
		return err
	}
	for _, id := range order {
		s := p.services[id]
		if s.reference == "" {
			m := naming.NewMetadata(meta[id])
			s.put.Metadata = &m
			p.out.Services = append(p.out.Services, s.put)
			continue
		}
		target := p.services[s.reference]
		if target == nil {
			p.out.Broken = append(p.out.Broken, fmt.Sprintf("alias %s stands for a service that does not exist", s.key))
			continue
		}
		p.out.Aliases = append(p.out.Aliases, naming.PutAlias{Key: s.key, For: target.key, Comment: s.put.Comment, Owner: s.put.Owner, AutoCreate: true})
	}
	return nil
}

// collect gathers rows of a metadata table by id.
func collect(into map[string]map[string]string) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		id, pair, err := scanPair(rows, nil)
		if into[id] == nil {
			into[id] = map[string]string{}
		}
		into[id][pair.Key] = pair.Value
		return err
	}
}

func (p *polaris) instances(ctx context.Context) error {
	var r reading
	r.add("SELECT id, mkey, mvalue FROM instance_metadata", collect(p.meta))
	r.add(`SELECT i.id, i.service_id, COALESCE(i.vpc_id, ''), i.host, i.port, COALESCE(i.protocol, ''), COALESCE(i.version, ''), i.health_status, i.isolate, i.weight,
i.enable_health_check, COALESCE(i.logic_set, ''), COALESCE(i.cmdb_region, ''), COALESCE(i.cmdb_zone, ''), COALESCE(i.cmdb_idc, ''), i.priority, COALESCE(h.ttl, 0)
FROM instance i LEFT JOIN health_check h ON h.id = i.id WHERE i.flag = 0 ORDER BY i.id`, p.instance)
	return r.run(ctx, p.db)
}

func (p *polaris) instance(rows *sql.Rows) error {
	var service string
	var port, weight, priority int64
	var healthy, isolated bool
	i := naming.Registration{Actor: naming.Actor{Agent: "polestar import"}}
	err := rows.Scan(&i.ID, &service, &i.VpcID, &i.Host, &port, &i.Protocol, &i.Version, &healthy, &isolated, &weight,
		&i.HealthCheck, &i.LogicSet, &i.Location.Region, &i.Location.Zone, &i.Location.Campus, &priority, &i.TTL)
	if err != nil {
		return err
	}
	s := p.services[service]
	if s == nil || s.reference != "" {
		p.out.Broken = append(p.out.Broken, fmt.Sprintf("instance %s (%s:%d) belongs to a service that does not exist", i.ID, i.Host, port))
		return nil
	}
	i.Service, i.Metadata = s.key, p.meta[i.ID]
	p32, w32 := uint32(port), uint32(weight)
	i.Port, i.Weight, i.Priority, i.Healthy, i.Isolated = &p32, &w32, uint32(priority), &healthy, &isolated
	p.out.Instances = append(p.out.Instances, i)
	return nil
}

// left counts what stays behind.
func (p *polaris) left(ctx context.Context) error {
	for table, what := range notCarried {
		if !p.columns[table+".flag"] {
			continue
		}
		n := 0
		var r reading
		r.add("SELECT COUNT(*) FROM `"+table+"` WHERE flag = 0", func(rows *sql.Rows) error { return rows.Scan(&n) })
		if err := r.run(ctx, p.db); err != nil {
			return err
		}
		if n > 0 {
			p.out.Left[what] = n
		}
	}
	return nil
}
