-- +goose Up

-- How often an order's view was written: who writes one names the revision that
-- it was made from, so that of two writers the second sees what the first did.
ALTER TABLE orders ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;

-- +goose Down
ALTER TABLE orders DROP COLUMN revision;
