-- +goose Up

-- Up to where the decisions and purges that stand in the topics have been read
-- back: the ledger has them all.
CREATE TABLE read_back (
    topic       TEXT   NOT NULL,
    partition   INT    NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- +goose Down
DROP TABLE read_back;
