-- +goose Up
-- Users, groups, tokens and policies, one record each: they are few, read as a
-- whole, and say more than the tables of Polaris have room for. kind is that of
-- the change log.
CREATE TABLE polestar_access (
  kind TINYINT UNSIGNED NOT NULL,
  id VARCHAR(32) NOT NULL,
  record MEDIUMBLOB NOT NULL,
  PRIMARY KEY (kind, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The id of the principal that created them.
ALTER TABLE namespace ADD COLUMN polestar_creator VARCHAR(32) NOT NULL DEFAULT '';
ALTER TABLE service ADD COLUMN polestar_creator VARCHAR(32) NOT NULL DEFAULT '';
