-- +goose Up
-- The revision after which the change log begins: that of a world that was
-- restored into an empty store. MySQL has no ADD COLUMN IF NOT EXISTS.
SET @change = IF((SELECT COUNT(*) FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'polestar_head' AND column_name = 'log_from') = 0,
  'ALTER TABLE polestar_head ADD COLUMN log_from BIGINT UNSIGNED NOT NULL DEFAULT 0', 'DO 0');
PREPARE change_head FROM @change;
EXECUTE change_head;
DEALLOCATE PREPARE change_head;
