-- +goose Up

-- How far each partition has been processed: next_offset is the first record
-- that storage does not yet contain.
CREATE TABLE positions (
    topic       TEXT   NOT NULL,
    partition   BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- What was decided but perhaps not yet published: the messages that one
-- batch of a partition's records caused, named by the batch's last record.
CREATE TABLE outbox (
    source_topic     TEXT   NOT NULL,
    source_partition BIGINT NOT NULL,
    last_offset      BIGINT NOT NULL,
    size             BIGINT NOT NULL,
    messages         BYTEA  NOT NULL,
    PRIMARY KEY (source_topic, source_partition, last_offset)
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
