-- +goose Up

-- How far each partition has been processed: next_offset is the first record
-- that storage does not yet contain.
CREATE TABLE positions (
    topic       TEXT   NOT NULL,
    partition   BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- What was decided but perhaps not yet published. A row is named by the record
-- that caused it, which gives each partition's owner its rows in order.
CREATE TABLE outbox (
    source_topic     TEXT   NOT NULL,
    source_partition BIGINT NOT NULL,
    source_offset    BIGINT NOT NULL,
    part             BIGINT NOT NULL,
    topic            TEXT   NOT NULL,
    record_key       BYTEA,
    record_value     BYTEA,
    headers          TEXT   NOT NULL,
    PRIMARY KEY (source_topic, source_partition, source_offset, part)
);

-- Which cluster and topics this storage belongs to.
CREATE TABLE stamp (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- +goose Down
DROP TABLE stamp;
DROP TABLE outbox;
DROP TABLE positions;
