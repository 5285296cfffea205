-- +goose Up
-- Who has which duty of the cluster, as Polaris names and shapes it. version
-- counts up with each new holder; polestar_until is in unix seconds of the
-- database, so that no server's clock counts.
CREATE TABLE IF NOT EXISTS leader_election (
  elect_key VARCHAR(128) NOT NULL,
  version BIGINT UNSIGNED NOT NULL DEFAULT 0,
  leader VARCHAR(128) NOT NULL DEFAULT '',
  ctime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  mtime TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  polestar_until BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (elect_key),
  KEY version (version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
