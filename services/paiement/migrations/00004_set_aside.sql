-- +goose Up

-- Records of orders.created that were set aside before this storage came to them,
-- because it is new: their orders wait among the dead letters, and are decided
-- when they are replayed, which makes other records.
CREATE TABLE set_aside (
    partition     INT    NOT NULL,
    record_offset BIGINT NOT NULL,
    event_id      TEXT   NOT NULL, -- of the record: another topic may have been there before
    PRIMARY KEY (partition, record_offset)
);

-- +goose Down
DROP TABLE set_aside;
