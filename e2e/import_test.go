package e2e

import (
	"database/sql"
	"strings"
	"testing"

	"polestar/e2e/harness"
)

// polarisTables are the tables of a Polaris 1.12 that an import needs.
var polarisTables = []string{
	"CREATE TABLE namespace (name VARCHAR(64) PRIMARY KEY, comment VARCHAR(1024), owner VARCHAR(1024), flag TINYINT DEFAULT 0)",
	`CREATE TABLE service (id VARCHAR(32) PRIMARY KEY, name VARCHAR(128), namespace VARCHAR(64), ports TEXT, business VARCHAR(64), department VARCHAR(1024),
	cmdb_mod1 VARCHAR(1024), cmdb_mod2 VARCHAR(1024), cmdb_mod3 VARCHAR(1024), comment VARCHAR(1024), owner VARCHAR(1024), flag TINYINT DEFAULT 0, reference VARCHAR(32))`,
	"CREATE TABLE service_metadata (id VARCHAR(32), mkey VARCHAR(128), mvalue VARCHAR(4096))",
	`CREATE TABLE instance (id VARCHAR(128) PRIMARY KEY, service_id VARCHAR(32), vpc_id VARCHAR(64), host VARCHAR(128), port INT, protocol VARCHAR(32), version VARCHAR(32),
	health_status TINYINT DEFAULT 1, isolate TINYINT DEFAULT 0, weight SMALLINT DEFAULT 100, enable_health_check TINYINT DEFAULT 0, logic_set VARCHAR(128),
	cmdb_region VARCHAR(128), cmdb_zone VARCHAR(128), cmdb_idc VARCHAR(128), priority TINYINT DEFAULT 0, flag TINYINT DEFAULT 0)`,
	"CREATE TABLE health_check (id VARCHAR(128) PRIMARY KEY, type TINYINT, ttl INT)",
	"CREATE TABLE instance_metadata (id VARCHAR(128), mkey VARCHAR(128), mvalue VARCHAR(4096))",
	"CREATE TABLE ratelimit_config (id VARCHAR(32) PRIMARY KEY, flag TINYINT DEFAULT 0)",
	"INSERT INTO namespace (name, owner) VALUES ('default', 'polaris')",
	"INSERT INTO service (id, name, namespace, owner, reference) VALUES ('s1', 'cart', 'default', '', ''), ('s2', 'basket', 'default', '', 's1')",
	"INSERT INTO instance (id, service_id, host, port) VALUES ('kept-id', 's1', '10.0.0.1', 80), ('i2', 's1', '10.0.0.2', 80), ('bad', 's1', 'no host', 80)",
	"INSERT INTO instance_metadata VALUES ('kept-id', 'k', 'v')",
	"INSERT INTO ratelimit_config (id) VALUES ('r1')",
}

// A Polaris database is carried over: first only told, then done, then found
// done; what SDKs see afterwards is what was in it.
func TestImportFromPolaris(t *testing.T) {
	maria := startMariaDB(t)
	db, err := sql.Open("mysql", maria.DSN("polestar"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range polarisTables {
		if _, err = db.Exec(statement); err != nil {
			t.Fatalf("%.60s: %v", statement, err)
		}
	}
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--dry-run"}, []string{"instances:  2 would be created, 0 would be changed, 0 the same", "aliases:    1 would be created"}},
		{nil, []string{
			"services:   1 created", "instances:  2 created, 0 changed, 0 the same", "left behind: 1 rate limit rules",
			"cannot be carried: instances bad: host", "namespaces: 1 created",
		}},
		{nil, []string{"instances:  0 created, 0 changed, 2 the same", "services:   0 created, 0 changed, 1 the same"}},
	} {
		out, err := harness.Run(append([]string{"import", "polaris", "--dsn", maria.DSN("polestar"), "--data-dir", dir}, c.args...)...)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%v: no %q in\n%s", c.args, want, out)
			}
		}
	}
	s := harness.NewServer(dir)
	s.StartFor(t)
	r := harness.Connect(t, s.Polaris)
	for _, name := range []string{"cart", "basket"} {
		got, err := r.Instances(name)
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]string{}
		for _, i := range got {
			ids[i.GetId().GetValue()] = i.GetMetadata()["k"]
		}
		if len(got) != 2 || ids["kept-id"] != "v" {
			t.Errorf("%s: %v", name, ids)
		}
	}
}
