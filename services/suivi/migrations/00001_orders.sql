-- +goose Up

-- Every order as last known. Times are microseconds since 1970, amounts are
-- cents, items and events are JSON. listed_at gives the list its order.
CREATE TABLE orders (
    order_id           TEXT   NOT NULL PRIMARY KEY,
    user_id            TEXT   NOT NULL,
    amount             BIGINT NOT NULL,
    items              TEXT   NOT NULL,
    status             TEXT   NOT NULL,
    authorization_code TEXT   NOT NULL,
    rejection_reason   TEXT   NOT NULL,
    failure_reason     TEXT   NOT NULL,
    created_at         BIGINT NOT NULL,
    processed_at       BIGINT NOT NULL,
    listed_at          BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL,
    events             TEXT   NOT NULL
);

CREATE INDEX orders_newest_first ON orders (listed_at DESC, order_id DESC);

CREATE INDEX orders_oldest_first ON orders (updated_at);

CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO counters (name, value) VALUES ('orders', 0);

-- +goose Down
DROP TABLE counters;
DROP TABLE orders;
