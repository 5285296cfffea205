-- +goose Up
-- Users, groups, tokens and policies, one record each: they are few, read as a
-- whole, and say more than the tables of Polaris have room for. kind is that of
-- the change log.
CREATE TABLE IF NOT EXISTS polestar_access (
  kind TINYINT UNSIGNED NOT NULL,
  id VARCHAR(32) NOT NULL,
  record MEDIUMBLOB NOT NULL,
  PRIMARY KEY (kind, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The id of the principal that created them.
SET @change = IF((SELECT COUNT(*) FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'namespace' AND column_name = 'polestar_creator') = 0,
  'ALTER TABLE namespace ADD COLUMN polestar_creator VARCHAR(32) NOT NULL DEFAULT ''''', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;
SET @change = IF((SELECT COUNT(*) FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'service' AND column_name = 'polestar_creator') = 0,
  'ALTER TABLE service ADD COLUMN polestar_creator VARCHAR(32) NOT NULL DEFAULT ''''', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;
