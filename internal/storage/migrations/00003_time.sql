-- +goose Up

-- What the service knows of time (microseconds since 1970), in one row: a time
-- that only its running moves on, what the machine's clock said last, and up to
-- when that clock was known to be behind.
CREATE TABLE clock (
    name       TEXT   NOT NULL PRIMARY KEY,
    trusted_us BIGINT NOT NULL,
    wall_us    BIGINT NOT NULL,
    behind_us  BIGINT NOT NULL
);

-- The largest time of a record that was read from the partition.
ALTER TABLE positions ADD COLUMN newest_us BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE positions DROP COLUMN newest_us;
DROP TABLE clock;
