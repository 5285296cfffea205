-- +goose Up
-- The revision after which the change log begins: that of a world that was
-- restored into an empty store.
ALTER TABLE polestar_head ADD COLUMN log_from BIGINT UNSIGNED NOT NULL DEFAULT 0;
