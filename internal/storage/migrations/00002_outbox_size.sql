-- +goose Up

-- How many messages a row holds was stored beside them, and nobody asked.
ALTER TABLE outbox DROP COLUMN size;

-- +goose Down
ALTER TABLE outbox ADD COLUMN size BIGINT NOT NULL DEFAULT 0;
