package mysql

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

// schema112 is the part of Polaris 1.12's schema that is read, with the names,
// columns and keys that its documentation gives; the later one adds columns.
var schema112 = []string{
	"CREATE TABLE namespace (name VARCHAR(64) PRIMARY KEY, comment VARCHAR(1024), token VARCHAR(64), owner VARCHAR(1024), flag TINYINT DEFAULT 0)",
	`CREATE TABLE service (id VARCHAR(32) PRIMARY KEY, name VARCHAR(128), namespace VARCHAR(64), ports TEXT, business VARCHAR(64), department VARCHAR(1024),
	cmdb_mod1 VARCHAR(1024), cmdb_mod2 VARCHAR(1024), cmdb_mod3 VARCHAR(1024), comment VARCHAR(1024), token VARCHAR(2048), revision VARCHAR(32), owner VARCHAR(1024),
	flag TINYINT DEFAULT 0, reference VARCHAR(32))`,
	"CREATE TABLE service_metadata (id VARCHAR(32), mkey VARCHAR(128), mvalue VARCHAR(4096), PRIMARY KEY (id, mkey))",
	`CREATE TABLE instance (id VARCHAR(128) PRIMARY KEY, service_id VARCHAR(32), vpc_id VARCHAR(64), host VARCHAR(128), port INT, protocol VARCHAR(32), version VARCHAR(32),
	health_status TINYINT DEFAULT 1, isolate TINYINT DEFAULT 0, weight SMALLINT DEFAULT 100, enable_health_check TINYINT DEFAULT 0, logic_set VARCHAR(128),
	cmdb_region VARCHAR(128), cmdb_zone VARCHAR(128), cmdb_idc VARCHAR(128), priority TINYINT DEFAULT 0, revision VARCHAR(32), flag TINYINT DEFAULT 0)`,
	"CREATE TABLE health_check (id VARCHAR(128) PRIMARY KEY, type TINYINT, ttl INT)",
	"CREATE TABLE instance_metadata (id VARCHAR(128), mkey VARCHAR(128), mvalue VARCHAR(4096), PRIMARY KEY (id, mkey))",
	"CREATE TABLE routing_config_v2 (id VARCHAR(128) PRIMARY KEY, flag TINYINT DEFAULT 0)",
	"CREATE TABLE `user` (id VARCHAR(128) PRIMARY KEY, flag TINYINT DEFAULT 0)",
	"INSERT INTO namespace (name, comment, owner) VALUES ('default', 'd', 'polaris'), ('other', NULL, 'o')",
	"INSERT INTO namespace (name, owner, flag) VALUES ('gone', '', 1)",
	`INSERT INTO service (id, name, namespace, ports, owner, reference) VALUES ('s1', 'cart', 'default', '80', 'me', NULL), ('s2', 'basket', 'other', '', '', 's1'),
	('s3', 'lost', 'other', '', '', 'nothing')`,
	"INSERT INTO service (id, name, namespace, flag) VALUES ('s4', 'deleted', 'default', 1)",
	"INSERT INTO service_metadata VALUES ('s1', 'k', 'v')",
	`INSERT INTO instance (id, service_id, host, port, protocol, version, isolate, weight, enable_health_check, logic_set, cmdb_region, cmdb_zone, cmdb_idc, priority)
	VALUES ('i1', 's1', '10.0.0.1', 80, 'grpc', '1.0', 1, 7, 1, 'set', 'r', 'z', 'c', 3)`,
	"INSERT INTO instance (id, service_id, host, port, health_status) VALUES ('i2', 's1', '10.0.0.2', 80, 0), ('i3', 's9', '10.0.0.3', 80, 1)",
	"INSERT INTO instance (id, service_id, host, port, flag) VALUES ('i4', 's1', '10.0.0.4', 80, 1)",
	"INSERT INTO health_check VALUES ('i1', 1, 5)",
	"INSERT INTO instance_metadata VALUES ('i1', 'b', '2'), ('i1', 'a', '1')",
	"INSERT INTO routing_config_v2 (id) VALUES ('r1'), ('r2')",
	"INSERT INTO `user` (id) VALUES ('u1')",
	"CREATE TABLE user_group (id VARCHAR(128) PRIMARY KEY, flag TINYINT DEFAULT 0)",
	"INSERT INTO user_group (id) VALUES ('g1'), ('g2')",
	"CREATE TABLE auth_strategy (id VARCHAR(128) PRIMARY KEY, flag TINYINT DEFAULT 0)",
	"INSERT INTO auth_strategy (id, flag) VALUES ('p1', 0), ('p2', 1)",
}

var schema118 = []string{
	"ALTER TABLE namespace ADD COLUMN service_export_to TEXT",
	"ALTER TABLE service ADD COLUMN export_to TEXT",
	`UPDATE service SET export_to = '{"a":{},"*":{}}' WHERE id = 's1'`,
}

// polarisDatabase makes one and returns its DSN.
func polarisDatabase(t *testing.T, statements ...string) string {
	t.Helper()
	dsn := server.DSN(databaseFor(t, t.TempDir()))
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%.60s: %v", s, err)
		}
	}
	return dsn
}

func TestReadPolaris(t *testing.T) {
	for version, statements := range map[string][]string{"1.12": schema112, "1.18": slices.Concat(schema112, schema118)} {
		t.Run(version, func(t *testing.T) {
			p, err := ReadPolaris(t.Context(), polarisDatabase(t, statements...), "")
			if err != nil {
				t.Fatal(err)
			}
			var exports []string
			if version == "1.18" {
				exports = []string{"*", "a"}
			}
			cart := naming.ServiceKey{Namespace: "default", Name: "cart"}
			if len(p.Namespaces) != 2 || p.Namespaces[1].Name != "other" || *p.Namespaces[0].Comment != "d" {
				t.Errorf("namespaces: %+v", p.Namespaces)
			}
			if len(p.Services) != 1 || p.Services[0].Key != cart || *p.Services[0].Ports != "80" || !slices.Equal(*p.Services[0].ExportTo, exports) ||
				!slices.Equal(*p.Services[0].Metadata, naming.Metadata{{Key: "k", Value: "v"}}) {
				t.Errorf("services: %+v", p.Services)
			}
			if len(p.Aliases) != 1 || p.Aliases[0].For != cart || p.Aliases[0].Key.Name != "basket" {
				t.Errorf("aliases: %+v", p.Aliases)
			}
			want := []naming.Registration{
				{
					ID: "i1", Service: cart, Host: "10.0.0.1", Port: new(uint32(80)), Protocol: "grpc", Version: "1.0", LogicSet: "set", Priority: 3,
					Weight: new(uint32(7)), Healthy: new(true), Isolated: new(true), HealthCheck: true, TTL: 5,
					Location: naming.Location{Region: "r", Zone: "z", Campus: "c"}, Metadata: map[string]string{"a": "1", "b": "2"},
				},
				{ID: "i2", Service: cart, Host: "10.0.0.2", Port: new(uint32(80)), Weight: new(uint32(100)), Healthy: new(false), Isolated: new(false)},
			}
			for n := range want {
				want[n].Actor.Agent = "polestar import"
			}
			if diff := cmp.Diff(want, p.Instances); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(map[string]int{"routing rules": 2, "users": 1, "user groups": 2, "policies": 1}, p.Left); diff != "" {
				t.Error(diff)
			}
			if text := fmt.Sprint(p.Broken); len(p.Broken) != 2 || !strings.Contains(text, "lost") || !strings.Contains(text, "i3") {
				t.Errorf("broken: %v", p.Broken)
			}
		})
	}
	if _, err := ReadPolaris(t.Context(), polarisDatabase(t, "CREATE TABLE other (id INT)"), ""); err == nil || !strings.Contains(err.Error(), "no database of Polaris") {
		t.Errorf("another database: %v", err)
	}
}
