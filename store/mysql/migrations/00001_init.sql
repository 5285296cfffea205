-- +goose Up
-- Names, columns, keys and the logical delete by flag are those of Polaris
-- 1.12, so that existing queries work. Wider than there: weight, priority,
-- revision, texts that are bounded in characters, times to the microsecond.
-- What only Polestar has begins with polestar_.

CREATE TABLE IF NOT EXISTS namespace (
  name VARCHAR(64) NOT NULL,
  comment VARCHAR(1024) NOT NULL DEFAULT '',
  token VARCHAR(64) NOT NULL DEFAULT '',
  owner VARCHAR(1024) NOT NULL DEFAULT '',
  service_export_to TEXT NOT NULL,
  flag TINYINT NOT NULL DEFAULT 0,
  ctime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  mtime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  polestar_revision BIGINT UNSIGNED NOT NULL DEFAULT 0,
  PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS service (
  id VARCHAR(32) NOT NULL,
  name VARCHAR(128) NOT NULL,
  namespace VARCHAR(64) NOT NULL,
  ports TEXT NOT NULL,
  business VARCHAR(64) NOT NULL DEFAULT '',
  department VARCHAR(1024) NOT NULL DEFAULT '',
  cmdb_mod1 VARCHAR(1024) NOT NULL DEFAULT '',
  cmdb_mod2 VARCHAR(1024) NOT NULL DEFAULT '',
  cmdb_mod3 VARCHAR(1024) NOT NULL DEFAULT '',
  comment VARCHAR(1024) NOT NULL DEFAULT '',
  token VARCHAR(2048) NOT NULL DEFAULT '',
  revision VARCHAR(64) NOT NULL DEFAULT '',
  owner VARCHAR(1024) NOT NULL DEFAULT '',
  flag TINYINT NOT NULL DEFAULT 0,
  reference VARCHAR(32) NULL,
  refer_filter VARCHAR(1024) NULL,
  platform_id VARCHAR(32) NOT NULL DEFAULT '',
  export_to TEXT NOT NULL,
  ctime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  mtime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  polestar_revision BIGINT UNSIGNED NOT NULL DEFAULT 0,
  polestar_auto TINYINT NOT NULL DEFAULT 0,
  polestar_touched BIGINT UNSIGNED NOT NULL DEFAULT 0,
  PRIMARY KEY (id),
  UNIQUE KEY name (name, namespace),
  KEY namespace (namespace),
  KEY mtime (mtime),
  KEY reference (reference),
  KEY platform_id (platform_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS service_metadata (
  id VARCHAR(32) NOT NULL,
  mkey VARCHAR(128) NOT NULL,
  mvalue VARCHAR(4096) NOT NULL,
  ctime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  mtime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (id, mkey),
  KEY mkey (mkey),
  CONSTRAINT service_metadata_ibfk_1 FOREIGN KEY (id) REFERENCES service (id) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS instance (
  id VARCHAR(128) NOT NULL,
  service_id VARCHAR(32) NOT NULL,
  vpc_id VARCHAR(64) NULL,
  host VARCHAR(128) NOT NULL,
  port INT NOT NULL,
  protocol VARCHAR(32) NOT NULL DEFAULT '',
  version VARCHAR(32) NOT NULL DEFAULT '',
  health_status TINYINT NOT NULL DEFAULT 1,
  isolate TINYINT NOT NULL DEFAULT 0,
  weight INT UNSIGNED NOT NULL DEFAULT 100,
  enable_health_check TINYINT NOT NULL DEFAULT 0,
  logic_set VARCHAR(128) NOT NULL DEFAULT '',
  cmdb_region VARCHAR(128) NOT NULL DEFAULT '',
  cmdb_zone VARCHAR(128) NOT NULL DEFAULT '',
  cmdb_idc VARCHAR(128) NOT NULL DEFAULT '',
  priority INT UNSIGNED NOT NULL DEFAULT 0,
  revision VARCHAR(64) NOT NULL DEFAULT '',
  flag TINYINT NOT NULL DEFAULT 0,
  ctime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  mtime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  polestar_revision BIGINT UNSIGNED NOT NULL DEFAULT 0,
  polestar_operator BLOB NULL,
  PRIMARY KEY (id),
  KEY service_id (service_id),
  KEY mtime (mtime),
  KEY host (host)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS health_check (
  id VARCHAR(128) NOT NULL,
  type TINYINT NOT NULL DEFAULT 0,
  ttl INT NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT health_check_ibfk_1 FOREIGN KEY (id) REFERENCES instance (id) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS instance_metadata (
  id VARCHAR(128) NOT NULL,
  mkey VARCHAR(128) NOT NULL,
  mvalue VARCHAR(4096) NOT NULL,
  ctime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  mtime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (id, mkey),
  KEY mkey (mkey),
  CONSTRAINT instance_metadata_ibfk_1 FOREIGN KEY (id) REFERENCES instance (id) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS client (
  id VARCHAR(128) NOT NULL,
  host VARCHAR(128) NOT NULL DEFAULT '',
  type VARCHAR(100) NOT NULL DEFAULT '',
  version VARCHAR(32) NOT NULL DEFAULT '',
  region VARCHAR(128) NOT NULL DEFAULT '',
  zone VARCHAR(128) NOT NULL DEFAULT '',
  campus VARCHAR(128) NOT NULL DEFAULT '',
  flag TINYINT NOT NULL DEFAULT 0,
  ctime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  mtime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  polestar_revision BIGINT UNSIGNED NOT NULL DEFAULT 0,
  PRIMARY KEY (id),
  KEY mtime (mtime)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS client_stat (
  client_id VARCHAR(128) NOT NULL,
  polestar_place SMALLINT NOT NULL DEFAULT 0,
  target VARCHAR(256) NOT NULL,
  port INT NOT NULL,
  protocol VARCHAR(256) NOT NULL DEFAULT '',
  path VARCHAR(256) NOT NULL DEFAULT '',
  PRIMARY KEY (client_id, polestar_place),
  CONSTRAINT client_stat_ibfk_1 FOREIGN KEY (client_id) REFERENCES client (id) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS polestar_contract (
  namespace VARCHAR(64) NOT NULL,
  service VARCHAR(128) NOT NULL,
  id VARCHAR(64) NOT NULL,
  type VARCHAR(128) NOT NULL,
  protocol VARCHAR(128) NOT NULL,
  version VARCHAR(128) NOT NULL,
  body MEDIUMBLOB NOT NULL,
  ctime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  mtime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  polestar_revision BIGINT UNSIGNED NOT NULL DEFAULT 0,
  PRIMARY KEY (namespace, service, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What an operator set on an instance that is not registered now.
CREATE TABLE IF NOT EXISTS polestar_override (
  instance_id VARCHAR(128) NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (instance_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- One row for each commit. writer and seq tell a node that lost the answer of
-- a commit whether it was made.
CREATE TABLE IF NOT EXISTS polestar_log (
  revision BIGINT UNSIGNED NOT NULL,
  writer BIGINT UNSIGNED NOT NULL,
  seq BIGINT UNSIGNED NOT NULL,
  time BIGINT NOT NULL,
  record LONGBLOB NOT NULL,
  PRIMARY KEY (revision),
  UNIQUE KEY writer (writer, seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The one counter. Its row lock puts all commits of all nodes in one order.
CREATE TABLE IF NOT EXISTS polestar_head (
  id TINYINT NOT NULL,
  revision BIGINT UNSIGNED NOT NULL,
  log_bytes BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT IGNORE INTO polestar_head (id, revision, log_bytes) VALUES (1, 0, 0);
