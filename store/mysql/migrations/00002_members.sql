-- +goose Up
-- The servers of the cluster. beat counts up while a server lives; nobody's
-- clock counts.
CREATE TABLE IF NOT EXISTS polestar_member (
  id VARCHAR(128) NOT NULL,
  address VARCHAR(256) NOT NULL,
  beat BIGINT UNSIGNED NOT NULL,
  deaf_to TEXT NOT NULL,
  PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
