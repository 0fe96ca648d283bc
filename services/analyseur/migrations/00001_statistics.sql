-- +goose Up

-- Every decided payment, once per order. Times are microseconds since 1970,
-- amounts are cents.
CREATE TABLE transactions (
    order_id     TEXT   NOT NULL PRIMARY KEY,
    event_id     TEXT   NOT NULL,
    user_id      TEXT   NOT NULL,
    status       TEXT   NOT NULL,
    amount       BIGINT NOT NULL,
    processed_at BIGINT NOT NULL
);

CREATE INDEX transactions_newest_first ON transactions (processed_at DESC, order_id DESC);

-- Sums of all transactions, by status.
CREATE TABLE totals (
    status TEXT   NOT NULL PRIMARY KEY,
    count  BIGINT NOT NULL,
    amount BIGINT NOT NULL
);

INSERT INTO totals (status, count, amount) VALUES ('AUTHORIZED', 0, 0), ('REJECTED', 0, 0);

-- Sums per minute (minutes since 1970), for statistics over a window.
CREATE TABLE minutes (
    minute BIGINT NOT NULL PRIMARY KEY,
    count  BIGINT NOT NULL,
    amount BIGINT NOT NULL
);

-- +goose Down
DROP TABLE minutes;
DROP TABLE totals;
DROP TABLE transactions;
