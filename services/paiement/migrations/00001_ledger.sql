-- +goose Up

-- Every decided payment, once per order. Times are microseconds since 1970,
-- amounts are cents.
CREATE TABLE ledger (
    order_id        TEXT   NOT NULL PRIMARY KEY,
    event_id        TEXT   NOT NULL,
    result_event_id TEXT   NOT NULL,
    status          TEXT   NOT NULL,
    amount          BIGINT NOT NULL,
    processed_at    BIGINT NOT NULL
);

CREATE INDEX ledger_oldest_first ON ledger (processed_at);

-- +goose Down
DROP TABLE ledger;
