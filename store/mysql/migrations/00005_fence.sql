-- +goose Up
-- Counts up when a server makes sure that a commit whose answer was lost
-- cannot come any more.
SET @change = IF((SELECT COUNT(*) FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'polestar_head' AND column_name = 'fence') = 0,
  'ALTER TABLE polestar_head ADD COLUMN fence BIGINT UNSIGNED NOT NULL DEFAULT 0', 'DO 0');
PREPARE change_head FROM @change;
EXECUTE change_head;
DEALLOCATE PREPARE change_head;
