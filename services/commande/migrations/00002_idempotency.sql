-- +goose Up

-- What an Idempotency-Key stands for, from before its order is published.
CREATE TABLE idempotency_keys (
    key_hash     TEXT   NOT NULL PRIMARY KEY,
    request_hash TEXT   NOT NULL,
    order_id     TEXT   NOT NULL,
    event_id     TEXT   NOT NULL,
    created_us   BIGINT NOT NULL, -- the order's createdAt, in microseconds since 1970
    busy_until   BIGINT NOT NULL, -- somebody publishes the order until then; 0 when nobody does
    acknowledged BIGINT NOT NULL  -- 1 once Kafka has it
);

CREATE INDEX idempotency_keys_created ON idempotency_keys (created_us);

-- +goose Down
DROP TABLE idempotency_keys;
